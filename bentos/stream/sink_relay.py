"""From the outbox to one sink: read, deliver, note, and again."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set
from tenacity.nap import sleep_using_event
from tenacity.wait import wait_random_exponential

from bentos.stream.relay_metrics import RelayMetrics
from bentos.stream.sink import Sink
from fraud.domain.errors import FraudError
from fraud.ledger.dead_letters import bury, due_letters, forget_erased, remove_letters
from fraud.ledger.deliveries import (
    Message,
    Refusal,
    clear_failure,
    lead,
    next_batch,
    note_failure,
    note_progress,
)
from fraud.ledger.engine import UTC_SESSION, connect

log = logging.getLogger("fraud.relay")

FOLLOW_S = 1.0
"""How often a relay that does not lead looks whether the leader is gone."""

SHORTEST_PAUSE_S = 0.01
"""After a batch that was not full: more messages at a time cost less than looking sooner."""

LONGEST_PAUSE_S = 0.1
"""Between two looks at an outbox with nothing new, doubled from the shortest each time."""

LEDGER_PAUSE_S = 1.0
LONGEST_RETRY_S = 30.0

T = TypeVar("T")
_SESSION = f"{UTC_SESSION} -c synchronous_commit=off"


class SinkRelay:
    """Delivers the outbox to one sink whenever no other relay does; runs in one thread.

    The session with the ledger holds the lead: when it ends, so does the lead, and nothing can
    be noted any more. A message is noted only after the sink has it, so what a killed relay
    was sending is sent again.

    Args:
        url: address of the ledger.
        sink: where to.
        metrics: where it counts.
        stop: set when the process ends.
    """

    def __init__(self, url: str, sink: Sink, metrics: RelayMetrics, stop: threading.Event) -> None:
        self._url = url
        self._sink = sink
        self._stop = stop
        self._delivered = metrics.delivered.labels(sink.name)
        self._dead = metrics.dead.labels(sink.name)
        self._retries = metrics.retries.labels(sink.name)
        self._is_leader = metrics.is_leader.labels(sink.name)

    def run(self) -> None:
        """Deliver until `stop` is set, whatever becomes of the ledger and the sink meanwhile."""
        while not self._stop.is_set():
            try:
                # A note lost in a crash makes a batch come again: no need to wait for disks.
                connection = connect(self._url, autocommit=True, options=_SESSION)
                try:
                    self._lead_and_deliver(connection)
                finally:
                    connection.close()
            except (FraudError, psycopg2.Error) as error:
                log.warning("%s: %s", self._sink.name, error)
            except Exception:  # whatever it is, other sinks and later tries must not suffer
                log.exception("%s: unexpected", self._sink.name)
            self._stop.wait(LEDGER_PAUSE_S)
        self._sink.close()

    def _lead_and_deliver(self, connection: Connection) -> None:
        while not lead(connection, self._sink.name):
            if self._stop.wait(FOLLOW_S):
                return
        log.info("%s: this relay delivers", self._sink.name)
        self._is_leader.set(1)
        try:
            self._insist(connection, self._sink.prepare)
            self._deliver_all(connection)
        finally:
            self._is_leader.set(0)

    def _deliver_all(self, connection: Connection) -> None:
        pause_s, look_at = SHORTEST_PAUSE_S, time.monotonic()
        while not self._stop.is_set():
            count = self._deliver_batch(connection)
            if time.monotonic() >= look_at:
                self._deliver_due(connection)
                look_at = time.monotonic() + FOLLOW_S
            if count < self._sink.batch_size:
                pause_s = SHORTEST_PAUSE_S if count else min(2 * pause_s, LONGEST_PAUSE_S)
                self._stop.wait(pause_s)

    def _deliver_batch(self, connection: Connection) -> int:
        """Deliver the next messages; how many they were."""
        sink = self._sink
        with connection.cursor() as cursor:
            batch = next_batch(
                cursor, sink.name, sink.batch_size, with_transactions=sink.needs_transactions
            )
        if batch is None:
            return 0
        refusals = self._insist(connection, partial(sink.deliver, batch.messages))
        with connection, connection.cursor() as cursor:
            bury(cursor, sink.name, refusals)
            forget_erased(cursor, sink.name, batch.messages)
            note_progress(cursor, sink.name, batch.after)
        self._count(batch.messages, refusals)
        return len(batch.messages)

    def _deliver_due(self, connection: Connection) -> None:
        """Deliver dead letters that somebody wants to be tried again."""
        sink = self._sink
        with connection.cursor() as cursor:
            due = due_letters(cursor, sink.name, sink.batch_size)
        if not due:
            return
        refusals = self._insist(connection, partial(sink.deliver, due))
        refused = {each.message.outbox_id for each in refusals}
        with connection, connection.cursor() as cursor:
            bury(cursor, sink.name, refusals)
            taken = [each for each in due if each.outbox_id not in refused]
            remove_letters(cursor, sink.name, taken)
        self._count(due, refusals)

    def _insist(self, connection: Connection, action: Callable[[], T]) -> T:
        """Do something with the sink until it succeeds, with growing pauses and notes of failure.

        Raises:
            Exception: what the sink raised last, when the process ends before it succeeds.
            psycopg2.Error: the session ended meanwhile, and with it the lead.
        """

        def note(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            is_known = isinstance(error, FraudError)
            failure = str(error) if is_known else f"{type(error).__name__}: {error}"
            log.warning(
                *("%s: try %d failed: %s", self._sink.name, state.attempt_number, failure),
                exc_info=None if is_known else error,
            )
            self._retries.inc()
            with connection.cursor() as cursor:
                note_failure(cursor, self._sink.name, failure)

        retrying = Retrying(
            retry=retry_if_exception_type(),
            wait=wait_random_exponential(multiplier=0.2, max=LONGEST_RETRY_S),
            stop=stop_when_event_set(self._stop),
            sleep=sleep_using_event(self._stop),
            before_sleep=note,
            reraise=True,
        )
        result = retrying(action)
        if retrying.statistics["attempt_number"] > 1:
            with connection.cursor() as cursor:
                clear_failure(cursor, self._sink.name)
        return result

    def _count(self, messages: Sequence[Message], refusals: Sequence[Refusal]) -> None:
        self._delivered.inc(len(messages) - len(refusals))
        self._dead.inc(len(refusals))
