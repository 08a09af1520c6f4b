"""The platform's own API, as connectors that run beside it call it."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity import wait_random_exponential as backoff

from fraud.domain.errors import (
    DuplicateConflict,
    Forbidden,
    FraudError,
    InvalidField,
    MalformedInput,
    Unauthenticated,
    UnavailableError,
)

TIMEOUT_S = 30.0
ATTEMPTS = 6
LONGEST_PAUSE_S = 8.0
MOST_PER_BATCH = 1_000
RETRIED = frozenset({429, 503})

_ERRORS: dict[int, type[FraudError]] = {
    400: MalformedInput,
    401: Unauthenticated,
    403: Forbidden,
    409: DuplicateConflict,
}


class ScoringClient:
    """Asks for decisions and tells labels, over HTTP.

    A 429, a 503 and a broken connection are tried again: a transaction_id keeps its answer, so
    nothing is decided twice.

    Args:
        url: address of the API.
        token: with the scopes that are needed.
    """

    def __init__(self, url: str, token: str) -> None:
        self._retrying = Retrying(
            retry=retry_if_exception_type(UnavailableError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=_pause_s,
            reraise=True,
        )
        headers = {"authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def predict(self, transaction: Mapping[str, object]) -> dict[str, Any]:
        """The decision on a transaction: the reply of `/predict`.

        Raises:
            InvalidField: a field cannot be used.
            DuplicateConflict: the transaction was decided with another body.
            UnavailableError: no answer, even after retries.
        """
        return self._post("/predict", transaction)

    def predict_batch(self, transactions: Sequence[Mapping[str, object]]) -> list[dict[str, Any]]:
        """A reply, or an object with `error`, for each of at most 1,000 transactions.

        Raises:
            UnavailableError: no answer, even after retries.
        """
        found: list[dict[str, Any]] = self._post(
            "/batch-predict", {"transactions": [*transactions]}
        )["predictions"]
        return found

    def tell(self, fraud_type: str, labels: Sequence[Mapping[str, object]]) -> list[dict[str, Any]]:
        """What became of each of at most 1,000 labels.

        Raises:
            UnavailableError: no answer, even after retries.
        """
        path = f"/labels?fraud_type={fraud_type}"
        found: list[dict[str, Any]] = self._post(path, {"labels": [*labels]})["labels"]
        return found

    def _post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        return self._retrying(self._ask, path, body)

    def _ask(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        try:
            answer = self._client.post(path, json=body)
        except httpx.TransportError as error:
            raise UnavailableError(
                f"The platform at {self._client.base_url} does not answer: {error}.",
                remedy="Start it with: fraud run",
            ) from None
        if answer.status_code == 200:
            content: dict[str, Any] = answer.json()
            return content
        raise _error_of(answer)


_backoff = backoff(multiplier=0.5, max=LONGEST_PAUSE_S)


def _pause_s(state: RetryCallState) -> float:
    """The longer of our backoff and of what the platform asked for."""
    failed = state.outcome.exception() if state.outcome else None
    asked_for_s = failed.retry_after_s if isinstance(failed, UnavailableError) else 0
    return max(_backoff(state), min(asked_for_s, LONGEST_PAUSE_S))


def _error_of(answer: httpx.Response) -> FraudError:
    try:
        problem: dict[str, Any] = answer.json()
    except ValueError:
        problem = {}
    detail = str(problem.get("detail", f"The platform answered {answer.status_code}."))
    if answer.status_code in RETRIED:
        wait_s = int(answer.headers.get("retry-after", 0))
        return UnavailableError(detail, retry_after_s=wait_s)
    told = problem.get("errors", [])
    errors = [(each["field"], each["problem"], each["remedy"]) for each in told]
    if answer.status_code == 422 and errors:
        return InvalidField(errors)
    return _ERRORS.get(answer.status_code, FraudError)(detail)
