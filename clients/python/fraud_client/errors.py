"""The one tree of errors; everything a server says no with is an RFC 9457 problem.

FraudClientError
+-- NoAnswer              no connection, or no answer in time, at every attempt
+-- ProblemError          the server answered, and said no
    +-- InvalidRequest    400 404 405 408 413 415 422 431: sent again, it would be refused again
    +-- Unauthenticated   401: no token, or one that proves nothing, renewed once already
    +-- Forbidden         403: the token lacks the scope
    +-- Conflict          409: the transaction_id is known with another body
    +-- RateLimited       429: at every attempt
    +-- Unavailable       502 503 504: at every attempt
    +-- ServerError       anything else
"""

from collections.abc import Mapping
from typing import cast

from fraud_client.models import Error, Problem


class FraudClientError(Exception):
    """Base of all errors of this client."""


class NoAnswer(FraudClientError):
    """The server could not be reached, or did not answer in time."""


class ProblemError(FraudClientError):
    """The server said no.

    Attributes:
        problem: the problem object, as answered.
        transaction_id: the item of a batch it is about; else None.
        retry_after_s: when to come back, where the server said so.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        transaction_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{problem['status']} {problem['title']}: {problem['detail']}")
        self.problem = problem
        self.transaction_id = transaction_id
        self.retry_after_s = retry_after_s

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem["status"]

    @property
    def kind(self) -> str:
        """The last part of the problem's type, e.g. `invalid-field`."""
        return self.problem["type"].rpartition(":")[2]

    @property
    def errors(self) -> list[Error]:
        """What is wrong with which field, and what to do."""
        return self.problem.get("errors", [])


class InvalidRequest(ProblemError):
    """The request cannot be used; sent again, it would be refused again."""


class Unauthenticated(ProblemError):
    """There is no token, or one that proves nothing."""


class Forbidden(ProblemError):
    """The token is valid but lacks the scope."""


class Conflict(ProblemError):
    """The transaction_id was used before with another body."""


class RateLimited(ProblemError):
    """This client asks too often, or too many requests are waiting."""


class Unavailable(ProblemError):
    """The service, or a part it needs, is away."""


class ServerError(ProblemError):
    """Something broke on the other side."""


_KINDS: dict[int, type[ProblemError]] = {
    **dict.fromkeys((400, 404, 405, 408, 413, 415, 422, 431), InvalidRequest),
    401: Unauthenticated,
    403: Forbidden,
    409: Conflict,
    429: RateLimited,
    **dict.fromkeys((502, 503, 504), Unavailable),
}


def problem_error(
    status: int,
    body: object,
    *,
    transaction_id: str | None = None,
    retry_after_s: float | None = None,
) -> ProblemError:
    """The error of an answer that is not a success.

    Args:
        status: the HTTP status.
        body: the parsed body; what is no problem object came from something in between.
        transaction_id: the item of a batch it is about.
        retry_after_s: the header Retry-After.
    """
    problem: Problem = {
        "type": "about:blank",
        "title": "The answer is not a problem object",
        "status": status,
        "detail": "Something between the client and the service may have answered.",
    }
    if isinstance(body, Mapping) and {"type", "title", "detail"} <= body.keys():
        problem = cast(Problem, {**body, "status": status})
    kind = _KINDS.get(status, ServerError)
    return kind(problem, transaction_id=transaction_id, retry_after_s=retry_after_s)
