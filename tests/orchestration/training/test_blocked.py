"""A made-up world whose truth is known: weighted precision finds it, the naive one does not."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from fraud.domain.pass_through import Budget
from fraud.domain.policy import PassThrough
from orchestration.training.blocked import block_quality, row_weights

BLOCK = 0.5
RULE = PassThrough(share=0.1, daily_count=10**9, daily_minor=10**15, key="5e" * 16)
COUNT = 400_000


class World:
    """Events whose chance of fraud is lower than the score promises, the more so if high.

    So fraud among what is blocked cannot be guessed from what is approved.
    """

    def __init__(self, rule: PassThrough = RULE, seed: int = 11) -> None:
        random = np.random.default_rng(seed)
        self.score = random.beta(0.25, 2.0, COUNT)
        self.is_fraud = random.random(COUNT) < self.score * (1.0 - 0.4 * self.score)
        self.blocked = self.score >= BLOCK
        self.propensity = np.where(self.blocked, rule.share, np.nan)
        names = (f"tx-{number}" for number in range(COUNT))
        drawn = np.fromiter((rule.is_drawn(name, rule.share) for name in names), bool, COUNT)
        self.let_through = drawn & self.blocked
        # A chargeback needs a payment: what stays blocked is never reported, and matures.
        self.reported = self.is_fraud & (~self.blocked | self.let_through)

    @property
    def precision(self) -> float:
        """The truth, which no ledger holds."""
        return float(self.is_fraud[self.blocked].mean())


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_the_weighted_precision_is_the_true_one_and_the_naive_one_is_not(world: World) -> None:
    at = world.blocked
    found = block_quality(world.propensity[at], world.let_through[at], world.reported[at])
    naive = float(world.reported[at].mean())
    # Some 1,600 are let through: the standard error is about 1.2 points.
    assert found.precision == pytest.approx(world.precision, abs=0.02)
    assert found.low <= world.precision <= found.high
    assert found.covered == 1.0
    assert abs(naive - world.precision) > 0.3, "unreported is taken for genuine"


def test_what_one_learns_from_the_unblocked_alone_misses_as_well(world: World) -> None:
    """Blocked rows left out: the ranking looks far worse than it is; weighted, it is right."""
    true = average_precision_score(world.is_fraud, world.score)
    left = ~world.blocked
    naive = average_precision_score(world.is_fraud[left], world.score[left])
    weight = row_weights(world.propensity, world.let_through)
    weighted = average_precision_score(world.reported, world.score, sample_weight=weight)
    assert weighted == pytest.approx(true, abs=0.02)
    assert abs(naive - true) > 0.1


def test_weights_add_up_to_the_events_they_stand_for(world: World) -> None:
    weight = row_weights(world.propensity, world.let_through)
    # Three standard errors of 1 / 0.1 per event let through.
    slack = 3 * np.sqrt(world.blocked.sum() * (1 - RULE.share) / RULE.share)
    assert weight.sum() == pytest.approx(COUNT, abs=slack)
    assert weight[world.blocked & ~world.let_through].sum() == 0


def test_where_the_budget_was_spent_nothing_is_claimed() -> None:
    propensity = np.array([0.1, 0.1, 0.0, 0.0])
    found = block_quality(propensity, np.array([True, False, False, False]), np.ones(4, bool))
    assert (found.precision, found.let_through, found.covered) == (1.0, 1, 0.5)
    nothing = block_quality(np.zeros(2), np.zeros(2, bool), np.zeros(2, bool))
    assert np.isnan(nothing.precision)


def test_a_budget_covers_what_is_left_of_it() -> None:
    left = Budget(2, 100)
    assert left.covers(100)
    left.spend(60)
    assert not left.covers(41)
    assert left.covers(40)
    left.spend(40)
    assert not left.covers(0), "the count is spent as well"
