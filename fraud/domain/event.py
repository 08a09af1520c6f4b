"""Events: what arrives at the door, and what the inside works with."""

import datetime as dt
import hashlib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
)

from fraud.domain.errors import InvalidField
from fraud.domain.time_zones import known_zone

MAX_AMOUNT = 99_999_999.99
"""Largest amount in major units: what DECIMAL(10,2) holds."""

FUTURE_TOLERANCE_US = 5 * 60 * 1_000_000
"""How far an event may lie ahead of our clock."""

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)

Scalar = str | float | bool | None
FieldKind = Literal["text", "number", "flag"]


def to_us(moment: dt.datetime) -> int:
    """Microseconds since 1970 UTC of an aware datetime, exact."""
    return (moment - EPOCH) // dt.timedelta(microseconds=1)


def from_us(time_us: int) -> dt.datetime:
    """The aware UTC datetime of microseconds since 1970."""
    return EPOCH + dt.timedelta(microseconds=time_us)


@lru_cache(64)  # of a batch most are the same
def iso_text(time_us: int) -> str:
    """ISO 8601 of microseconds since 1970, e.g. `2026-01-15T10:30:00Z`."""
    return from_us(time_us).isoformat().replace("+00:00", "Z")


def _parse_timestamp(value: object) -> dt.datetime:
    if isinstance(value, dt.datetime):
        moment = value
    elif isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError("must be ISO 8601, e.g. '2026-01-15T10:30:00Z'") from error
    else:
        raise ValueError("must be ISO 8601 text, e.g. '2026-01-15T10:30:00Z'")
    moment = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment
    if moment < EARLIEST:
        raise ValueError("must not lie before 2000-01-01")
    if moment > LATEST:
        raise ValueError("must not lie after 2200-01-01")
    return moment.astimezone(dt.UTC)


def _whole_cents(value: object) -> object:
    if isinstance(value, float) and abs(value) <= MAX_AMOUNT:
        cents = value * 100.0
        if abs(cents - round(cents)) > 1e-6:
            raise ValueError("must have at most two decimals")
    return value


Identifier = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[!-~]+$")]
"""1 to 50 visible ASCII characters without spaces."""

SENSITIVE: dict[str, JsonValue] = {"x-sensitive": True}
"""`json_schema_extra` of a text field that is kept encrypted, and compared as a pseudonym."""

Timestamp = Annotated[dt.datetime, BeforeValidator(_parse_timestamp)]
"""ISO 8601; without an offset it means UTC."""

Money = Annotated[float, BeforeValidator(_whole_cents), Field(ge=0, le=MAX_AMOUNT)]
"""Major units with at most two decimals."""


Latitude = Annotated[float, Field(ge=-90, le=90)]
"""Degrees north, WGS 84."""

Longitude = Annotated[float, Field(ge=-180, le=180)]
"""Degrees east, WGS 84."""

TimeZone = Annotated[
    str,
    Field(max_length=50, json_schema_extra={"format": "iana-time-zone"}),
    AfterValidator(known_zone),
]
"""Name of an IANA time zone."""


@dataclass(frozen=True)
class TogetherWith:
    """Demands that a field is sent together with another one, declared before it.

    The field itself needs `validate_default=True`, so that its absence is looked at as well.

    Attributes:
        field: name of the other one.
    """

    field: str

    def __call__(self, value: float | None, info: ValidationInfo) -> float | None:
        """Give the value back.

        Raises:
            ValueError: only one of the two is null.
        """
        if self.field in info.data and (info.data[self.field] is None) != (value is None):
            raise ValueError(f"must be sent together with {self.field}, or neither of them")
        return value


class TransactionBase(BaseModel):
    """Fields that every fraud type shares; each type adds its own."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    transaction_id: Identifier
    timestamp: Timestamp | None = Field(
        default=None,
        description="When it happened, from 2000-01-01 to five minutes ahead of the server's "
        "clock; the time of arrival if absent.",
    )
    amount: Money = Field(
        default=0.0,
        description="Value at risk, major units of the platform's currency; 0 if nothing is paid.",
    )


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, as the inside sees it.

    Attributes:
        fraud_type: name of its fraud type.
        transaction_id: unique within the platform.
        event_time_us: when it happened, microseconds UTC.
        amount_minor: value at risk in minor units, 0 where nothing is paid.
        fields: the type's own fields by name.
    """

    fraud_type: str
    transaction_id: str
    event_time_us: int
    amount_minor: int
    fields: Mapping[str, Scalar]


def to_event(fraud_type: str, transaction: TransactionBase, now_us: int) -> Event:
    """The event of a transaction that came through the door.

    Raises:
        InvalidField: the timestamp lies more than five minutes ahead of `now_us`.
    """
    stamp = transaction.timestamp
    time_us = now_us if stamp is None else to_us(stamp)
    if time_us > now_us + FUTURE_TOLERANCE_US:
        raise InvalidField(
            [
                (
                    "timestamp",
                    f"{stamp.isoformat() if stamp else ''} lies in the future",
                    "Send the time the transaction happened, in UTC, and check the clock.",
                )
            ]
        )
    values = vars(transaction)
    own = {name: values[name] for name in field_kinds(type(transaction))}
    return Event(
        fraud_type=fraud_type,
        transaction_id=transaction.transaction_id,
        event_time_us=time_us,
        amount_minor=round(transaction.amount * 100.0),
        fields=own,
    )


_KINDS: dict[type[TransactionBase], dict[str, FieldKind]] = {}


def field_kinds(model: type[TransactionBase]) -> dict[str, FieldKind]:
    """The type's own fields, in order, and whether each is text, a number or a flag."""
    if model not in _KINDS:
        shared = {*TransactionBase.model_fields, "fraud_type"}
        _KINDS[model] = {
            name: _kind(info.annotation)
            for name, info in model.model_fields.items()
            if name not in shared
        }
    return _KINDS[model]


def sensitive_fields(model: type[TransactionBase]) -> tuple[str, ...]:
    """The type's own fields that are declared `SENSITIVE`, in order."""
    return tuple(
        name
        for name in field_kinds(model)
        if isinstance(extra := model.model_fields[name].json_schema_extra, dict)
        and SENSITIVE.items() <= extra.items()
    )


def _kind(annotation: Any) -> FieldKind:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(annotation) if part is not type(None)]
        return _kind(inner[0])
    if origin is Annotated:
        return _kind(typing.get_args(annotation)[0])
    if origin is Literal or annotation is str:
        return "text"
    return "flag" if annotation is bool else "number"


def text_id(value: str) -> int:
    """Stable signed 64-bit hash of a text (BLAKE2b), never the NONE of aggregates."""
    digest = hashlib.blake2b(value.encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "little", signed=True)
    return number if number != -(2**63) else 0


def text_ids(values: Iterable[str]) -> NDArray[np.int64]:
    """`text_id` of many texts, shape (n,)."""
    blake2b = hashlib.blake2b
    digests = b"".join([blake2b(value.encode(), digest_size=8).digest() for value in values])
    numbers = np.frombuffer(digests, "<i8").astype(np.int64)
    numbers[numbers == np.iinfo(np.int64).min] = 0
    return numbers


def entity_key(entity: str, values: Iterable[str]) -> str:
    """The key of an entity's state: its name and identifying values, space separated."""
    return " ".join((entity, *values))
