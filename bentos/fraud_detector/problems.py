"""Problem bodies (RFC 9457): the one shape in which this service says no.

status  type                  when
400     malformed-body        not JSON, duplicate keys, NaN
400     malformed-request     not HTTP
401     unauthenticated       no token, or one that proves nothing
401     invalid-signature     the body is not signed by who should have sent it, or long ago
403     forbidden             a valid token without the scope
404     not-found             no such page or object
405     method-not-allowed    the page has other methods
408     body-too-slow         the body did not arrive in time
408     headers-too-slow      the headers did not
409     duplicate-conflict    the transaction_id was used with another body
413     body-too-large        more bytes or items than accepted
415     unsupported-media     not application/json, or compressed
422     invalid-field         a field is missing, unknown, or has a bad value
429     overloaded            more requests are waiting than can be answered in time
429     rate-limited          this client asks more often than it may
431     headers-too-large     more bytes of headers than accepted
500     internal-error        our fault; the log knows more
503     unavailable           ledger or model are away, or the answer would come too late

429 and 503 say in Retry-After when to come back; 401 and 403 say why in WWW-Authenticate.
"""

from dataclasses import dataclass, field

import orjson
from starlette.responses import Response

from fraud.domain.errors import (
    DuplicateConflict,
    Forbidden,
    FraudError,
    InvalidField,
    InvalidSignature,
    MalformedInput,
    NotFound,
    Overloaded,
    RateLimited,
    Unauthenticated,
    UnavailableError,
)
from fraud.security.masking import masked

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:fraud-platform:problem:"

TITLES: dict[str, tuple[int, str]] = {
    "malformed-body": (400, "The body cannot be read"),
    "malformed-request": (400, "The request cannot be read"),
    "unauthenticated": (401, "A valid token is needed"),
    "invalid-signature": (401, "The body must be signed by its sender"),
    "forbidden": (403, "The token does not permit this"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "The page does not take this method"),
    "body-too-slow": (408, "The body did not arrive in time"),
    "headers-too-slow": (408, "The headers did not arrive in time"),
    "duplicate-conflict": (409, "The transaction is known with another body"),
    "body-too-large": (413, "The body is too large"),
    "unsupported-media": (415, "The body is not plain JSON"),
    "invalid-field": (422, "A field cannot be used"),
    "overloaded": (429, "Too many requests are waiting"),
    "rate-limited": (429, "This client asks too often"),
    "headers-too-large": (431, "The headers are too large"),
    "internal-error": (500, "Something broke on our side"),
    "unavailable": (503, "No answer can be given now"),
}
"""Status and title of every problem, by the last part of its type."""

_BY_ERROR: tuple[tuple[type[FraudError], str], ...] = (
    (MalformedInput, "malformed-body"),
    (InvalidField, "invalid-field"),
    (DuplicateConflict, "duplicate-conflict"),
    (NotFound, "not-found"),
    (InvalidSignature, "invalid-signature"),
    (Unauthenticated, "unauthenticated"),
    (Forbidden, "forbidden"),
    (Overloaded, "overloaded"),
    (RateLimited, "rate-limited"),
    (UnavailableError, "unavailable"),
)

MAX_ERRORS = 20
"""Fields named in one problem; a body of a thousand unknown fields is not echoed back."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal or failure, ready to be sent.

    Attributes:
        slug: last part of the type, a key of `TITLES`.
        detail: what was wrong and what to do, in sentences.
        errors: one `(field, problem, remedy)` per offending field.
        headers: e.g. Retry-After, lower case.
    """

    slug: str
    detail: str
    errors: tuple[tuple[str, str, str], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return TITLES[self.slug][0]

    def body(self, instance: str | None = None) -> dict[str, object]:
        """The members of the problem object.

        Args:
            instance: path of the request; None leaves the member out.
        """
        status, title = TITLES[self.slug]
        content: dict[str, object] = {
            "type": TYPE_PREFIX + self.slug,
            "title": title,
            "status": status,
            "detail": printable(self.detail, 1000),
        }
        if instance is not None:
            content["instance"] = printable(instance, 200)
        if self.errors:
            content["errors"] = [
                {"field": printable(name, 100), "problem": printable(what, 300), "remedy": remedy}
                for name, what, remedy in self.errors[:MAX_ERRORS]
            ]
        return content

    def response(self, instance: str | None = None) -> Response:
        """The problem as an HTTP response."""
        return Response(
            orjson.dumps(self.body(instance)), self.status, self.headers, media_type=MEDIA_TYPE
        )


def problem_of(error: FraudError) -> Problem:
    """The problem an error of the platform means to a caller."""
    slug = next((slug for kind, slug in _BY_ERROR if isinstance(error, kind)), None)
    if slug is None:
        return internal_error()
    errors: tuple[tuple[str, str, str], ...] = ()
    if isinstance(error, InvalidField):
        errors = tuple(error.problems)
    elif error.field is not None:
        errors = ((error.field, error.message, error.remedy),)
    headers: dict[str, str] = {}
    if isinstance(error, UnavailableError):
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, InvalidSignature):
        headers["www-authenticate"] = "Stripe-Signature"
    elif isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer error="invalid_token"'
    if isinstance(error, Forbidden):
        headers["www-authenticate"] = 'Bearer error="insufficient_scope"'
    return Problem(slug, _sentences(error), errors, headers)


def _sentences(error: FraudError) -> str:
    end = "" if error.message.endswith((".", "!", "?")) else "."
    return f"{error.message}{end} {error.remedy}".strip()


def internal_error() -> Problem:
    """What a caller learns of a fault of ours: that it was one."""
    return Problem("internal-error", "The request was not processed. Try again, or tell us when.")


def printable(text: str, limit: int) -> str:
    """Text of at most `limit` characters that every log line and JSON reader survives.

    Card numbers in it are masked: what a caller got wrong is not repeated to the letter.
    """
    text = masked(text)
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in cut)
