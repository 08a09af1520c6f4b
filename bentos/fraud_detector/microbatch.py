"""Micro-batches: what arrives while a batch is in flight forms the next one.

One worker thread has all the blocking work done: it scores what waits, at most `max_batch` at
once, and keeps the audit records of refusals. It and the event loop take turns: what arrives while
a batch is in flight cannot be scored before its end, so the loop rests until then, and reads it all
in one go. To read it one by one took the interpreter from the thread again and again: at half of
the capacity the median answer came half as late again. The queue is bounded, by its length and by
the time that recent batches took: who could not be answered in time is told at once. Whoever waits
too long nevertheless is told so and forgotten before any work is spent on them.
"""

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from fraud.domain.errors import FraudError, Overloaded, UnavailableError

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Record = TypeVar("Record")

PACE_WEIGHT = 0.3
"""What the last batch counts for in the estimate of how long one takes."""

ROUNDS = 3
"""Of the event loop between a request and its hand-over: in them, tasks and connections that have
begun get on, which would otherwise go one step from rest to rest."""

log = logging.getLogger("fraud.detector")


@dataclass(frozen=True)
class Limits:
    """How much may wait, and for how long.

    Attributes:
        max_batch: requests scored at once.
        max_bulk_batch: the same where only bulk requests wait.
        max_waiting: requests that may wait; one more is told to come back.
        rest_s: longest time that the event loop stands still for a batch in flight.
        bulk_share: places in a batch that bulk requests keep while single ones wait.
        deadline_s: after it a single request is answered "too late".
        bulk_deadline_s: the same for a bulk request as a whole.
    """

    max_batch: int = 128
    max_bulk_batch: int = 512
    max_waiting: int = 2048
    rest_s: float = 0.010
    bulk_share: int = 32
    deadline_s: float = 2.0
    bulk_deadline_s: float = 20.0


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of a batch.

    Attributes:
        size: requests in it.
        waiting: requests left behind for the next one.
        queue_s: seconds that the one of them waited that waited longest.
        score_s: seconds from its beginning to its answers.
    """

    size: int
    waiting: int
    queue_s: float
    score_s: float


Settle = Callable[[Exception | None], None]
"""Called once in the event loop, when there is an answer, or none and why."""

_Settled = tuple[Sequence[Settle], Exception | None]
"""Whom to tell, and what went wrong, if anything did."""


class _Waiting(Generic[Request, Answer]):
    """Requests that came together; they are answered together.

    Parts of it may be scored in different batches. `answers` and `open_count` belong to the
    worker thread, the timer to the event loop; `is_abandoned` goes from the loop to the thread.
    """

    __slots__ = ("answers", "came_s", "is_abandoned", "open_count", "requests", "settle", "timer")

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests
        self.came_s = time.perf_counter()
        self.answers: list[Answer | FraudError | None] = [None] * len(requests)
        self.open_count = len(requests)
        self.is_abandoned = False
        self.settle: Settle = _nobody
        self.timer: asyncio.TimerHandle | None = None

    def end(self, failure: Exception | None) -> None:
        """Settle, unless that was done."""
        settle, self.settle = self.settle, _nobody
        self.is_abandoned = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None  # else it and we would wait for the garbage collector
        settle(failure)


def _nobody(failure: Exception | None) -> None:
    """Nobody waits any more."""


class Collector(Generic[Request, Answer, Record]):
    """Collects concurrent requests into batches for one worker thread.

    Args:
        score: answers a batch, in order; an error for one item stands in its place, an
            `UnavailableError` that is raised answers all of them.
        refuse: keeps the audit records of refusals.
        limits: how much may wait, and for how long.
        on_batch: told of every batch scored.
    """

    def __init__(
        self,
        score: Callable[[Sequence[Request]], list[Answer | FraudError]],
        refuse: Callable[[Sequence[Record]], None],
        limits: Limits | None = None,
        on_batch: Callable[[BatchReport], None] = lambda batch: None,
    ) -> None:
        self.limits = limits or Limits()
        self._score = score
        self._refuse = refuse
        self._on_batch = on_batch
        self._single: deque[tuple[_Waiting[Request, Answer], int]] = deque()
        self._bulk: deque[tuple[_Waiting[Request, Answer], int]] = deque()
        self._records: deque[tuple[Record, asyncio.Future[None]]] = deque()
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()  # False ends the thread
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_open = False
        self._batch_s = 0.0
        self._settled: queue.SimpleQueue[_Settled] = queue.SimpleQueue()
        self._is_resting = False
        self._will_hand_over = False

    def start(self) -> None:
        """Begin to take requests; call it from the event loop."""
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self._thread.start()

    async def close(self, timeout_s: float = 10.0) -> None:
        """Take no more, answer what waits, and end the thread."""
        if not self._is_open:
            return
        self._is_open = False
        self._wake.put(True)  # for what was read in this very round of the loop
        self._wake.put(False)
        await asyncio.to_thread(self._thread.join, timeout_s)

    @property
    def is_alive(self) -> bool:
        """Whether the worker thread runs."""
        return self._thread.is_alive()

    @property
    def waiting_count(self) -> int:
        """Requests that wait for a place in a batch."""
        return len(self._single) + len(self._bulk)

    async def submit(self, requests: Sequence[Request]) -> list[Answer | FraudError]:
        """Score requests that came together; their answers in order.

        Raises:
            Overloaded: too many wait already.
            UnavailableError: the service is closing, or the answers did not come in time.
        """
        loop = self._opened()
        if not requests:
            return []
        future: asyncio.Future[None] = loop.create_future()
        waiting = self._enqueue(loop, requests, partial(_resolve, future))
        try:
            await future
        finally:
            waiting.settle = _nobody
            waiting.end(None)
        return [answer for answer in waiting.answers if answer is not None]

    def begin(self, request: Request, done: Callable[[Answer | FraudError], None]) -> None:
        """`submit` of a single request, without a task that waits for it.

        Args:
            request: to be scored.
            done: called in the event loop with its answer.

        Raises:
            Overloaded: too many wait already.
            UnavailableError: the service is closing.
        """

        def settle(failure: Exception | None) -> None:
            [answer] = waiting.answers
            if failure is not None or answer is None:
                done(failure if isinstance(failure, FraudError) else FraudError(str(failure)))
            else:
                done(answer)

        waiting = self._enqueue(self._opened(), [request], settle)

    def _opened(self) -> asyncio.AbstractEventLoop:
        if not self._is_open or self._loop is None:
            raise UnavailableError("The service is closing.", remedy="Try again.")
        return self._loop

    def _enqueue(
        self, loop: asyncio.AbstractEventLoop, requests: Sequence[Request], settle: Settle
    ) -> _Waiting[Request, Answer]:
        if self.waiting_count + len(requests) > self.limits.max_waiting:
            raise Overloaded(
                f"{self.waiting_count} requests are waiting.", remedy="Try again, more slowly."
            )
        is_single = len(requests) == 1
        lane = self._single if is_single else self._bulk
        deadline_s = self.limits.deadline_s if is_single else self.limits.bulk_deadline_s
        if len(lane) // self.limits.max_batch * self._batch_s > deadline_s:
            raise Overloaded(
                f"{len(lane)} requests are waiting, for longer than {deadline_s:g} s.",
                remedy="Try again, more slowly.",
            )
        waiting: _Waiting[Request, Answer] = _Waiting(requests)
        waiting.settle = settle
        waiting.timer = loop.call_later(deadline_s, self._expire, waiting, deadline_s)
        lane.extend((waiting, place) for place in range(len(requests)))
        if not self._will_hand_over:
            self._will_hand_over = True
            loop.call_soon(self._hand_over, loop, ROUNDS)
        return waiting

    def _hand_over(self, loop: asyncio.AbstractEventLoop, rounds: int) -> None:
        """Let the thread have what was read, and rest until it has answers."""
        if rounds:
            loop.call_soon(self._hand_over, loop, rounds - 1)
            return
        self._will_hand_over = False
        if not self.waiting_count:  # the thread was quicker, and tells of its answers by itself
            return
        self._is_resting = True
        self._wake.put(True)
        with suppress(queue.Empty):
            self._settle(*self._settled.get(timeout=self.limits.rest_s))
        self._is_resting = False
        self._settle_all()

    def _settle_all(self) -> None:
        """Tell whoever waits for answers that are there."""
        with suppress(queue.Empty):
            while True:
                self._settle(*self._settled.get_nowait())

    def _settle(self, waiting: Sequence[Settle], failure: Exception | None) -> None:
        for each in waiting:
            try:
                each(failure)
            except Exception:  # it shall not keep the others from their answers
                log.exception("An answer could not be given")

    async def record(self, record: Record, wait_s: float = 1.0) -> bool:
        """Keep the audit record of a refusal; False where it was not kept in time.

        The refusal is answered either way, and the log line it leaves then is its trace.
        """
        if not self._is_open or self._loop is None:
            return False
        if len(self._records) >= self.limits.max_waiting:
            return False
        future = self._loop.create_future()
        self._records.append((record, future))
        self._wake.put(True)
        with suppress(TimeoutError, UnavailableError):
            await asyncio.wait_for(future, wait_s)
            return True
        return False

    def _expire(self, waiting: _Waiting[Request, Answer], deadline_s: float) -> None:
        late = UnavailableError(
            f"No answer within {deadline_s:g} s.",
            remedy="Send it again: a transaction that was scored meanwhile keeps its answer.",
        )
        waiting.end(late)

    # Everything below runs in the worker thread.

    def _work(self) -> None:
        while self._wake.get():
            while batch := self._take():
                self._answer(batch)
                self._keep_records()
            self._keep_records()

    def _take(self) -> list[tuple[_Waiting[Request, Answer], int]]:
        """The next batch: single requests first, while bulk ones keep a share of the places."""
        limits = self.limits
        kept = min(len(self._bulk), limits.bulk_share)
        batch = _drain(self._single, limits.max_batch - kept)
        if not batch:
            return _drain(self._bulk, limits.max_bulk_batch)
        return batch + _drain(self._bulk, limits.max_batch - len(batch))

    def _answer(self, batch: list[tuple[_Waiting[Request, Answer], int]]) -> None:
        began_s = time.perf_counter()
        answers = self._answers([waiting.requests[place] for waiting, place in batch])
        took_s = time.perf_counter() - began_s
        self._batch_s += (took_s - self._batch_s) * (PACE_WEIGHT if self._batch_s else 1.0)
        queue_s = began_s - min(waiting.came_s for waiting, _ in batch)
        self._on_batch(BatchReport(len(batch), self.waiting_count, queue_s, took_s))
        done = []
        for (waiting, place), answer in zip(batch, answers, strict=True):
            waiting.answers[place] = answer
            waiting.open_count -= 1
            if waiting.open_count == 0:
                done.append(waiting.end)
        self._tell(done, None)

    def _answers(self, requests: list[Request]) -> list[Answer | FraudError]:
        """The answers to a batch; one that breaks it is answered alone, not its neighbours."""
        try:
            answers = self._score(requests)
            if len(answers) == len(requests):
                return answers
            log.error("%d answers to %d requests", len(answers), len(requests))
        except UnavailableError as error:
            return [error] * len(requests)
        except Exception:
            log.exception("A batch of %d broke", len(requests))
        if len(requests) == 1:
            return [FraudError("The request broke the scoring of its batch.")]
        return [answer for request in requests for answer in self._answers([request])]

    def _keep_records(self) -> None:
        taken = [self._records.popleft() for _ in range(len(self._records))]
        if not taken:
            return
        failure: UnavailableError | None = None
        try:
            self._refuse([record for record, _ in taken])
        except UnavailableError as error:
            failure = error
        except Exception:
            log.exception("%d audit records of refusals were lost", len(taken))
            failure = UnavailableError("The refusal could not be recorded.")
        self._tell([partial(_resolve, future) for _, future in taken], failure)

    def _tell(self, waiting: Sequence[Settle], failure: Exception | None) -> None:
        """Have the event loop settle; a loop that rests looks for it, another one is woken."""
        if waiting and self._loop is not None:
            self._settled.put((waiting, failure))
            if not self._is_resting:
                with suppress(RuntimeError):  # the loop ended before its last answers
                    self._loop.call_soon_threadsafe(self._settle_all)


def _resolve(future: asyncio.Future[None], failure: Exception | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(None)
    else:
        future.set_exception(failure)


def _drain(
    lane: deque[tuple[_Waiting[Request, Answer], int]], count: int
) -> list[tuple[_Waiting[Request, Answer], int]]:
    """Up to `count` requests off the lane, past those nobody waits for any more."""
    taken: list[tuple[_Waiting[Request, Answer], int]] = []
    while lane and len(taken) < count:
        entry = lane.popleft()
        if not entry[0].is_abandoned:
            taken.append(entry)
    return taken
