"""From the bytes of a body to transactions that can be scored, or one clear refusal.

Stricter than JSON parsers are by habit: a key that stands twice, NaN, infinities and any
encoding but UTF-8 are refused rather than guessed at.
"""

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fraud.domain.errors import FraudError, InvalidField, MalformedInput, NotFound
from fraud.domain.event import Event, TransactionBase, to_event
from fraud.domain.fraud_type import FraudType
from fraud.security.masking import card_fields
from fraud.types.registry import fraud_type as declared

DEFAULT_FRAUD_TYPE = "credit_card"
MAX_BATCH_ITEMS = 1000
MAX_FIELDS = 100
"""Fields of one object; far more than declared ones are an attack on the error report."""

JSON_REMEDY = (
    'Send one JSON object in UTF-8, e.g. {"transaction_id": "TXN_1", "amount": 12.5, ...}.'
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A transaction that may be scored.

    Attributes:
        event: what the inside works with.
        body_digest: SHA-256 of what was sent, in canonical form: equal for equal requests.
    """

    event: Event
    body_digest: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """An item of a batch that cannot be scored.

    Attributes:
        transaction_id: as sent, where it was readable.
        error: why.
    """

    transaction_id: str | None
    error: FraudError


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body.

    Raises:
        MalformedInput: not UTF-8, not JSON, a key twice, NaN or an infinity.
        InvalidField: JSON, but not an object.
    """
    if not body:
        raise MalformedInput("The body is empty.", remedy=JSON_REMEDY)
    try:
        content = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedInput(
            f"The body is not UTF-8: byte {error.start} cannot be read.", remedy=JSON_REMEDY
        ) from None
    except json.JSONDecodeError as error:
        raise MalformedInput(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            remedy=JSON_REMEDY,
        ) from None
    except RecursionError:
        raise MalformedInput("The body is nested too deeply.", remedy=JSON_REMEDY) from None
    except ValueError:  # Python's bound on the digits of an integer
        raise MalformedInput("A number has too many digits.", remedy=JSON_REMEDY) from None
    if not isinstance(content, dict):
        raise InvalidField([("body", "must be a JSON object", JSON_REMEDY)])
    return content


def accept(content: object, now_us: int) -> Accepted:
    """Check one transaction against its fraud type.

    Args:
        content: the parsed object; `fraud_type` chooses the schema.
        now_us: time of arrival, for a transaction that names no time.

    Raises:
        InvalidField: a field is missing, unknown, or has a bad value.
    """
    if not isinstance(content, dict):
        raise InvalidField([("transaction", "must be a JSON object", JSON_REMEDY)])
    if len(content) > MAX_FIELDS:
        what = f"has {len(content)} fields, more than any transaction"
        raise InvalidField([("transaction", what, "Send the declared fields only.")])
    kind = _fraud_type_of(content)
    try:
        transaction = kind.transaction.model_validate(content)
    except ValidationError as error:
        raise InvalidField(_problems(error, kind.transaction)) from None
    refuse_card_numbers(content)
    event = to_event(kind.name, transaction, now_us)
    return Accepted(event, body_digest(kind.name, transaction))


def accept_batch(content: Mapping[str, object], now_us: int) -> list[Accepted | Refused]:
    """Check the transactions of a batch, each on its own.

    Raises:
        InvalidField: the body is not `{"transactions": [...]}` with 1 to 1,000 items.
    """
    form = 'Send {"transactions": [...]} with 1 to 1,000 items.'
    unknown = [name for name in content if name != "transactions"][:MAX_FIELDS]
    if unknown:
        raise InvalidField([(name, "is not a field of a batch", form) for name in unknown])
    items = content.get("transactions")
    if not isinstance(items, list):
        what = "is missing" if items is None else "must be a list"
        raise InvalidField([("transactions", what, form)])
    if not 1 <= len(items) <= MAX_BATCH_ITEMS:
        raise InvalidField([("transactions", f"has {len(items)} items", form)])
    checked: list[Accepted | Refused] = []
    for item in items:
        try:
            checked.append(accept(item, now_us))
        except FraudError as error:
            checked.append(Refused(sent_id(item), error))
    return checked


def refuse_card_numbers(content: Mapping[str, object]) -> None:
    """Card numbers are not for us: what is not taken in cannot leak (PCI DSS 3.2).

    Raises:
        InvalidField: a text holds one; the problem names its field and not its value.
    """
    found = card_fields(content)
    if found:
        what = "holds a card number, which is not accepted"
        remedy = (
            "Send a token of it or its first six and last four digits; put a letter between the "
            "digits of an identifier that only looks like one."
        )
        raise InvalidField([(name, what, remedy) for name in found])


def sent_id(content: object) -> str | None:
    """The transaction_id of an object that may be anything, as far as it can be shown."""
    if not isinstance(content, dict):
        return None
    value = content.get("transaction_id")
    return value[:50] if isinstance(value, str) and value else None


def body_digest(fraud_type: str, transaction: TransactionBase) -> bytes:
    """SHA-256 of a transaction's canonical JSON: sorted keys, UTC times, minor units.

    A field without a value stays absent: a retry without a timestamp is the same body, and so
    is one that reaches a later version, whose fraud type has more optional fields.
    """
    content = {name: value for name, value in vars(transaction).items() if value is not None}
    content["fraud_type"] = fraud_type
    content["amount"] = round(transaction.amount * 100.0)
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


def _fraud_type_of(content: dict[str, Any]) -> FraudType:
    name = content.get("fraud_type", DEFAULT_FRAUD_TYPE)
    if not isinstance(name, str):
        raise InvalidField([("fraud_type", "must be text", f"E.g. {DEFAULT_FRAUD_TYPE!r}.")])
    try:
        return declared(name)
    except NotFound as error:
        raise InvalidField([("fraud_type", "is not a declared fraud type", error.remedy)]) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        count = Counter(name for name, _ in pairs)
        twice = next(name for name in count if count[name] > 1)
        raise MalformedInput(
            f"The key {json.dumps(twice[:100])} stands twice in one object.",
            remedy="Send each field once.",
            field=twice,
        )
    return content


def _no_constant(name: str) -> NoReturn:
    raise MalformedInput(f"The body contains {name}.", remedy="Send finite numbers, or null.")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)

