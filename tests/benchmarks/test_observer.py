"""The observer of the public benchmark, on a small world made by the rules it knows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.handbook import History
from benchmarks.observer import Chains, Observer, so_far
from fraud.domain.windows import DAY_US

CUSTOMERS, TERMINALS, DAYS, WARM = 1_500, 3_000, 70, 25


def attacked(random: np.random.Generator, entities: int, lasts: int, begins: float) -> np.ndarray:
    """Whether an entity is compromised on a day, shape (entities, DAYS)."""
    began = np.cumsum(random.random((entities, DAYS)) < begins, axis=1)
    before = np.pad(began, ((0, 0), (lasts, 0)))[:, :DAYS]
    return began > before


@pytest.fixture(scope="module")
def world() -> History:
    random = np.random.default_rng(4)
    mean, often = random.uniform(5, 100, CUSTOMERS), random.uniform(0, 4, CUSTOMERS)
    count = random.poisson(np.repeat(often, DAYS))
    customer, day = (np.repeat(each, count) for each in np.divmod(np.arange(len(count)), DAYS))
    moment = (day + random.random(len(day))) * DAY_US
    order = np.argsort(moment)
    customer, day, moment = customer[order], day[order], moment[order].astype(np.int64)
    terminal = random.integers(0, TERMINALS, len(day))
    amount = random.normal(mean[customer], mean[customer] / 2)
    amount = np.where(amount < 0, random.uniform(0, 2 * mean[customer]), amount)
    cents = np.rint(100 * amount).astype(np.int64)
    is_raised = attacked(random, CUSTOMERS, 14, 3 / 4_990)[customer, day]
    is_raised &= random.random(len(day)) < 1 / 3
    is_fraud = (cents > 220_00) | is_raised
    is_fraud |= attacked(random, TERMINALS, 28, 2 / 10_000)[terminal, day]
    events = pd.DataFrame(
        {
            "merchant_id": terminal.astype(str),
            "event_time": pd.to_datetime(moment, unit="us", utc=True),
            "amount_minor": np.where(is_raised, 5 * cents, cents),
        }
    )
    return History(events, events.head(0), is_fraud, customer, day)


def test_the_observer_promises_as_much_fraud_as_there_is(world: History) -> None:
    usual, cents = (
        Observer(world, looks_at_cents=looks).probabilities() for looks in (False, True)
    )
    judged = world.day >= WARM
    frauds = world.is_fraud[judged]
    assert frauds.sum() > 400
    for score in (usual, cents):
        # Attacks come in clusters of about seven frauds, so the count moves by some 13 %.
        assert score[judged].sum() == pytest.approx(frauds.sum(), rel=0.25)
        assert 0 <= score[judged].min() <= score[judged].max() <= 1
    found = [float(roc_auc_score(frauds, score[judged])) for score in (usual, cents)]
    assert found[0] > 0.8, "half of a terminal's attack is known"
    assert found[1] > found[0], "cents tell who was not raised"


def test_labels_and_amounts_act_only_once_they_are_known(world: History) -> None:
    """Truth of the last week and amounts of the last hours change nothing before them."""
    late = world.day >= DAYS - 7
    events = world.events.assign(amount_minor=world.events["amount_minor"].where(~late, 1_00))
    other = History(events, world.labels, world.is_fraud ^ late, world.customer, world.day)
    first, second = (Observer(each, looks_at_cents=True).probabilities() for each in (world, other))
    np.testing.assert_array_equal(first[~late], second[~late])
    assert (first[late] != second[late]).any()


def test_a_compromise_ends_by_itself_and_may_begin_again() -> None:
    chains = Chains.of(1, 3, 0.1).told(np.array([0.0])).tomorrow().told(np.array([50.0]))
    assert chains.compromised()[0] == pytest.approx(1)
    for _ in range(3):
        assert chains.compromised()[0] > 0.9
        chains = chains.tomorrow()
    assert chains.compromised()[0] == pytest.approx(1 - 0.9**3)


def test_evidence_counts_up_to_the_moment_that_is_asked_for() -> None:
    evidence, entity, moment = (
        np.array([1.0, 2.0, 4.0]),
        np.array([5, 5, 8]),
        np.array([10, 20, 10]),
    )
    asked, at = np.array([5, 5, 5, 8, 9]), np.array([9, 10, 25, 30, 30])
    assert so_far(evidence, entity, moment, asked, at).tolist() == [0, 1, 3, 4, 0]
