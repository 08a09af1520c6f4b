"""What an observer who knows the Handbook's simulator could detect, by Bayes' rule.

    python -m benchmarks.observer handbook_transactions.parquet

The observer knows how transactions and frauds are made (Le Borgne et al. 2022, chapter 3), not
what was drawn. Each terminal and each customer is a Markov chain over the days that its
compromise has left; known frauds and all amounts filter the chains forward, labels seven days
late. No model that sees the same can expect to do better, but for chance. Nothing of this
is part of the platform.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.handbook import DELAY_DAYS, FOLDS, History, fold_rows, read_history
from benchmarks.quality import fold_metrics
from fraud.domain.windows import DAY_US
from fraud.types.credit_card import CREDIT_CARD

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WEEKS = tuple(dt.date(2018, 5, 23) + dt.timedelta(days=7 * week) for week in range(16))
"""First training days of all folds that have a history of seven weeks."""

CERTAIN = 220.0
"""Scenario 1: every larger amount is fraud."""

SHARE, FACTOR = 1 / 3, 5.0
"""Scenario 3: so many of a compromised customer's amounts are so many times as large."""

MEANS = np.geomspace(5.0, 100.0, 160)
"""Customers' mean amounts, uniform over this range; the standard deviation is half of it."""

LEAST = 1e-30


@dataclass
class Chains:
    """Entities as Markov chains over the days their compromise has left, 0 if there is none.

    Attributes:
        belief: probability of each state, shape (entities, days + 1).
        begins: probability that a compromise begins on a day.
    """

    belief: Floats
    begins: float

    @classmethod
    def of(cls, entities: int, days: int, begins: float) -> "Chains":
        """Chains of which none is compromised yet."""
        belief = np.zeros((entities, days + 1))
        belief[:, 0] = 1.0
        return cls(belief, begins)

    def tomorrow(self) -> "Chains":
        """The same a day later."""
        later = np.empty_like(self.belief)
        later[:, :-1] = self.belief[:, 1:] * (1.0 - self.begins)
        later[:, 0] += self.belief[:, 0] * (1.0 - self.begins)
        later[:, -1] = self.belief.sum(axis=1) * self.begins
        return Chains(later, self.begins)

    def told(self, log_odds: Floats) -> "Chains":
        """After evidence, given as log-likelihood of a compromise less that of none."""
        belief = self.belief.copy()
        belief[:, 1:] *= np.exp(np.clip(log_odds, -60.0, 60.0))[:, None]
        return Chains(belief / belief.sum(axis=1, keepdims=True), self.begins)

    def backward(self, future: Floats) -> Floats:
        """Likelihood of what follows by today's state, of that by tomorrow's; up to a factor."""
        renewed = future[:, -1:] * self.begins
        today = np.hstack((future[:, :1], future[:, :-1])) * (1.0 - self.begins) + renewed
        return np.asarray(today / today.max(axis=1, keepdims=True))

    def compromised(self) -> Floats:
        """Probability per entity."""
        return 1.0 - self.belief[:, 0]

    def taken(self, entity: Ints) -> "Chains":
        """A chain of its own for each event's entity."""
        return Chains(self.belief[entity], self.begins)


