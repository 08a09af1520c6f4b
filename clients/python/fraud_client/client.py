"""The two clients: the same calls, one waits in the thread, the other in the event loop."""

import asyncio
import datetime as dt
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Self, cast

import httpx

from fraud_client.errors import ProblemError, problem_error
from fraud_client.exchange import ONCE, Call, Exchange, FetchToken, Pause, Retry, Send, exchange
from fraud_client.models import Decision, Health, LabelSent, LabelTold, Transaction

TokenProvider = Callable[[], str]
AsyncTokenProvider = Callable[[], Awaitable[str] | str]

TIMEOUT = httpx.Timeout(10.0, connect=3.0, pool=None)
"""Well above the server's own deadlines; a wait for a connection of our own pool has no end."""


class FraudClient:
    """Synchronous client; may be shared by threads.

    Args:
        base_url: e.g. `https://fraud.example.com`; a path before the routes is kept.
        token: a bearer token, or a function that fetches one. It is called at the first request,
            and once more when its token is refused.
        timeout: seconds, or an `httpx.Timeout`, of each attempt.
        retry: how often and when to try again.
        transport: another way to send, e.g. one with your certificates.
    """

    def __init__(
        self,
        base_url: str,
        token: str | TokenProvider | None = None,
        *,
        timeout: httpx.Timeout | float = TIMEOUT,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=timeout, transport=transport)
        self._retry = retry or Retry()
        self._provider = token if callable(token) else None
        self._token = None if callable(token) else token
        self._renewal = threading.Lock()

    def predict(self, transaction: Transaction) -> Decision:
        """Decide on one transaction.

        Raises:
            ProblemError: the server said no.
            NoAnswer: it said nothing.
        """
        return cast(Decision, self._run(exchange(_predict(transaction), self._retry)))

    def batch_predict(self, transactions: Iterable[Transaction]) -> list[Decision | ProblemError]:
        """Decide on up to 1,000 transactions; each gets its decision or its own error, in order.

        Raises:
            ProblemError: the server refused them all.
            NoAnswer: it said nothing.
        """
        return _items(self._run(exchange(_batch(transactions), self._retry)))

    def labels(
        self, labels: Iterable[LabelSent], fraud_type: str = "credit_card"
    ) -> list[LabelTold]:
        """Tell up to 1,000 verdicts about transactions; each has its own fate, in order.

        One without `reported_at` is reported now.

        Raises:
            ProblemError: the server refused them all.
            NoAnswer: it said nothing.
        """
        told = self._run(exchange(_labels(labels, fraud_type), self._retry))
        return cast(list[LabelTold], told["labels"])

    def health(self) -> Health:
        """Whether predictions can be answered; asked once, and `unavailable` is an answer too.

        Raises:
            ProblemError: something else answered.
            NoAnswer: nothing did.
        """
        return cast(Health, self._run(exchange(_HEALTH, ONCE)))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, steps: Exchange) -> Any:
        answer: object = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value
            match step:
                case Send(call, token):
                    answer = self._sent(call, token)
                case FetchToken(refused):
                    answer = self._fetched(refused)
                case Pause(seconds):
                    time.sleep(seconds)

    def _sent(self, call: Call, token: str | None) -> httpx.Response | httpx.TransportError:
        try:
            return self._http.send(_request(self._http, call, token))
        except httpx.TransportError as error:
            return error

    def _fetched(self, refused: str | None) -> str | None:
        with self._renewal:
            if self._token is None or self._token == refused:
                self._token = self._provider() if self._provider else None
            return self._token


class AsyncFraudClient:
    """Asynchronous client for one event loop; the calls of `FraudClient`, to be awaited.

    Args:
        base_url: e.g. `https://fraud.example.com`; a path before the routes is kept.
        token: a bearer token, or a function, plain or async, that fetches one.
        timeout: seconds, or an `httpx.Timeout`, of each attempt.
        retry: how often and when to try again.
        transport: another way to send, e.g. one with your certificates.
    """

    def __init__(
        self,
        base_url: str,
        token: str | AsyncTokenProvider | None = None,
        *,
        timeout: httpx.Timeout | float = TIMEOUT,
        retry: Retry | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout, transport=transport)
        self._retry = retry or Retry()
        self._provider = token if callable(token) else None
        self._token = None if callable(token) else token
        self._renewal = asyncio.Lock()

    async def predict(self, transaction: Transaction) -> Decision:
        """See `FraudClient.predict`."""
        return cast(Decision, await self._run(exchange(_predict(transaction), self._retry)))

    async def batch_predict(
        self, transactions: Iterable[Transaction]
    ) -> list[Decision | ProblemError]:
        """See `FraudClient.batch_predict`."""
        return _items(await self._run(exchange(_batch(transactions), self._retry)))

    async def labels(
        self, labels: Iterable[LabelSent], fraud_type: str = "credit_card"
    ) -> list[LabelTold]:
        """See `FraudClient.labels`."""
        told = await self._run(exchange(_labels(labels, fraud_type), self._retry))
        return cast(list[LabelTold], told["labels"])

    async def health(self) -> Health:
        """See `FraudClient.health`."""
        return cast(Health, await self._run(exchange(_HEALTH, ONCE)))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, steps: Exchange) -> Any:
        answer: object = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value
            match step:
                case Send(call, token):
                    answer = await self._sent(call, token)
                case FetchToken(refused):
                    answer = await self._fetched(refused)
                case Pause(seconds):
                    await asyncio.sleep(seconds)

    async def _sent(self, call: Call, token: str | None) -> httpx.Response | httpx.TransportError:
        try:
            return await self._http.send(_request(self._http, call, token))
        except httpx.TransportError as error:
            return error

    async def _fetched(self, refused: str | None) -> str | None:
        async with self._renewal:
            if self._token is None or self._token == refused:
                found = self._provider() if self._provider else None
                self._token = await found if inspect.isawaitable(found) else found
            return self._token


_HEALTH = Call("GET", "/health", needs_token=False, accepted=frozenset({200, 503}))


def _predict(transaction: Transaction) -> Call:
    return Call("POST", "/predict", transaction)


def _batch(transactions: Iterable[Transaction]) -> Call:
    return Call("POST", "/batch-predict", {"transactions": list(transactions)})


def _labels(labels: Iterable[LabelSent], fraud_type: str) -> Call:
    """Verdicts with their time: the server takes one without as new each time it arrives."""
    now = dt.datetime.now(dt.UTC).isoformat()
    told = [{**label, "reported_at": label.get("reported_at") or now} for label in labels]
    return Call("POST", "/labels", {"labels": told}, (("fraud_type", fraud_type),))


def _items(answer: Any) -> list[Decision | ProblemError]:
    return [
        problem_error(item["error"]["status"], item["error"], transaction_id=item["transaction_id"])
        if "error" in item
        else cast(Decision, item)
        for item in answer["predictions"]
    ]


def _request(
    http: httpx.Client | httpx.AsyncClient, call: Call, token: str | None
) -> httpx.Request:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return http.build_request(
        call.method,
        call.path,
        json=call.body,
        params=dict(call.query) or None,
        headers=headers,
    )
