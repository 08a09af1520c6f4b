"""Sending dead letters again: back to the topic they came from, at most once each.

A replay and the tombstone that marks its letter as replayed are one Kafka transaction, and
all replays share one transactional id: whoever begins shuts out whoever was at it before. So
a letter is sent again once, however often and by however many the command is run, and
whenever it is killed. What fails again becomes a new letter, with `dlq.replays` counted up.
"""

import datetime as dt
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from bentos.stream.dlq import LEFT_OUT, MASKED, PREFIX, RELIABLE, REPLAYS, kept_headers
from bentos.stream.kafka_client import client_config
from bentos.stream.messages import Headers, Place, as_bytes, headers_of, place_of
from bentos.stream.topics import check_topics, unreachable
from fraud.domain.errors import ContractError, UnavailableError
from fraud.domain.event import to_us
from fraud.settings import Settings

CHUNK = 200
"""Letters in one transaction."""

READ_TIMEOUT_S = 30.0

log = logging.getLogger("fraud.stream")


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it was read.

    Attributes:
        key: says where its message stands.
        origin: the same, taken apart.
        message_key: key of the message.
        value: of the message.
        headers: of the letter.
        sent_us: when the message was sent, if that is known.
        reason: slug of the problem.
        error: the problem in words.
        failed_at: when it was given up.
        is_whole: whether the letter has the value as it was sent.
    """

    key: bytes
    origin: Place
    message_key: bytes | None
    value: bytes
    headers: Headers
    sent_us: int | None
    reason: str
    error: str
    failed_at: dt.datetime
    is_whole: bool


@dataclass(frozen=True)
class Choice:
    """Which letters; what is None or empty does not restrict.

    Attributes:
        reasons: slugs of problems.
        topic: they came from.
        partition: they came from.
        since: given up at or after.
        until: given up before.
        limit: so many at most, the oldest first.
    """

    reasons: frozenset[str] = field(default_factory=frozenset)
    topic: str | None = None
    partition: int | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    limit: int | None = None

    def __contains__(self, letter: Letter) -> bool:
        """Whether the letter is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and self.topic in (None, letter.origin.topic)
            and self.partition in (None, letter.origin.partition)
            and (self.since is None or letter.failed_at >= self.since)
            and (self.until is None or letter.failed_at < self.until)
        )


@dataclass(frozen=True)
class Replayed:
    """What a replay did, or would do.

    Attributes:
        waiting: letters that were not replayed before.
        chosen: of these, those that were meant and have their whole value.
        without_value: those that were meant and have not: nothing can be sent.
    """

    waiting: int
    chosen: list[Letter]
    without_value: list[Letter]


def replay(settings: Settings, choice: Choice, *, is_dry: bool) -> Replayed:
    """Send the chosen letters again.

    Args:
        settings: the configuration.
        choice: which ones.
        is_dry: only say which ones.

    Raises:
        SettingsError: a topic is missing.
        UnavailableError: Kafka does not answer, or another replay has taken over.
    """
    check_topics(settings, [settings.kafka_dlq_topic])
    try:
        producer = None if is_dry else _producer(settings)
        letters = waiting_letters(settings)
        meant = [each for each in letters if each in choice][: choice.limit]
        whole = [each for each in meant if each.is_whole]
        if producer is not None:
            for start in range(0, len(whole), CHUNK):
                _send(producer, settings.kafka_dlq_topic, whole[start : start + CHUNK])
    except KafkaException as error:
        if error.args[0].code() in _TAKEN_OVER or error.args[0].fatal():
            raise UnavailableError(
                f"The replay was stopped: {error.args[0].str()}.",
                remedy="Another one may have begun since; run it again when that has ended.",
            ) from None
        raise unreachable(settings, error) from None
    return Replayed(len(letters), whole, [each for each in meant if not each.is_whole])


