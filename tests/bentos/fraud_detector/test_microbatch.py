"""The collector: batches form while one is in flight, and nobody waits in vain."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from bentos.fraud_detector.microbatch import ROUNDS, Collector, Limits
from fraud.domain.errors import FraudError, InvalidField, Overloaded, UnavailableError

POISON = -1


class Squares:
    """A scorer that squares numbers, one batch at a time, as fast as its gate opens."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.records: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def score(self, requests: Sequence[int]) -> list[int | FraudError]:
        self.batches.append(list(requests))
        self.gate.wait()
        if POISON in requests:
            raise ZeroDivisionError
        return [number * number for number in requests]

    def record(self, records: Sequence[str]) -> None:
        self.records += records


def run(
    work: Callable[[Collector[int, int, str], Squares], object], limits: Limits | None = None
) -> Squares:
    """Run a coroutine function with a collector over `Squares`."""
    squares = Squares()

    async def main() -> None:
        collector = Collector(squares.score, squares.record, limits)
        collector.start()
        try:
            await work(collector, squares)  # type: ignore[misc]
        finally:
            squares.gate.set()
            await collector.close()

    asyncio.run(main())
    return squares


async def in_flight(squares: Squares, batches: int) -> None:
    while len(squares.batches) < batches:
        await asyncio.sleep(0.001)


async def one_in_flight(
    collector: Collector[int, int, str], squares: Squares
) -> asyncio.Task[list[int | FraudError]]:
    """A request whose batch ends when the gate opens."""
    squares.gate.clear()
    first = asyncio.create_task(collector.submit([0]))
    await in_flight(squares, 1)
    return first


async def longest_round() -> float:
    """Seconds that the event loop took for the slowest of its next rounds."""
    rounds = []
    for _ in range(10 * ROUNDS):
        started = time.perf_counter()
        await asyncio.sleep(0)
        rounds.append(time.perf_counter() - started)
    return max(rounds)


def test_a_lone_request_starts_at_once() -> None:
    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        started = time.perf_counter()
        assert await collector.submit([3]) == [9]
        assert time.perf_counter() - started < 0.1  # no window in which it waits for company

    assert run(work).batches == [[3]]


def test_what_arrives_during_a_batch_forms_the_next() -> None:
    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        first = await one_in_flight(collector, squares)
        others = [asyncio.create_task(collector.submit([number])) for number in range(1, 9)]
        await asyncio.sleep(0)
        squares.gate.set()
        answers = await asyncio.gather(first, *others)
        assert answers == [[number * number] for number in range(9)]

    assert run(work).batches == [[0], [1, 2, 3, 4, 5, 6, 7, 8]]


def test_what_was_read_in_one_go_is_one_batch() -> None:
    answers: list[int | FraudError] = []

    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        for number in range(3):
            collector.begin(number, answers.append)
        while len(answers) < 3:
            await asyncio.sleep(0.001)

    assert run(work).batches == [[0, 1, 2]]
    assert answers == [0, 1, 4]


def test_what_was_read_just_before_the_end_is_answered() -> None:
    answers: list[int | FraudError] = []

    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        collector.begin(5, answers.append)
        await collector.close()

    run(work)
    assert answers == [25]


def test_the_event_loop_rests_while_a_batch_is_in_flight() -> None:
    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        squares.gate.clear()
        only = asyncio.create_task(collector.submit([1]))
        assert await longest_round() >= 0.2
        squares.gate.set()
        assert await only == [1]

    run(work, Limits(rest_s=0.2))


def test_an_answer_ends_the_rest() -> None:
    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        squares.gate.clear()
        opener = threading.Timer(0.1, squares.gate.set)
        opener.start()
        started = time.perf_counter()
        assert await collector.submit([3]) == [9]
        assert 0.05 < time.perf_counter() - started < 30.0
        opener.join()

    run(work, Limits(rest_s=60.0))


def test_a_task_that_has_begun_gets_on_before_the_rest() -> None:
    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        async def slower() -> list[int | FraudError]:
            for _ in range(ROUNDS - 1):
                await asyncio.sleep(0)
            return await collector.submit([2])

        one, two = asyncio.create_task(collector.submit([1])), asyncio.create_task(slower())
        assert list(await asyncio.gather(one, two)) == [[1], [4]]

    assert run(work).batches == [[1, 2]]


def test_a_large_request_is_cut_and_put_together_again() -> None:
    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        assert await collector.submit(list(range(10))) == [n * n for n in range(10)]

    assert [len(batch) for batch in run(work, Limits(max_bulk_batch=4)).batches] == [4, 4, 2]


