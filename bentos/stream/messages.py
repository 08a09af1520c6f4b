"""From a message of Kafka to a request the scorer takes, or one clear refusal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from bentos.fraud_detector.access import MAX_BODY
from bentos.fraud_detector.intake import accept, parse_object
from bentos.scoring.scorer import ScoreRequest
from fraud.domain.errors import InputError, InvalidField, MalformedInput
from fraud.domain.event import EARLIEST, to_us

MAX_VALUE_BYTES = MAX_BODY
"""Of one transaction; the HTTP API takes no larger ones."""

EARLIEST_US = to_us(EARLIEST)

Headers = list[tuple[str, str | bytes | None]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands.

    Attributes:
        topic: its topic.
        partition: number of the partition.
        offset: in the partition.
    """

    topic: str
    partition: int
    offset: int

    @property
    def shelf(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.topic, self.partition

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it was read.

    Attributes:
        place: where it stands.
        key: chooses the partition; None where the producer gave none.
        value: the body; b"" where there is none.
        headers: as they came.
        sent_us: when the producer, or the broker, says it was sent; microseconds UTC.
    """

    place: Place
    key: bytes | None
    value: bytes
    headers: Headers
    sent_us: int | None

    @classmethod
    def of(cls, message: Message) -> "Incoming":
        """What matters of a message without an error."""
        kind, sent_ms = message.timestamp()
        return cls(
            place=place_of(message),
            key=as_bytes(message.key()),
            value=as_bytes(message.value()) or b"",
            headers=headers_of(message),
            sent_us=None if kind == TIMESTAMP_NOT_AVAILABLE else sent_ms * 1000,
        )


class Read(NamedTuple):
    """A message and what it asks for, or why it cannot be used and never will be."""

    message: Incoming
    request: ScoreRequest | InputError


def place_of(message: Message) -> Place:
    """Where a message stands."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return Place(topic, partition, offset)


def headers_of(message: Message) -> Headers:
    """The headers of a message, none where it has none."""
    found = message.headers() or []
    return list(found.items()) if isinstance(found, Mapping) else list(found)


def as_bytes(value: str | bytes | None) -> bytes | None:
    """A key, value or header as the wire had it."""
    return value.encode() if isinstance(value, str) else value


def request_of(incoming: Incoming, fraud_type: str | None, actor: str, now_us: int) -> ScoreRequest:
    """The request a message makes.

    A transaction that names no time happened when its message was sent: a consumer that lags
    behind does not move it.

    Args:
        incoming: the message.
        fraud_type: what its topic carries; None where the messages say so themselves.
        actor: whose request it shall be.
        now_us: the time now.

    Raises:
        InputError: the message cannot be used, and never will be.
    """
    if len(incoming.value) > MAX_VALUE_BYTES:
        raise MalformedInput(
            f"The message has {len(incoming.value):,} bytes.",
            remedy=f"A transaction has at most {MAX_VALUE_BYTES:,}.",
        )
    content = parse_object(incoming.value)
    if fraud_type is not None:
        given = content.setdefault("fraud_type", fraud_type)
        if given != fraud_type:
            what = f"is not {fraud_type!r}, which is all that the topic carries"
            raise InvalidField([("fraud_type", what, "Send it to the topic of its fraud type.")])
    accepted = accept(content, arrival_us(incoming.sent_us, now_us))
    return ScoreRequest(accepted.event, accepted.body_digest, actor, str(incoming.place))


def arrival_us(sent_us: int | None, now_us: int) -> int:
    """When a message was sent, as far as that can be believed; else now."""
    return sent_us if sent_us is not None and EARLIEST_US <= sent_us <= now_us else now_us


def by_topic(text: str) -> dict[str, str | None]:
    """Topics and the fraud types they carry, of e.g. `transactions, ach-entries=ach`."""
    return dict(_topics(text.split(",")))


def _topics(parts: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    for part in parts:
        name, _, kind = (each.strip() for each in part.partition("="))
        if name:
            yield name, kind or None