def waiting_letters(settings: Settings) -> list[Letter]:
    """Letters that were not replayed, the oldest first; one per message.

    Raises:
        KafkaException: Kafka does not answer.
        UnavailableError: nor does it within a while.
    """
    letters: dict[bytes, Letter] = {}
    for message in _everything(settings):
        key = as_bytes(message.key()) or b""
        headers = headers_of(message)
        if message.value() is None and not any(name == f"{PREFIX}topic" for name, _ in headers):
            letters.pop(key, None)
            continue
        try:
            letters[key] = letter_of(key, as_bytes(message.value()) or b"", headers)
        except ContractError as error:
            log.warning("%s is left alone: %s", place_of(message), error)
    return sorted(letters.values(), key=_age)


def _age(letter: Letter) -> tuple[dt.datetime, str, int, int]:
    origin = letter.origin
    return letter.failed_at, origin.topic, origin.partition, origin.offset


def letter_of(key: bytes, value: bytes, headers: Headers) -> Letter:
    """The letter that a message of the DLQ is.

    Raises:
        ContractError: it is none of ours.
    """
    said = {name: as_bytes(text) or b"" for name, text in headers if name.startswith(PREFIX)}

    def text(name: str) -> str:
        return said[PREFIX + name].decode(errors="replace")

    try:
        sent_at = text("sent_at")
        return Letter(
            key=key,
            origin=Place(text("topic"), int(text("partition")), int(text("offset"))),
            message_key=said.get(f"{PREFIX}key"),
            value=value,
            headers=headers,
            sent_us=to_us(dt.datetime.fromisoformat(sent_at)) if sent_at else None,
            reason=text("reason"),
            error=text("error"),
            failed_at=dt.datetime.fromisoformat(text("failed_at")),
            is_whole=not {LEFT_OUT, MASKED} & said.keys(),
        )
    except (KeyError, ValueError) as error:
        raise ContractError(f"Its header {error} is missing or cannot be read.") from None


def _everything(settings: Settings) -> Iterator[Message]:
    """The messages of the DLQ, up to where it reaches now."""
    consumer = Consumer(
        {
            **client_config(settings),
            "group.id": f"{settings.kafka_group}.dlq",  # which never commits
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        },
        logger=log,
    )
    try:
        topic = settings.kafka_dlq_topic
        found = consumer.list_topics(topic, timeout=READ_TIMEOUT_S).topics[topic].partitions
        open_partitions = set(found)
        consumer.assign([TopicPartition(topic, number, 0) for number in found])
        while open_partitions:
            message = consumer.poll(READ_TIMEOUT_S)
            if message is None:
                raise UnavailableError(f"{topic} was not read to its end.", remedy="Try again.")
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                open_partitions.discard(message.partition())
    finally:
        consumer.close()


def _producer(settings: Settings) -> Producer:
    config = {
        **client_config(settings),
        **RELIABLE,
        "transactional.id": f"{settings.kafka_group}.dlq-replay",
    }
    producer = Producer(config, logger=log)
    producer.init_transactions(READ_TIMEOUT_S)
    return producer


def _send(producer: Producer, dlq_topic: str, letters: Iterable[Letter]) -> None:
    """Letters and their tombstones, all of them or none."""
    producer.begin_transaction()
    for letter in letters:
        producer.produce(
            letter.origin.topic,
            key=letter.message_key,
            value=letter.value,
            headers=_replay_headers(letter),
            timestamp=0 if letter.sent_us is None else letter.sent_us // 1000,  # 0: now
        )
        producer.produce(dlq_topic, key=letter.key, value=None)
        producer.poll(0)
    producer.commit_transaction(READ_TIMEOUT_S)


def _replay_headers(letter: Letter) -> Headers:
    kept = kept_headers(letter.headers)
    before = next((int(as_bytes(v) or b"0") for name, v in kept if name == REPLAYS), 0)
    rest = [each for each in kept if each[0] != REPLAYS]
    return [*rest, (REPLAYS, str(before + 1).encode())]


_TAKEN_OVER = (
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError._FENCED,
)
