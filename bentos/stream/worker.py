"""The worker: reads transactions from Kafka, has them decided, and only then moves on.

While one batch is being decided, the next one is read and checked. An offset is committed when
every message before it is done with. A partition whose message wants another try waits, and is
then read again from that message; the consumer stays in its group and the other partitions
go on. Within a partition messages are decided in their order, so that the order per user is
kept where the key is the user.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from bentos.stream.batch_size import BatchSize
from bentos.stream.lag import Lag
from bentos.stream.messages import Incoming, Read
from bentos.stream.stream_metrics import StreamMetrics
from fraud.domain.errors import FraudError, UnavailableError

POLL_S = 0.2
PEEK_S = 0.01
"""How often new messages are looked for while a batch is being decided."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0

COMMIT_AGAIN_S = 1.0

Shelf = tuple[str, int]
"""Topic and partition."""

CommitCallback = Callable[[KafkaError | None, list[TopicPartition]], None]

log = logging.getLogger("fraud.stream")


class Decider(Protocol):
    """What decides on messages; see `bentos.stream.deciding`."""

    def read(self, message: Incoming) -> Read:
        """What a message asks for; in the thread that reads, while another batch is decided."""

    def decide(self, reads: Sequence[Read]) -> list[UnavailableError | None]:
        """None for what is done with, an error for what wants another try."""


@dataclass
class _Pause:
    """A partition that waits; `until_s` is monotonic."""

    until_s: float
    lasts_s: float
    is_over: bool = False


@dataclass(frozen=True)
class _Decided:
    outcomes: list[UnavailableError | None]
    took_s: float


