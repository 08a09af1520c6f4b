"""The dead-letter queue: messages that can never be decided, with where they came from and why.

A letter has the value of its message as it was sent, with any card number masked. Its key
says where the message stands (`topic/partition/offset`): a message that is read again after a
crash makes a second letter with the same key, which readers take for the same one. Headers,
beside the message's own:

    dlq.topic, dlq.partition, dlq.offset    where the message stands
    dlq.key                                 its key, if it had one
    dlq.sent_at                             its time, ISO 8601
    dlq.reason                              slug of the problem, e.g. invalid-field
    dlq.error                               what was wrong and what to do, in words
    dlq.failed_at                           when it was given up, ISO 8601
    dlq.masked                              1 where the value was: it is no use any more
    dlq.value_left_out                      bytes of a value too large for the DLQ; it has none
    dlq.replays                             how often it was sent again before

A tombstone (no value, no headers but the time) says that the letter of its key was replayed.
"""

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from bentos.fraud_detector.problems import printable, problem_of
from bentos.stream.messages import Headers, Incoming, Place
from fraud.domain.errors import FraudError
from fraud.domain.event import from_us
from fraud.security.masking import masked

PREFIX = "dlq."
REPLAYS = "dlq.replays"
MASKED = "dlq.masked"
LEFT_OUT = "dlq.value_left_out"
DELIVERY_MS = 20_000
"""How long the broker may take to acknowledge a letter."""

LONGEST_ERROR = 1000

RELIABLE = {
    "acks": "all",
    "enable.idempotence": True,
    "message.timeout.ms": DELIVERY_MS,
    "message.max.bytes": 2_000_000,  # a message as large as brokers take by default, and headers
}

log = logging.getLogger("fraud.stream")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up.

    Attributes:
        message: as it was read.
        error: why.
        failed_at: when, UTC.
    """

    message: Incoming
    error: FraudError
    failed_at: dt.datetime

    @property
    def reason(self) -> str:
        """Slug of the problem."""
        return problem_of(self.error).slug

    @property
    def value(self) -> bytes:
        """The message's value, without card numbers: the DLQ keeps what nobody may keep."""
        text = self.message.value.decode("utf-8", "surrogateescape")
        return masked(text).encode("utf-8", "surrogateescape")

    def headers(self) -> Headers:
        """The message's own headers, and ours; see the module."""
        place, sent_us = self.message.place, self.message.sent_us
        said = {
            "topic": place.topic,
            "partition": str(place.partition),
            "offset": str(place.offset),
            "sent_at": "" if sent_us is None else from_us(sent_us).isoformat(),
            "reason": self.reason,
            "error": printable(problem_of(self.error).detail, LONGEST_ERROR),
            "failed_at": self.failed_at.isoformat(),
        }
        ours: Headers = [(PREFIX + name, text.encode()) for name, text in said.items()]
        if self.message.key is not None:
            ours.append((f"{PREFIX}key", self.message.key))
        if self.value != self.message.value:
            ours.append((MASKED, b"1"))
        return kept_headers(self.message.headers) + ours


def kept_headers(headers: Headers) -> Headers:
    """What a message keeps of its headers on its way through the DLQ."""
    return [each for each in headers if each[0] == REPLAYS or not each[0].startswith(PREFIX)]


class DeadLetterQueue:
    """Writes letters; one thread uses it.

    Args:
        config: how to connect.
        topic: of the DLQ.
    """

    def __init__(self, config: Mapping[str, str | int], topic: str) -> None:
        self._config = {**config, **RELIABLE}
        self._topic = topic
        self._producer: Producer | None = None
        self._kept: set[Place] = set()
        self._too_large: list[DeadLetter] = []

    def write(self, letters: Sequence[DeadLetter]) -> set[Place]:
        """Write letters; returns the places of those that the brokers have acknowledged."""
        self._kept, self._too_large = set(), []
        self._send(letters, with_value=True)
        if self._too_large:
            self._send(self._too_large, with_value=False)
        return self._kept

    def _send(self, letters: Sequence[DeadLetter], *, with_value: bool) -> None:
        producer = self._producer = self._producer or Producer(self._config, logger=log)
        for letter in letters:
            headers, value = letter.headers(), letter.value
            if not with_value:
                headers.append((LEFT_OUT, str(len(value)).encode()))
            try:
                producer.produce(
                    self._topic,
                    key=str(letter.message.place),
                    value=value if with_value else b"",
                    headers=headers,
                    on_delivery=partial(self._told, letter, with_value),
                )
            except (KafkaException, BufferError) as error:
                self._failed(letter, with_value, error.args[0] if error.args else error)
        producer.flush()  # every letter is told of within DELIVERY_MS

    def _told(
        self, letter: DeadLetter, with_value: bool, error: KafkaError | None, message: Message
    ) -> None:
        if error is None:
            self._kept.add(letter.message.place)
        else:
            self._failed(letter, with_value, error)

    def _failed(self, letter: DeadLetter, with_value: bool, error: object) -> None:
        if isinstance(error, KafkaError):
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and with_value:
                self._too_large.append(letter)
                return
            if error.fatal():
                self._producer = None  # the next letters get another one
        log.error("%s: no letter at %s: %s", letter.message.place, self._topic, error)