class Observer:
    """Probabilities of fraud, day by day.

    Args:
        history: the file.
        looks_at_cents: whether the observer uses that five-fold amounts are of five cents.
    """

    def __init__(self, history: History, *, looks_at_cents: bool) -> None:
        self._is_fraud, self._customer = history.is_fraud, history.customer
        self._terminal: Ints = np.asarray(history.events["merchant_id"].astype(int), np.int64)
        time_us = history.events["event_time"].to_numpy("datetime64[us]").astype(np.int64)
        self._moment = time_us % DAY_US
        cents = history.events["amount_minor"].to_numpy()
        self._usual, self._raised = amount_densities(cents, self._customer, looks_at_cents)
        self._is_large = cents > 100 * CERTAIN
        day = history.day - history.day.min()
        self._days = [np.flatnonzero(day == each) for each in range(day.max() + 1)]
        # What an amount alone says about its customer.
        self._heard = np.log(SHARE * self._raised / self._usual + 1.0 - SHARE)
        self._customers = Chains.of(int(self._customer.max()) + 1, 14, 3 / 4_990)
        self._terminals = Chains.of(int(self._terminal.max()) + 1, 28, 2 / 10_000)

    def probabilities(self) -> Floats:
        """One per event in its order; NaN in the first days, before any label came."""
        out = np.full(len(self._usual), np.nan)
        for today in range(DELAY_DAYS, len(self._days)):
            customers, terminals = self._customers.tomorrow(), self._terminals.tomorrow()
            known = self._days[today - DELAY_DAYS]
            of_terminals, of_customers = self._learnt(known, today, customers, terminals)
            terminal, customer = self._terminal[known], self._customer[known]
            out[self._days[today]] = self._foretold(
                today,
                terminals.taken(self._terminal[self._days[today]]),
                customers.taken(self._customer[self._days[today]]),
                of_terminals,
                of_customers,
            )
            self._terminals = terminals.told(summed(of_terminals, terminal, terminals))
            self._customers = customers.told(summed(of_customers, customer, customers))
        return out

    def _amounts_of(self, day: int) -> Floats:
        """What the amounts of a day say about each customer, log-odds."""
        rows = self._days[day]
        return summed(self._heard[rows], self._customer[rows], self._customers)

    def _learnt(
        self, known: Ints, today: int, customers: Chains, terminals: Chains
    ) -> tuple[Floats, Floats]:
        """What each label of a day says about its terminal and about its customer, log-odds."""
        future = np.ones_like(customers.belief)
        for day in range(today - 1, today - DELAY_DAYS, -1):
            future[:, 1:] *= np.exp(np.clip(self._amounts_of(day), -60.0, 60.0))[:, None]
            future = customers.backward(future)
        seen = customers.belief * future
        suspicion = SHARE * (1.0 - seen[:, 0] / seen.sum(axis=1))[self._customer[known]]
        usual, raised = self._usual[known], self._raised[known]
        is_fraud, is_large = self._is_fraud[known], self._is_large[known]
        anyway = suspicion * raised + (1.0 - suspicion) * usual
        stray = suspicion * raised + (1.0 - suspicion) * usual * is_large
        attacked = np.where(is_fraud, anyway / np.maximum(stray, LEAST), LEAST)
        other = np.where(is_large, 1.0, terminals.compromised()[self._terminal[known]])
        larger = SHARE * raised / (usual * other) * is_fraud + 1.0 - SHARE
        return np.log(np.minimum(attacked, 1.0 / LEAST)), np.log(larger)

    def _foretold(
        self,
        today: int,
        terminals: Chains,
        customers: Chains,
        of_terminals: Floats,
        of_customers: Floats,
    ) -> Floats:
        """Probabilities of a day's events, given the chains of a week ago, one per event."""
        rows, known = self._days[today], self._days[today - DELAY_DAYS]
        terminal, customer = self._terminal[rows], self._customer[rows]
        at, known_at = self._moment[rows], self._moment[known]
        # Of the day a week ago, only labels of an earlier hour have come by now.
        terminals = terminals.told(
            so_far(of_terminals, self._terminal[known], known_at, terminal, at)
        )
        more = of_customers - self._heard[known]
        customers = customers.told(
            self._amounts_of(today - DELAY_DAYS)[customer]
            + so_far(more, self._customer[known], known_at, customer, at)
        )
        for day in range(today - DELAY_DAYS + 1, today + 1):
            terminals, customers = terminals.tomorrow(), customers.tomorrow()
            if day < today:
                customers = customers.told(self._amounts_of(day)[customer])
        place = np.arange(len(rows))
        customers = customers.told(
            so_far(self._heard[rows], customer, 2 * place + 1, customer, 2 * place)
        )
        suspicion = SHARE * customers.compromised()
        raised, usual = suspicion * self._raised[rows], (1.0 - suspicion) * self._usual[rows]
        by_amount = np.where(self._is_large[rows], 1.0, raised / (raised + usual))
        return np.asarray(1.0 - (1.0 - terminals.compromised()) * (1.0 - by_amount))


