"""Packed states: they say for which features they were written, and stay small."""

import dataclasses

import numpy as np
import pytest

from feature_store.online import NO_LABELS, Layout
from feature_store.plan import EntityPlan, entity_plans
from feature_store.state_bytes import get, get_hash, put, put_hash
from feature_store.state_machine import EventColumns, LabelColumns, Shown
from fraud.domain.aggregates import NONE, DistinctSum, LastValue, MaturedSum
from fraud.domain.errors import StateUnavailable
from fraud.domain.fraud_type import FraudType
from fraud.domain.history import (
    AmountSum,
    Changed,
    Count,
    DistinctCount,
    FraudLabels,
    MaturedFraudShare,
)
from fraud.domain.places import DistanceSinceLast, place_id
from fraud.domain.windows import Window
from fraud.types.credit_card import CREDIT_CARD

HOUR = 3_600_000_000


class UserLayout(Layout):
    """The layout of a user's states, and the plan they follow."""

    def __init__(self, plan: EntityPlan) -> None:
        super().__init__([plan], {each: row for row, each in enumerate(plan.aggregates)})
        self.plan = plan


def a_layout(*features: object) -> UserLayout:
    kind: FraudType = dataclasses.replace(CREDIT_CARD, features=features, rules=())  # type: ignore
    (user,) = (plan for plan in entity_plans(kind) if plan.entity.name == "user")
    return UserLayout(user)


def events(times: list[int], *, amount: int = 1, values: tuple[int, ...] = ()) -> EventColumns:
    count = len(times)
    return EventColumns(
        np.arange(count),
        np.array(times, np.int64),
        np.arange(count),
        np.full(count, amount, np.int64),
        np.full(count, 7, np.int64),
        np.tile(np.array(values, np.int64)[:, np.newaxis], count),
    )


def all_of(columns: EventColumns | LabelColumns) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are all of one entity's, in order, and where they begin and end."""
    return np.arange(len(columns.seq)), np.array([0, len(columns.seq)])


def shown(
    layout: UserLayout, state: bytes | None, observed: EventColumns
) -> tuple[bytes, np.ndarray]:
    """The state after some events of one entity, and what each of them saw."""
    seen = np.full((len(layout.plan.aggregates), len(observed.seq)), NONE, np.int64)
    about = Shown(observed, *all_of(observed), NO_LABELS, *all_of(NO_LABELS))
    (after,) = layout.advance([0], [state], about, seen)
    return after, seen.T


@pytest.mark.parametrize(
    "other",
    [
        a_layout(Count(entity="user", window=Window("1d"))),
        a_layout(Count(entity="user", window=Window("2h")), DistanceSinceLast(entity="user")),
        a_layout(),
    ],
)
def test_a_state_of_other_features_is_refused_not_misread(other: UserLayout) -> None:
    written, _ = shown(a_layout(Count(entity="user", window=Window("2h"))), None, events([0]))
    with pytest.raises(StateUnavailable, match="other features"):
        shown(other, written, events([1]))


def test_a_state_that_remembers_the_same_stays_readable() -> None:
    """A feature added over what is remembered anyway, such as a shorter window, costs nothing."""
    two, one = Count(entity="user", window=Window("2h")), Count(entity="user", window=Window("1h"))
    written, _ = shown(a_layout(two), None, events([0]))
    layout = a_layout(one, two)
    _, seen = shown(layout, written, events([HOUR // 2]))
    assert seen.tolist() == [[1] * len(layout.plan.aggregates)]


def test_a_position_costs_a_state_a_few_bytes() -> None:
    layout = a_layout(DistanceSinceLast(entity="user"))
    without, _ = shown(layout, None, events([0], values=(NONE,)))
    state, _ = shown(layout, without, events([0], values=(place_id(48.85, 2.29),)))
    assert len(state) - len(without) <= 12  # the packed place and a time at no distance


@pytest.mark.parametrize("number", [0, 1, -1, 63, -64, 64, 2**31, -(2**62), 2**63 - 1, -(2**63)])
def test_every_integer_survives_its_bytes(number: int) -> None:
    data = np.zeros(32, np.uint8)
    assert get(data, 3) == (0, 4)
    assert get(data, put(data, 3, number) * 0 + 3)[0] == number
    assert get_hash(data, put_hash(data, 3, number) - 8) == (number, 11)


def test_small_integers_take_one_byte_and_the_largest_ten() -> None:
    data = np.zeros(32, np.uint8)
    assert [put(data, 0, number) for number in (0, 63, -64, 64, 2**63 - 1)] == [1, 1, 1, 2, 10]


def test_a_batch_leaves_the_state_that_single_events_leave() -> None:
    """Also where tiles pile up and are dropped: ten years of events every few hours."""
    layout = a_layout(
        Count(entity="user", window=Window("1h")),
        AmountSum(entity="user", window=Window("7d")),
        AmountSum(entity="user", window=Window("60d", delay="14d")),
        DistinctCount(entity="user", of="merchant_id", window=Window("1d")),
        Changed(entity="user", of="country"),
        MaturedFraudShare(entity="user", k=5),
    )
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.integers(0, 30 * HOUR, 3_000)) - rng.integers(0, 3, 3_000) * 40 * HOUR
    log = events(times.tolist(), amount=10**9, values=(0, 0))
    log = log._replace(values=rng.integers(0, 90, (2, 3_000)))
    whole, seen = shown(layout, None, log)
    state, rows = None, []
    for begin in range(0, 3_000, 7):
        part = EventColumns(*(column[..., begin : begin + 7].copy() for column in log))
        state, found = shown(layout, state, part)
        rows.append(found)
    assert state == whole
    assert (np.concatenate(rows) == seen).all()
    assert len(whole) < 3_000
    kinds = {type(aggregate) for aggregate in layout.plan.aggregates}
    assert {DistinctSum, LastValue, MaturedSum} < kinds


def test_labels_reported_long_after_the_last_event_outgrow_no_room() -> None:
    layout = a_layout(FraudLabels(entity="user", window=Window("1h")))
    state, _ = shown(layout, None, events([0]))
    days = np.arange(1, 500) * 24 * HOUR
    for part in (days[:300], days[300:]):
        labels = LabelColumns(part, part, np.zeros_like(part), np.zeros_like(part))
        nothing = events([])
        about = Shown(nothing, *all_of(nothing), labels, *all_of(labels))
        (state,) = layout.advance([0], [state], about)
    _, seen = shown(layout, state, events([int(days[-1])]))
    assert seen[0, layout.plan.aggregates.index(layout.plan.aggregates[0])] == 1