def test_single_requests_overtake_bulk_which_keeps_its_share() -> None:
    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        first = await one_in_flight(collector, squares)
        bulk = asyncio.create_task(collector.submit([100] * 6))
        singles = [asyncio.create_task(collector.submit([n])) for n in range(1, 6)]
        await asyncio.sleep(0)
        squares.gate.set()
        await asyncio.gather(first, bulk, *singles)

    batches = run(work, Limits(max_batch=4, max_bulk_batch=5, bulk_share=1)).batches
    assert batches == [[0], [1, 2, 3, 100], [4, 5, 100, 100], [100, 100, 100]]


def test_a_full_queue_refuses_at_once() -> None:
    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        squares.gate.clear()
        tasks = [asyncio.create_task(collector.submit([0]))]
        await in_flight(squares, 1)
        tasks += [asyncio.create_task(collector.submit([n])) for n in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await collector.submit([3])
        squares.gate.set()
        assert await asyncio.gather(*tasks) == [[0], [1], [4]]

    run(work, Limits(max_waiting=2))


def test_who_could_not_be_answered_in_time_is_refused_at_once() -> None:
    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        squares.gate.clear()
        first = asyncio.create_task(collector.submit([0]))
        await asyncio.sleep(0.4)  # so long takes a batch
        squares.gate.set()
        await first
        squares.gate.clear()
        tasks = [asyncio.create_task(collector.submit([1]))]
        await in_flight(squares, 2)
        tasks += [asyncio.create_task(collector.submit([n])) for n in (2, 3, 4)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="longer than 1 s"):
            await collector.submit([5])  # after three others: 1.2 s
        squares.gate.set()
        assert await asyncio.gather(*tasks) == [[1], [4], [9], [16]]
        assert await collector.submit([6]) == [36]

    run(work, Limits(max_batch=1, deadline_s=1.0))


def test_who_waits_too_long_is_told_and_no_work_is_spent_on_them() -> None:
    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        first = await one_in_flight(collector, squares)
        with pytest.raises(UnavailableError, match="No answer within"):
            await collector.submit([1])
        with pytest.raises(UnavailableError):
            await first  # it was in flight, and took too long as well
        squares.gate.set()
        assert await collector.submit([2]) == [4]

    assert run(work, Limits(deadline_s=0.05)).batches == [[0], [2]]


def test_what_breaks_a_batch_is_answered_alone() -> None:
    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        one, broken, two = await collector.submit([1, POISON, 2])
        assert (one, two) == (1, 4)
        assert isinstance(broken, FraudError)

    run(work)


def test_unavailability_is_everybodys_answer() -> None:
    away = UnavailableError("away", retry_after_s=7)

    def score(requests: Sequence[int]) -> list[int | FraudError]:
        raise away

    async def main() -> None:
        collector: Collector[int, int, str] = Collector(score, lambda records: None)
        collector.start()
        assert await collector.submit([1, 2]) == [away, away]
        await collector.close()

    asyncio.run(main())


def test_an_item_may_have_its_own_error() -> None:
    wrong = InvalidField([("amount", "is odd", "Send an even one.")])

    async def main() -> None:
        collector: Collector[int, int, str] = Collector(
            lambda requests: [wrong if n % 2 else n for n in requests], lambda records: None
        )
        collector.start()
        assert await collector.submit([2, 3]) == [2, wrong]
        await collector.close()

    asyncio.run(main())


def test_refusals_are_recorded_by_the_same_thread() -> None:
    async def work(collector: Collector[int, int, str], squares: Squares) -> None:
        assert await collector.record("a")
        assert await collector.record("b")

    squares = run(work)
    assert squares.records == ["a", "b"]
    assert squares.batches == []


def test_a_refusal_that_cannot_be_recorded_is_answered_nevertheless() -> None:
    def fail(records: Sequence[str]) -> None:
        raise UnavailableError("away")

    async def main() -> None:
        collector: Collector[int, int, str] = Collector(lambda requests: [], fail)
        collector.start()
        assert not await collector.record("a")
        await collector.close()

    asyncio.run(main())


def test_closing_answers_what_waits_and_takes_no_more() -> None:
    async def main() -> None:
        squares = Squares()
        collector: Collector[int, int, str] = Collector(squares.score, squares.record)
        collector.start()
        squares.gate.clear()
        tasks = [asyncio.create_task(collector.submit([n])) for n in range(5)]
        await in_flight(squares, 1)
        closing = asyncio.create_task(collector.close())
        await asyncio.sleep(0.01)
        with pytest.raises(UnavailableError, match="closing"):
            await collector.submit([9])
        squares.gate.set()
        assert await asyncio.gather(*tasks) == [[n * n] for n in range(5)]
        await closing
        assert not collector.is_alive

    asyncio.run(main())