def summed(evidence: Floats, entity: Ints, chains: Chains) -> Floats:
    """Evidence of events added up by entity."""
    return np.bincount(entity, evidence, minlength=len(chains.belief)).astype(np.float64)


def so_far(evidence: Floats, entity: Ints, moment: Ints, asked: Ints, asked_at: Ints) -> Floats:
    """For each entity and moment that is asked for, the entity's evidence up to then."""
    entities, moments = np.append(entity, asked), np.append(moment, asked_at)
    is_asked = np.arange(len(entities)) >= len(entity)
    order = np.lexsort((is_asked, moments, entities))
    total = np.cumsum(np.append(evidence, np.zeros(len(asked)))[order])
    begins = np.flatnonzero(np.diff(entities[order], prepend=-1))
    before = np.append(0.0, total)[begins]
    out = np.empty(len(entities))
    out[order] = total - np.repeat(before, np.diff(begins, append=len(order)))
    return out[len(entity) :]


def amount_densities(cents: Ints, customer: Ints, looks_at_cents: bool) -> tuple[Floats, Floats]:
    """Density of each amount, and of a five-fold one, given the customer's amounts before it."""
    usual, raised = np.empty(len(cents)), np.empty(len(cents))
    order = np.argsort(customer, kind="stable")
    prior = np.log(np.gradient(MEANS))
    for rows in np.split(order, np.flatnonzero(np.diff(customer[order])) + 1):
        amount = cents[rows, None] / 100.0
        once, times = density(amount), density(amount / FACTOR) / FACTOR
        if looks_at_cents:
            times *= FACTOR * (cents[rows, None] % FACTOR == 0)
        before = np.cumsum(np.log(0.997 * once + 0.003 * times + LEAST), axis=0)
        log_weight = prior + np.vstack((np.zeros(len(MEANS)), before[:-1]))
        weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        usual[rows], raised[rows] = (weight * once).sum(axis=1), (weight * times).sum(axis=1)
    return np.maximum(usual, 1e-12), raised


def density(amount: Floats) -> Floats:
    """Of amounts, shape (n, 1), under each of `MEANS`: normal, drawn evenly where negative."""
    spread = MEANS / 2.0
    normal = np.exp(-0.5 * ((amount - MEANS) / spread) ** 2) / (spread * np.sqrt(2.0 * np.pi))
    return np.asarray(normal + 0.02275 * (amount <= 2.0 * MEANS) / (2.0 * MEANS))


def main(data: Annotated[Path, typer.Argument(help="The joined transactions, Parquet.")]) -> None:
    """Show what the observer detects, fold by fold, with and without a look at the cents."""
    history = read_history(data, CREDIT_CARD)
    table = Table("fold", "AUC", "AP", "CP@100", "AUC with cents", "AP", "CP@100")
    tests = [fold_rows(history, start)[1] for start in WEEKS]
    figures = []
    for looks_at_cents in (False, True):
        score = Observer(history, looks_at_cents=looks_at_cents).probabilities()
        figures.append([fold_metrics(score[test], history, test) for test in tests])
        promised = sum(score[test].sum() for test in tests)
    both = np.hstack(figures)
    published = [start in FOLDS for start in WEEKS]
    for start, row in zip(WEEKS, both, strict=True):
        table.add_row(str(start), *(f"{value:.3f}" for value in row))
    table.add_section()
    for name, rows in (("mean of these", both), ("mean of the test folds", both[published])):
        table.add_row(name, *(f"{value:.3f}" for value in rows.mean(axis=0)))
    table.add_row("deviation of a fold", *(f"{value:.3f}" for value in both.std(axis=0, ddof=1)))
    frauds = sum(int(history.is_fraud[test].sum()) for test in tests)
    console = Console()
    console.print(table)
    console.print(f"It promises {promised:,.0f} frauds with cents; there were {frauds:,}.")


if __name__ == "__main__":
    typer.run(main)
