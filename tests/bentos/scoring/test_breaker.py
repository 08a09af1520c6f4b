"""The circuit breaker, on a clock that a test moves."""

from bentos.scoring.breaker import BreakerState, CircuitBreaker


class Hands:
    """A clock that stands still until it is moved."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_it_opens_at_a_failure_and_closes_after_a_probe() -> None:
    hands, seen = Hands(), []
    breaker = CircuitBreaker(1.0, 8.0, seen.append, hands)
    assert breaker.is_closed
    assert not breaker.may_probe()
    breaker.failed()
    assert not breaker.is_closed
    assert not breaker.may_probe()  # too early
    hands.now_s += 1.0
    assert breaker.may_probe()
    assert not breaker.may_probe()  # one probe at a time
    assert not breaker.is_closed
    breaker.answered()
    assert breaker.is_closed
    assert seen == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


def test_waits_double_up_to_the_longest_and_begin_anew() -> None:
    hands = Hands()
    breaker = CircuitBreaker(1.0, 4.0, clock_s=hands)
    breaker.failed()
    for wait_s in (1.0, 2.0, 4.0, 4.0):
        hands.now_s += wait_s - 0.01
        assert not breaker.may_probe()
        hands.now_s += 0.01
        assert breaker.may_probe()
        breaker.failed()
    hands.now_s += 4.0
    assert breaker.may_probe()
    assert breaker.open_for_s == 15.0  # 1 + 2 + 4 + 4 + 4
    breaker.answered()
    breaker.failed()
    hands.now_s += 1.0
    assert breaker.may_probe()


def test_a_failure_that_comes_late_does_not_put_the_probe_off() -> None:
    hands = Hands()
    breaker = CircuitBreaker(1.0, clock_s=hands)
    breaker.failed()
    hands.now_s += 0.9
    breaker.failed()
    hands.now_s += 0.1
    assert breaker.may_probe()
