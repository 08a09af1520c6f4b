"""Encoded states: they say for which features they were written, and stay small."""

import dataclasses

import pytest

from feature_store.online import EntityState, Layout
from feature_store.plan import entity_plans
from fraud.domain.aggregates import NONE
from fraud.domain.errors import StateUnavailable
from fraud.domain.fraud_type import FraudType
from fraud.domain.history import Count
from fraud.domain.places import DistanceSinceLast, place_id
from fraud.domain.windows import Window
from fraud.types.credit_card import CREDIT_CARD


def a_layout(*features: object) -> Layout:
    kind: FraudType = dataclasses.replace(CREDIT_CARD, features=features, rules=())  # type: ignore
    (user,) = (plan for plan in entity_plans(kind) if plan.entity.name == "user")
    return Layout(user)


@pytest.mark.parametrize(
    "other",
    [
        a_layout(Count(entity="user", window=Window("1d"))),
        a_layout(Count(entity="user", window=Window("2h")), DistanceSinceLast(entity="user")),
        a_layout(),
    ],
)
def test_a_state_of_other_features_is_refused_not_misread(other: Layout) -> None:
    written = EntityState(a_layout(Count(entity="user", window=Window("2h")))).encode()
    with pytest.raises(StateUnavailable, match="other features"):
        EntityState(other, written)


def test_a_state_that_remembers_the_same_stays_readable() -> None:
    """A feature added over what is remembered anyway, such as a shorter window, costs nothing."""
    two, one = Count(entity="user", window=Window("2h")), Count(entity="user", window=Window("1h"))
    written = EntityState(a_layout(two))
    written.add_event(0, 1, {"count": 1}, {})
    assert EntityState(a_layout(one, two), written.encode()).count == 1


def test_a_position_costs_a_state_a_few_bytes() -> None:
    layout = a_layout(DistanceSinceLast(entity="user"))
    state = EntityState(layout)
    state.add_event(0, 1, {}, {"place": NONE})
    without = len(state.encode())
    state.add_event(0, 2, {}, {"place": place_id(48.85, 2.29)})
    assert len(state.encode()) - without == 16
    assert EntityState(layout, state.encode()).encode() == state.encode()
