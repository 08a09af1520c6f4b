"""Numbers of batches: none is given twice, within a process or among several."""

import threading
from collections.abc import Callable
from itertools import pairwise

from bentos.scoring.observation_clock import MOST_EVENTS, SLOT_US, SLOTS, ObservationClock

NOW = 1_796_000_000_123_457


def numbered(number: int) -> Callable[[], int]:
    return lambda: number


def test_batches_never_share_a_number_even_if_time_stands_still() -> None:
    clock = ObservationClock(lambda: NOW)
    told: list[int] = []
    threads = [
        threading.Thread(target=lambda: told.extend(clock() for _ in range(200))) for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    told.sort()
    assert len(told) == 800
    assert all(later - earlier >= MOST_EVENTS for earlier, later in pairwise(told))


def test_a_clock_that_steps_back_is_not_followed() -> None:
    times = iter([NOW, NOW - 10_000_000])
    clock = ObservationClock(lambda: next(times))
    assert clock() == NOW
    assert clock() == NOW + MOST_EVENTS


def test_processes_that_go_on_at_one_moment_take_other_numbers() -> None:
    # four lanes each: the processes' first audit chains are numbers 1, 5, 9, ...
    told = sorted(ObservationClock(lambda: NOW, numbered(1 + 4 * n))() for n in range(SLOTS))
    assert all(NOW <= each < NOW + SLOTS * SLOT_US for each in told)
    assert all(later - earlier >= SLOT_US for earlier, later in pairwise(told))


def test_a_process_keeps_its_slot_and_its_distance() -> None:
    clock = ObservationClock(lambda: NOW, lambda: 3)
    told = [clock() for _ in range(5)]
    assert len({each % (SLOTS * SLOT_US) for each in told}) == 1
    assert all(later - earlier >= MOST_EVENTS for earlier, later in pairwise(told))


def test_what_comes_after_a_number_lies_in_the_slot_of_the_process() -> None:
    clock = ObservationClock(lambda: NOW, lambda: 3)
    slot = clock() % (SLOTS * SLOT_US)
    for number in (NOW, NOW + 1, NOW + 3_600_000_000):
        assert number < clock.after(number) <= number + SLOTS * SLOT_US
        assert clock.after(number) % (SLOTS * SLOT_US) == slot
    assert ObservationClock(lambda: NOW).after(NOW) == NOW + 1
