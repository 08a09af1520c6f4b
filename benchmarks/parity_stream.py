"""A stream as unkind as a real one: simulated card payments, late, twice, corrected, labelled."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from bentos.fraud_detector.intake import accept
from bentos.scoring.scorer import ScoreRequest
from feature_store.columns import as_us
from fraud.domain.label import Label
from fraud.domain.windows import HOUR_US
from orchestration.sources.simulator.credit_card import CreditCardSimulation, simulate_days

START = dt.date(2026, 3, 5)
"""The stream runs over the changes to summer time in America and in Europe."""

LATE, TWICE, CORRECTED = 0.05, 0.02, 0.01
SHORTEST_H, LONGEST_H = 1.0, 240.0
"""Bounds of a late event's lateness, in hours: its logarithm is uniform."""

PER_CUSTOMER = 50
"""Events a card holder has on average; about 26 days of them."""

MOST_IN_BATCH = 64
AHEAD = 8
"""Micro-batches that may be under way at once; a correction follows its event by more."""

FURTHEST = 200
"""Micro-batches by which a repetition or a correction follows its event, at most."""


@dataclass
class MicroBatch:
    """What arrived while the batch before it was in flight.

    Attributes:
        now_us: the time it is taken up, microseconds UTC.
        requests: events to decide on.
        labels: verdicts that were reported by then.
    """

    now_us: int
    requests: list[ScoreRequest] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)


@dataclass
class Stream:
    """Micro-batches in the order of their times, and what was planted in them."""

    batches: list[MicroBatch]
    events: int
    late: int
    duplicates: int
    corrections: int
    labels: int


def a_stream(events: int, seed: int) -> Stream:
    """A stream of so many different events.

    Args:
        events: how many, at least 100.
        seed: equal seeds give equal streams.
    """
    rng = np.random.default_rng(seed)
    transactions, labels = _simulated(events, seed)
    arrival_us = as_us(transactions["observed_at"]).copy()
    late = rng.permutation(events)[: round(events * LATE)]
    lateness_h = np.exp(rng.uniform(np.log(SHORTEST_H), np.log(LONGEST_H), len(late)))
    arrival_us[late] += (lateness_h * HOUR_US).astype(np.int64)
    order = np.argsort(arrival_us, kind="stable")
    contents = list(_contents(transactions))
    batches = _cut(
        [_request(contents[place], int(arrival_us[place])) for place in order.tolist()],
        np.sort(arrival_us).tolist(),
        rng,
    )
    duplicates, corrections = round(events * TWICE), round(events * CORRECTED)
    _repeat(batches, duplicates, rng)
    _correct(batches, {each["transaction_id"]: each for each in contents}, corrections, rng)
    told = _label(batches, labels)
    return Stream(batches, events, len(late), duplicates, corrections, told)


def _simulated(events: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first so many transactions of a world of fitting size, and the labels about them."""
    customers = max(10, events // PER_CUSTOMER)
    merchants = max(10, customers // 2)
    grid_km = 100.0 * (merchants / 10_000) ** 0.5  # as many merchants near home as published
    world = CreditCardSimulation(
        start=START,
        days=1,
        seed=seed,
        customers=customers,
        merchants=merchants,
        grid_km=grid_km,
        border_km=0.92 * grid_km,
        late_share=0.0,
        compromised_merchants_share=0.005,
        compromised_customers_share=0.005,
    )
    pieces, found, last = [], 0, START
    while found < events:
        pieces.append(simulate_days(world, last, last).transactions)
        found += len(pieces[-1])
        last += dt.timedelta(days=1)
    transactions = pd.concat(pieces, ignore_index=True).head(events)
    labels = simulate_days(world, START, last).labels
    about = labels["transaction_id"].isin(transactions["transaction_id"])
    return transactions, labels[about]


def _contents(transactions: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Transactions as `/predict` takes them, nulls left out."""
    rows = transactions.drop(columns="observed_at").rename(columns={"event_time": "timestamp"})
    rows["timestamp"] = rows["timestamp"].map(lambda moment: moment.isoformat())
    names = list(rows.columns)
    for values in rows.astype(object).itertuples(index=False, name=None):
        yield {n: v for n, v in zip(names, values, strict=True) if not pd.isna(v)}


def _request(content: dict[str, object], now_us: int) -> ScoreRequest:
    accepted = accept(content, now_us)
    return ScoreRequest(accepted.event, accepted.body_digest, "parity", "stream")


def _cut(
    requests: list[ScoreRequest], arrival_us: list[int], rng: np.random.Generator
) -> list[MicroBatch]:
    batches, begin = [], 0
    while begin < len(requests):
        part = slice(begin, begin + int(rng.integers(1, MOST_IN_BATCH)))
        batches.append(MicroBatch(arrival_us[part][-1], requests[part]))
        begin = part.stop
    return batches


def _repeat(batches: list[MicroBatch], count: int, rng: np.random.Generator) -> None:
    """Send some events again: in the same batch, or while the first is in flight, or later."""
    for first, request in _chosen(batches, count, rng):
        repeated = replace(request, event=replace(request.event))
        batches[_later(batches, first, rng)].requests.append(repeated)


def _correct(
    batches: list[MicroBatch],
    contents: dict[object, dict[str, object]],
    count: int,
    rng: np.random.Generator,
) -> None:
    """Send some events again with another amount, once the first is decided for certain."""
    last = batches[-1].now_us
    batches += [MicroBatch(last + 1 + n) for n in range(AHEAD + 1)]
    for first, request in _chosen(batches, count, rng):
        batch = batches[_later(batches, first + AHEAD + 1, rng)]
        content = contents[request.event.transaction_id]
        amount = {"amount": round(request.event.amount_minor / 100 + 1, 2)}
        batch.requests.append(_request(content | amount, batch.now_us))


def _chosen(
    batches: list[MicroBatch], count: int, rng: np.random.Generator
) -> Iterator[tuple[int, ScoreRequest]]:
    sent = {
        request.event.transaction_id: (place, request)
        for place, batch in reversed(list(enumerate(batches)))
        for request in batch.requests
    }
    everyone = list(sent.values())
    for place in rng.permutation(len(everyone))[:count].tolist():
        yield everyone[place]


def _later(batches: list[MicroBatch], first: int, rng: np.random.Generator) -> int:
    return min(first + int(rng.integers(0, FURTHEST)), len(batches) - 1)


def _label(batches: list[MicroBatch], labels: pd.DataFrame) -> int:
    """Tell each label when it was reported, even if its late transaction has not come yet."""
    times = [batch.now_us for batch in batches]
    reported_us = as_us(labels["reported_at"])
    labels = labels[reported_us <= times[-1]]
    reported_us = as_us(labels["reported_at"])
    places = np.searchsorted(times, reported_us)
    columns = (labels["transaction_id"], labels["is_fraud"], labels["source"])
    rows = zip(places.tolist(), reported_us.tolist(), *columns, strict=True)
    for place, told_us, name, is_fraud, source in rows:
        batches[place].labels.append(Label(name, bool(is_fraud), told_us, source))
    return len(labels)
