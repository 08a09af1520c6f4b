"""Rate limits: the bucket against a naive one, its memory, and the service's answers."""

import random
import sys
from collections.abc import Callable

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.fraud_detector.rate import NOTED_EVERY_S, RateLimit, address_key
from fraud.domain.errors import RateLimited
from tests.bentos.fraud_detector.detector import a_transaction, running
from tests.servers import temporary_run_dir


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def is_let_in(limit: RateLimit, client: str = "till-7") -> bool:
    try:
        limit.take(client)
    except RateLimited:
        return False
    return True


class NaiveBucket:
    """Tokens that are counted, as the textbook has it."""

    def __init__(self, rate_hz: float, burst: int) -> None:
        self.rate_hz, self.burst, self.tokens = rate_hz, burst, float(burst)

    def take(self, elapsed_s: float) -> bool:
        self.tokens = min(self.burst, self.tokens + elapsed_s * self.rate_hz)
        if self.tokens < 1 - 1e-4:
            return False
        self.tokens -= 1
        return True


@settings(max_examples=200, deadline=None)
@given(
    rate_hz=st.sampled_from([0.5, 1, 4, 64]),
    burst=st.integers(1, 6),
    # binary fractions: both ways of counting are exact
    pauses_s=st.lists(st.sampled_from([0.0, 0.0, 1 / 64, 0.25, 1.0, 5.0]), max_size=60),
)
def test_it_counts_like_a_bucket_of_tokens(
    rate_hz: float, burst: int, pauses_s: list[float]
) -> None:
    clock = Clock()
    limit, naive = RateLimit(rate_hz, burst, clock=clock), NaiveBucket(rate_hz, burst)
    for pause_s in pauses_s:
        clock.now_s += pause_s
        assert is_let_in(limit) == naive.take(pause_s)


def test_the_wait_it_names_is_enough() -> None:
    clock = Clock()
    limit = RateLimit(0.25, 1, clock=clock)
    limit.take("till-7")
    with pytest.raises(RateLimited) as caught:
        limit.take("till-7")
    assert caught.value.retry_after_s == 4
    clock.now_s += caught.value.retry_after_s
    assert is_let_in(limit)


def test_clients_do_not_share_a_bucket() -> None:
    limit = RateLimit(1, 1, clock=Clock())
    assert is_let_in(limit, "one")
    assert is_let_in(limit, "other")
    assert not is_let_in(limit, "one")


def test_a_million_clients_take_little_memory() -> None:
    limit = RateLimit(1, 1, clock=Clock(), max_clients=100)
    for number in range(1_000_000):
        limit.take(str(number))
    assert len(limit._full_at_s) == 100
    assert sys.getsizeof(limit._full_at_s) < 50_000


def test_the_busy_are_remembered_before_the_idle() -> None:
    limit = RateLimit(0.001, 2, clock=Clock(), max_clients=2)
    limit.take("busy")
    limit.take("idle")
    limit.take("busy")
    limit.take("newcomer")
    assert not is_let_in(limit, "busy")


def test_one_refusal_a_minute_is_news() -> None:
    clock = Clock()
    limit = RateLimit(0.001, 1, clock=clock)
    limit.take("till-7")
    news = []
    for _ in range(4):
        with pytest.raises(RateLimited) as caught:
            limit.take("till-7")
        news.append(caught.value.is_news)
        clock.now_s += NOTED_EVERY_S / 2
    assert news == [True, False, True, False]


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:0:1234:5678:9abc:def0", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("not:an:address", "not:another", False),
    ],
)
def test_an_ipv6_network_is_one_address(one: str, other: str, are_one: bool) -> None:
    assert (address_key(one) == address_key(other)) == are_one


def test_clients_that_ask_too_often_are_told_when_to_come_back(
    new_ledger: Callable[[], str],
) -> None:
    limits = {"rate_per_client": 0.5, "burst_per_client": 3}
    with temporary_run_dir() as run_dir, running(run_dir, new_ledger(), "m-1", **limits) as service:
        answers = [service.predict() for _ in range(5)]
        assert [each.status_code for each in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
        assert answers[-1].json()["type"] == "urn:fraud-platform:problem:rate-limited"
        assert answers[-1].headers["x-content-type-options"] == "nosniff"
        other = httpx.post(
            f"{service.url}/predict", headers=service.headers(subject="b"), json=a_transaction()
        )
        assert other.status_code == 200
        assert httpx.get(f"{service.url}/livez").status_code == 200
        metrics = service.headers(["metrics"], subject="prometheus")
        text = httpx.get(f"{service.url}/metrics", headers=metrics).text
        assert 'fraud_refused_requests_total{problem="rate-limited"}' in text
        noted = service.rows(
            "SELECT actor, outcome, detail->>'problem' FROM audit_log WHERE action = 'refuse'"
        )
        assert noted == [("checkout", "failure", "rate-limited")]  # the first, not every one


def test_strangers_are_limited_by_their_address(new_ledger: Callable[[], str]) -> None:
    limits = {"rate_per_address": 0.5, "burst_per_address": 4}
    with temporary_run_dir() as run_dir, running(run_dir, new_ledger(), "m-1", **limits) as service:
        codes = [
            httpx.get(f"{service.url}{path}", headers={"authorization": token}).status_code
            for path, token in (
                ("/livez", ""),
                ("/predict", ""),
                ("/nothing", "Bearer x"),
                ("/metrics", "Bearer a.b.c"),
                ("/metrics", "Bearer a.b.c"),
                ("/livez", ""),
                ("/nothing", ""),
            )
        ]
        assert codes == [200, 401, 401, 401, 429, 429, 429]
        assert service.predict().status_code == 200  # a good token passes at any address


def test_its_price_is_a_few_microseconds() -> None:
    """A limit of 20 us: forty times less than a request costs, ten times what was measured."""
    import timeit

    limit = RateLimit(1e6, 1_000_000)
    clients = [f"client-{random.Random(7).randrange(1000)}-{n}" for n in range(1000)]
    took_s = min(timeit.repeat(lambda: [limit.take(each) for each in clients], number=1, repeat=5))
    assert took_s / len(clients) < 20e-6