class Worker:
    """One consumer of the group.

    Args:
        connect: makes the consumer, which commits when told to and tells how that went.
        decider: decides, in a thread of its own.
        is_away: whether the ledger is known to be away; nothing is tried meanwhile.
        size: how large a batch may be.
        metrics: where it counts.
    """

    def __init__(
        self,
        connect: Callable[[CommitCallback], Consumer],
        decider: Decider,
        is_away: Callable[[], bool],
        size: BatchSize,
        metrics: StreamMetrics,
    ) -> None:
        self._consumer = consumer = connect(self._on_commit)
        self._decider = decider
        self._is_away = is_away
        self._size = size
        self._metrics = metrics
        self._lag = Lag(consumer, metrics)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._in_flight: tuple[list[Read], Future[_Decided]] | None = None
        self._next: dict[Shelf, int] = {}
        self._committed: dict[Shelf, int] = {}
        self._commit_again_s = 0.0
        self._assigned: set[Shelf] = set()
        self._pauses: dict[Shelf, _Pause] = {}

    def run(self, topics: Sequence[str], over: Event) -> None:
        """Work until told to stop; what is being decided then is finished and committed.

        Args:
            topics: what to read.
            over: set by whoever tells.

        Raises:
            FraudError: Kafka refuses us for good, e.g. after a fenced instance.
        """
        self._consumer.subscribe(
            list(topics),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        try:
            while not over.is_set():
                self._resume_due()
                self._commit_rest()
                batch = self._read()
                self._settle()
                self._submit(batch)
        finally:
            self._settle()
            self._consumer.close()  # revokes, which commits
            self._executor.shutdown()

    def _read(self) -> list[Read]:
        """What has come; if a batch is in flight, what comes until that is decided."""
        if self._in_flight is None:
            messages = self._consume(1, POLL_S)
            if messages:
                messages += self._consume(self._size.limit - 1, 0.0)
        else:
            messages = []
            future = self._in_flight[1]
            while not future.done():
                messages += self._consume(self._size.limit - len(messages), 0.0)
                wait([future], PEEK_S)
        self._metrics.last_poll.set_to_current_time()
        self._lag.look(self._next, self._assigned, self._pauses)
        return messages

    def _consume(self, count: int, timeout_s: float) -> list[Read]:
        found = self._consumer.consume(count, timeout_s) if count > 0 else []
        return [self._decider.read(Incoming.of(each)) for each in found if _is_message(each)]

    def _submit(self, batch: Sequence[Read]) -> None:
        """Have a batch decided, but for messages of partitions that wait or went away."""
        waiting = {shelf for shelf, pause in self._pauses.items() if not pause.is_over}
        readable = self._assigned - waiting
        mine = [each for each in batch if each.message.place.shelf in readable]
        if mine:
            self._metrics.batch_size.observe(len(mine))
            self._in_flight = mine, self._executor.submit(self._decide, mine)

    def _decide(self, batch: Sequence[Read]) -> _Decided:
        started_s = time.perf_counter()
        outcomes = self._decider.decide(batch)
        return _Decided(outcomes, time.perf_counter() - started_s)

    def _settle(self, leaving: frozenset[Shelf] = frozenset()) -> None:
        """Wait for the batch in flight; commit what is done with, pause what is not.

        Args:
            leaving: partitions that are being taken away: nothing is to be done again there.
        """
        if self._in_flight is None:
            return
        (batch, future), self._in_flight = self._in_flight, None
        decided = future.result()
        done: dict[Shelf, int] = {}
        again: dict[Shelf, tuple[int, UnavailableError]] = {}
        for (message, _), error in zip(batch, decided.outcomes, strict=True):
            shelf = message.place.shelf
            if shelf in again or shelf not in self._assigned:
                continue
            if error is None:
                done[shelf] = message.place.offset + 1
            else:
                again[shelf] = message.place.offset, error
        self._measure(len(batch), decided.took_s, is_whole=not again)
        self._commit(done)
        for shelf in done.keys() - again.keys():
            self._forget_pause(shelf)
        for shelf in again.keys() - leaving:
            self._pause(shelf, *again[shelf])

    def _measure(self, count: int, took_s: float, *, is_whole: bool) -> None:
        if is_whole:
            self._size.took(count, took_s)
        else:
            self._size.failed()
        self._metrics.batch_duration.observe(took_s)
        self._metrics.batch_limit.set(self._size.limit)

    def _commit(self, offsets: dict[Shelf, int], *, waits: bool = False) -> None:
        if not offsets:
            return
        self._next |= offsets
        places = [TopicPartition(*shelf, offset) for shelf, offset in offsets.items()]
        try:
            if waits:
                self._consumer.commit(offsets=places, asynchronous=False)
            else:
                self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:  # whoever reads them again finds them decided
            log.warning("Offsets were not committed: %s", error)

    def _commit_rest(self) -> None:
        """Commit again what was not, e.g. because the group was rebalancing just then."""
        now_s = time.monotonic()
        if now_s < self._commit_again_s:
            return
        self._commit_again_s = now_s + COMMIT_AGAIN_S
        self._commit({s: at for s, at in self._next.items() if self._committed.get(s) != at})

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            if error is None and each.error is None:
                self._committed[each.topic, each.partition] = each.offset
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            log.info("Offsets were not committed yet: %s", error.str())

    # Partitions that wait.

    def _pause(self, shelf: Shelf, offset: int, error: UnavailableError) -> None:
        before = self._pauses.get(shelf)
        lasts_s = min(before.lasts_s * 2.0, LONGEST_PAUSE_S) if before else FIRST_PAUSE_S
        self._pauses[shelf] = _Pause(time.monotonic() + lasts_s, lasts_s)
        self._next[shelf] = offset
        self._consumer.pause([TopicPartition(*shelf)])
        self._consumer.seek(TopicPartition(*shelf, offset))
        if before is None:
            self._metrics.pauses.labels(type(error).__name__).inc()
            log.warning("%s/%d waits at %d: %s", *shelf, offset, error)
        self._count_partitions()

    def _resume_due(self) -> None:
        """Read again what has waited long enough, unless the ledger is known to be away."""
        if not self._pauses or self._is_away():
            return
        now_s = time.monotonic()
        for shelf, pause in self._pauses.items():
            if not pause.is_over and pause.until_s <= now_s:
                pause.is_over = True
                self._consumer.resume([TopicPartition(*shelf)])

    def _forget_pause(self, shelf: Shelf) -> None:
        if self._pauses.pop(shelf, None) is not None:
            log.info("%s/%d goes on", *shelf)
            self._count_partitions()

    def _count_partitions(self) -> None:
        self._metrics.assigned.set(len(self._assigned))
        self._metrics.paused.set(len(self._pauses))

    # Kafka calls these while it is asked for messages.

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        came = _shelves(partitions)
        self._assigned |= came
        self._rebalanced("assigned", came)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = _shelves(partitions)
        self._settle(leaving=gone)
        self._commit({s: at for s, at in self._next.items() if s in gone}, waits=True)
        self._let_go(gone)
        self._rebalanced("revoked", gone)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = _shelves(partitions)
        self._let_go(gone)  # others have them by now: our offsets mean nothing
        self._rebalanced("lost", gone)

    def _let_go(self, shelves: frozenset[Shelf]) -> None:
        self._assigned -= shelves
        for shelf in shelves:
            self._pauses.pop(shelf, None)
            self._next.pop(shelf, None)
            self._committed.pop(shelf, None)
            self._lag.forget(shelf)

    def _rebalanced(self, event: str, shelves: frozenset[Shelf]) -> None:
        self._metrics.rebalances.labels(event).inc()
        self._count_partitions()
        names = ", ".join(f"{topic}/{number}" for topic, number in sorted(shelves)) or "nothing"
        log.info("%s %s; this worker has %d partitions", event, names, len(self._assigned))


def _shelves(partitions: Sequence[TopicPartition]) -> frozenset[Shelf]:
    return frozenset((each.topic, each.partition) for each in partitions)


def _is_message(message: Message) -> bool:
    """Whether it is one; what Kafka says instead is logged.

    Raises:
        FraudError: Kafka will never give us a message again.
    """
    error = message.error()
    if error is None:
        return True
    if error.fatal() or error.code() in _FINAL:
        raise FraudError(
            f"Kafka gives this worker no more messages: {error.str()}.",
            remedy="Check the group, its instance ids and what this user may read.",
        )
    log.warning("Kafka says: %s", error.str())
    return False


_FINAL = (
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.FENCED_INSTANCE_ID,
)
