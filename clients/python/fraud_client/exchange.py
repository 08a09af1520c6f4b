"""What one answer takes, as steps that somebody else carries out.

The synchronous and the asynchronous client differ in how they send, wait and fetch tokens, and
in nothing else: both walk through `exchange`.
"""

import datetime as dt
import random
from collections.abc import Generator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from fraud_client.errors import NoAnswer, problem_error

RETRIED = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed; 502 and 504 come from gateways."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when to try again.

    Every call is safe to repeat: the server knows transactions by their `transaction_id` and
    labels by what they say, and gives the first answer again.

    Attributes:
        attempts: in all.
        base_s: the pause before the second attempt is random, up to this; it doubles each time.
        longest_s: no pause is longer. A server that asks for more is not waited for.
    """

    attempts: int = 5
    base_s: float = 0.2
    longest_s: float = 10.0

    def pause_s(self, attempt: int, asked_s: float | None) -> float | None:
        """Seconds to wait after an attempt, counted from 1; None to give up.

        Full jitter, so that clients who were refused together do not return together.
        """
        if attempt >= self.attempts:
            return None
        if asked_s is not None:
            return asked_s + random.uniform(0, self.base_s) if asked_s <= self.longest_s else None
        return random.uniform(0, min(self.longest_s, self.base_s * 2 ** (attempt - 1)))


ONCE = Retry(attempts=1)


@dataclass(frozen=True, slots=True)
class Call:
    """A request, but for its token.

    Attributes:
        method: of HTTP.
        path: below the base URL.
        body: sent as JSON; None sends no body.
        query: parameters of the URL.
        needs_token: whether it carries one.
        accepted: statuses whose body is the result.
    """

    method: str
    path: str
    body: object = None
    query: tuple[tuple[str, str], ...] = ()
    needs_token: bool = True
    accepted: frozenset[int] = frozenset({200})


@dataclass(frozen=True, slots=True)
class FetchToken:
    """Step: a token other than the refused one; answered by None where there is no other."""

    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Step: send the call; answered by a response, or by the error that came instead."""

    call: Call
    token: str | None


@dataclass(frozen=True, slots=True)
class Pause:
    """Step: wait."""

    seconds: float


Step = FetchToken | Send | Pause
Exchange = Generator[Step, Any, Any]


def exchange(call: Call, retry: Retry) -> Exchange:
    """The steps to the parsed body of an accepted answer.

    Raises:
        ProblemError: the server said no.
        NoAnswer: it said nothing.
    """
    token = (yield FetchToken()) if call.needs_token else None
    may_renew, attempt = call.needs_token, 1
    while True:
        outcome = yield Send(call, token)
        if isinstance(outcome, httpx.Response):
            body = _body(outcome)
            if outcome.status_code in call.accepted and isinstance(body, dict):
                return body
            if outcome.status_code == 401 and may_renew:
                may_renew, refused = False, token
                token = yield FetchToken(refused)
                if token is not None:
                    continue
        seconds = _pause_s(outcome, attempt, retry)
        if seconds is None:
            raise _failure(outcome)
        attempt += 1
        yield Pause(seconds)


def _pause_s(
    outcome: httpx.Response | httpx.TransportError, attempt: int, retry: Retry
) -> float | None:
    if isinstance(outcome, httpx.TransportError):
        return retry.pause_s(attempt, None)
    if outcome.status_code not in RETRIED:
        return None
    return retry.pause_s(attempt, retry_after_s(outcome))


def _failure(outcome: httpx.Response | httpx.TransportError) -> Exception:
    if isinstance(outcome, httpx.TransportError):
        error = NoAnswer(f"No answer: {type(outcome).__name__} {outcome}".strip())
        error.__cause__ = outcome
        return error
    return problem_error(outcome.status_code, _body(outcome), retry_after_s=retry_after_s(outcome))


def _body(response: httpx.Response) -> Any:
    """The parsed body; None where it is no JSON."""
    try:
        return response.json()
    except ValueError:
        return None


def retry_after_s(response: httpx.Response) -> float | None:
    """Seconds that the header Retry-After asks for, be they counted or a date."""
    value = response.headers.get("retry-after")
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds())
