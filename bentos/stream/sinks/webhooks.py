"""Webhooks: every message as a signed HTTP request, by the Standard Webhooks specification.

One endpoint is one sink, so a slow receiver holds up nobody else. Requests of one key follow
each other; different keys go out side by side. What the receiver does not take is sent again
with growing, random pauses, then becomes a dead letter.

Source: https://github.com/standard-webhooks/standard-webhooks (specification 1.0).
"""

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
from standardwebhooks import Webhook
from tenacity import RetryCallState, Retrying, stop_after_attempt, stop_when_event_set
from tenacity.nap import sleep_using_event
from tenacity.retry import retry_if_result
from tenacity.wait import wait_random_exponential

from bentos.stream.endpoints import Endpoint
from fraud.domain.errors import SinkUnavailable
from fraud.ledger.deliveries import Message, Refusal
from fraud.ledger.outbox import ERASURES_TOPIC, RESULTS_TOPIC

TYPES = {RESULTS_TOPIC: "decision.made", ERASURES_TOPIC: "transactions.erased"}
"""What receivers call the topics."""

BATCH_SIZE = 200
LONGEST_RETRY_AFTER_S = 60.0

_TRY_AGAIN = {408, 425, 429}
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a request was not taken, and whether another try may help."""

    reason: str
    is_final: bool = False
    retry_after_s: float = 0.0


class WebhookSink:
    """Sends messages to one endpoint.

    Args:
        endpoint: where, how often, and signed with which secrets.
        stop: set when the process ends; pauses end at once.
        now: the time, for signatures.
    """

    needs_transactions = False
    batch_size = BATCH_SIZE

    def __init__(
        self,
        endpoint: Endpoint,
        stop: threading.Event,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self.name = endpoint.sink
        self._endpoint = endpoint
        self._stop = stop
        self._now = now
        self._signers = [Webhook(secret) for secret in endpoint.secrets()]
        self._client = httpx.Client(
            timeout=endpoint.timeout_s,
            limits=httpx.Limits(
                max_connections=endpoint.connections,
                max_keepalive_connections=endpoint.connections,
            ),
        )
        self._executor = ThreadPoolExecutor(endpoint.connections, f"webhook-{endpoint.name}")

    def prepare(self) -> None:
        """Do nothing: only a message tells whether somebody receives it."""

    def deliver(self, messages: Sequence[Message]) -> list[Refusal]:
        by_key: dict[str, list[Message]] = {}
        for message in messages:
            if message.topic in self._endpoint.topics:
                by_key.setdefault(message.key, []).append(message)
        refused = list(self._executor.map(self._deliver_in_order, by_key.values()))
        return [each for some in refused for each in some]

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def _deliver_in_order(self, messages: Sequence[Message]) -> list[Refusal]:
        found = [self._deliver_one(message) for message in messages]
        return [each for each in found if each is not None]

    def _deliver_one(self, message: Message) -> Refusal | None:
        retrying = Retrying(
            sleep=sleep_using_event(self._stop),
            stop=stop_after_attempt(self._endpoint.attempts) | stop_when_event_set(self._stop),
            wait=self._pause,
            retry=retry_if_result(lambda failure: failure is not None and not failure.is_final),
            retry_error_callback=_last_failure,
        )
        body = _body(message)
        failure: _Failure | None = retrying(self._send, message, body)
        if failure is None:
            return None
        if self._stop.is_set() and not failure.is_final:
            raise SinkUnavailable(f"The relay ends; {self.name} has not taken all messages.")
        return Refusal(message, failure.reason, retrying.statistics["attempt_number"])

    def _pause(self, state: RetryCallState) -> float:
        """Seconds until the next try: random up to a growing limit, or as the receiver asks."""
        backoff = wait_random_exponential(
            multiplier=self._endpoint.first_pause_s, max=self._endpoint.longest_pause_s
        )
        failure = state.outcome.result() if state.outcome else None
        asked_s = failure.retry_after_s if isinstance(failure, _Failure) else 0.0
        return max(backoff(state), asked_s)

    def _send(self, message: Message, body: str) -> _Failure | None:
        number, now = f"msg_{message.outbox_id}", self._now()
        headers = {
            "content-type": "application/json",
            "user-agent": "fraud-relay",
            "webhook-id": number,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(each.sign(number, now, body) for each in self._signers),
        }
        try:
            answer = self._client.post(self._endpoint.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return _Failure(f"{type(error).__name__}: {error}")
        if answer.is_success:
            return None
        asked = answer.headers.get("retry-after", "")
        retry_after_s = float(asked) if asked.isascii() and asked.isdigit() else 0.0
        return _Failure(
            f"HTTP {answer.status_code}: {answer.text[:_SHOWN]}".strip(),
            is_final=answer.status_code < 500 and answer.status_code not in _TRY_AGAIN,
            retry_after_s=min(retry_after_s, LONGEST_RETRY_AFTER_S),
        )


def _body(message: Message) -> str:
    """The request's body; the payload is in it as the ledger wrote it."""
    at = message.created_at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    return f'{{"type": "{TYPES[message.topic]}", "timestamp": "{at}", "data": {message.payload}}}'


def _last_failure(state: RetryCallState) -> _Failure | None:
    failure: _Failure | None = state.outcome.result() if state.outcome else None
    return failure
