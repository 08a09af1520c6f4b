"""The one tree of errors; each says what was wrong, with which value, and what to do.

FraudError
+-- InputError               the caller's data cannot be used
|   +-- MalformedInput       not JSON, wrong content type, duplicate keys
|   +-- InvalidField         a field is missing, unknown, or has a bad value
|   +-- DuplicateConflict    a transaction_id was used before with another body
|   +-- NotFound             the object asked for does not exist
|   +-- RefusedByPartner     a payment processor or bank does not do what was asked
+-- AccessError
|   +-- Unauthenticated      no token, or one that proves nothing
|   |   +-- UnknownKey       a token of a key that has not been seen yet
|   |   +-- InvalidSignature a body that its sender has not signed, or signed too long ago
|   +-- Forbidden            a valid token without the scope
+-- UnavailableError         try again later
|   +-- Overloaded           more requests wait than can be answered in time
|   +-- RateLimited          this client asks more often than it may
|   +-- LedgerUnavailable    the system of record does not answer
|   +-- JournalUnavailable   what the ledger cannot take cannot be kept elsewhere either
|   +-- StateUnavailable     states were written for other features and wait to be rebuilt
|   +-- ModelUnavailable     no champion could be loaded
|   +-- SinkUnavailable      a sink of the relay takes no messages now
|   +-- PartnerUnavailable   a payment processor does not answer
+-- BundleError              a model bundle must not be served
+-- ProtectionError          a stored value cannot be decrypted, or belongs to another row
+-- ContractError            features, state or data break the feature contract
+-- SettingsError            the configuration is wrong
"""

from typing import Any


class FraudError(Exception):
    """Base of all errors of this platform.

    Args:
        message: what was wrong, with the offending value where it is safe to show.
        remedy: what the reader should do about it.
        field: name of the field at fault, where there is one.
    """

    def __init__(self, message: str, *, remedy: str = "", field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.field = field

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class InputError(FraudError):
    """The caller's data cannot be used."""


class MalformedInput(InputError):
    """The body is not what its content type promises."""


class InvalidField(InputError):
    """One or more fields are missing, unknown, or have a bad value.

    Args:
        problems: one `(field, what is wrong, remedy)` per offending field.
    """

    def __init__(self, problems: list[tuple[str, str, str]]) -> None:
        self.problems = problems
        field, what, remedy = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{field}: {what}{more}", remedy=remedy, field=field)


class DuplicateConflict(InputError):
    """A transaction_id was used before with another body."""


class NotFound(InputError):
    """The object asked for does not exist."""


class RefusedByPartner(InputError):
    """A payment processor or bank does not do what was asked, and says why."""


class AccessError(FraudError):
    """The caller may not do this."""


class Unauthenticated(AccessError):
    """There is no token, or one that proves nothing."""


class UnknownKey(Unauthenticated):
    """The token was made with a key that has not been seen; its issuer may know a new one."""


class InvalidSignature(Unauthenticated):
    """The body carries no signature of its sender, a wrong one, or one made too long ago."""


class Forbidden(AccessError):
    """The token is valid but lacks the scope."""


class UnavailableError(FraudError):
    """A part the answer needs is away; the caller may try again.

    Args:
        retry_after_s: seconds after which a retry is sensible.
    """

    def __init__(self, message: str, *, remedy: str = "", retry_after_s: int = 1) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_s = retry_after_s


class Overloaded(UnavailableError):
    """More requests wait than can be answered in time."""


class RateLimited(UnavailableError):
    """This client asks more often than it may.

    Args:
        is_news: the first refusal of this client for a while, worth a record.
    """

    def __init__(
        self, message: str, *, remedy: str = "", retry_after_s: int = 1, is_news: bool = True
    ) -> None:
        super().__init__(message, remedy=remedy, retry_after_s=retry_after_s)
        self.is_news = is_news


class LedgerUnavailable(UnavailableError):
    """The system of record does not answer."""


class JournalUnavailable(UnavailableError):
    """The local journal is full, or its disk is: no decision could be kept."""


class StateUnavailable(UnavailableError):
    """An entity's state was written for other features and waits to be rebuilt."""


class ModelUnavailable(UnavailableError):
    """No champion could be loaded."""


class SinkUnavailable(UnavailableError):
    """A sink of the relay takes no messages now."""


class PartnerUnavailable(UnavailableError):
    """A payment processor does not answer, or asks to be asked less often."""


class BundleError(FraudError):
    """A model bundle is incomplete, altered, unsigned, or built for other features."""


class ProtectionError(FraudError):
    """A stored ciphertext was altered, moved to another row, or lacks its key."""


class ContractError(FraudError):
    """Features, state or data break the feature contract."""


class SettingsError(FraudError):
    """The configuration is wrong."""


def describe(error: BaseException) -> dict[str, Any]:
    """The parts of an error a person or a log line needs."""
    if isinstance(error, FraudError):
        return {"message": error.message, "remedy": error.remedy, "field": error.field}
    return {"message": f"{type(error).__name__}: {error}", "remedy": "", "field": None}