_TYPES = {
    "string_type": ("must be text", "Put it into quotes."),
    "string_unicode": ("is not valid Unicode", "Send whole characters, not half surrogates."),
    "float_type": ("must be a number", "Send it without quotes."),
    "float_parsing": ("must be a number", "Send it without quotes."),
    "int_type": ("must be a whole number", "Send it without quotes."),
    "bool_type": ("must be true or false", "Send true or false, without quotes."),
    "finite_number": ("must be a finite number", "Send a finite number."),
}
_LIMITS = {
    "string_too_short": ("is too short", "Send at least {min_length} character(s)."),
    "string_too_long": ("is too long", "Send at most {max_length} characters."),
    "greater_than_equal": ("is too small", "Send at least {ge}."),
    "less_than_equal": ("is too large", "Send at most {le}."),
    "greater_than": ("is too small", "Send more than {gt}."),
    "less_than": ("is too large", "Send less than {lt}."),
    "literal_error": ("is not one of the accepted values", "Send {expected}."),
    "string_pattern_mismatch": ("has characters that are not accepted", "It must match {pattern}."),
}
_PATTERNS = {"^[!-~]+$": "Use visible ASCII characters without spaces."}


def _problems(error: ValidationError, model: type[TransactionBase]) -> list[tuple[str, str, str]]:
    details = error.errors(include_url=False, include_input=False)
    return [_problem(detail, model) for detail in details]


def _problem(detail: ErrorDetails, model: type[TransactionBase]) -> tuple[str, str, str]:
    name = ".".join(str(part) for part in detail["loc"]) or "body"
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        about = model.model_fields[name].description if name in model.model_fields else None
        return name, "is missing", f"Send it. {about}" if about else "Send it."
    if kind == "extra_forbidden":
        return name, "is not a field of this fraud type", _known_fields(name, model)
    if kind in _TYPES:
        return name, *_TYPES[kind]
    if kind == "string_pattern_mismatch" and context.get("pattern") in _PATTERNS:
        return name, _LIMITS[kind][0], _PATTERNS[str(context["pattern"])]
    if kind in _LIMITS:
        what, remedy = _LIMITS[kind]
        return name, what, remedy.format(**context)
    return name, detail["msg"].removeprefix("Value error, "), "Correct it and send it again."


def _known_fields(name: str, model: type[TransactionBase]) -> str:
    close = difflib.get_close_matches(name[:50], model.model_fields, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Leave it out. Fields are: {', '.join(model.model_fields)}."
