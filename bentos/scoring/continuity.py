"""Answers while something is away: each fraud type's declared failure mode, kept in a journal.

What the scoring transaction cannot do, because the ledger does not answer or an entity's state
waits to be rebuilt, is answered by lists and rules alone and written to the journal, or
refused, as the fraud type declares. A missing model is the scorer's own business: the ledger
is there then, and takes the decision as it takes any other.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import psycopg2

from bentos.scoring.breaker import CircuitBreaker
from bentos.scoring.journal import Journal
from bentos.scoring.journal_entry import JournalEntry
from bentos.scoring.judge import Judge
from bentos.scoring.ruleset import Rulesets
from bentos.scoring.scorer import Scorer, ScoreRequest
from fraud.domain.decision import Decision
from fraud.domain.errors import (
    FraudError,
    JournalUnavailable,
    LedgerUnavailable,
    ModelUnavailable,
    StateUnavailable,
    UnavailableError,
)
from fraud.domain.fraud_type import FraudType
from fraud.domain.reasons import NO_HISTORY_REASON

LEDGER_FAILURES = (LedgerUnavailable, psycopg2.InternalError, psycopg2.ProgrammingError)
"""What a ledger raises that is away, read-only, damaged or without its tables."""

log = logging.getLogger("fraud.scoring")


class Answering(Protocol):
    """What answers where the scorer cannot."""

    def answer(
        self, requests: Sequence[ScoreRequest], error: UnavailableError
    ) -> list[Decision | FraudError]:
        """An answer to each request; `error` says why the scorer gave none."""


class Postponement:
    """Decides nothing: for callers that can wait until the scorer can, such as a stream."""

    def answer(
        self, requests: Sequence[ScoreRequest], error: UnavailableError
    ) -> list[Decision | FraudError]:
        return [error] * len(requests)


class Fallback:
    """Answers without ledger and features.

    Args:
        fraud_types: declared ones by name.
        rulesets: what decides.
        journal: what keeps the decisions.
        clock_us: the time now, microseconds UTC.
    """

    def __init__(
        self,
        fraud_types: Mapping[str, FraudType],
        rulesets: Rulesets,
        journal: Journal,
        clock_us: Callable[[], int],
    ) -> None:
        self._fraud_types = fraud_types
        self._rulesets = rulesets
        self._journal = journal
        self._clock_us = clock_us

    def answer(
        self, requests: Sequence[ScoreRequest], error: UnavailableError
    ) -> list[Decision | FraudError]:
        """A journalled decision for each request, or the error where its type refuses.

        Decisions are durable when this returns. A transaction that waits in the journal gets
        its first answer again, or a `DuplicateConflict`.
        """
        try:
            with self._journal.held():
                return self._answer(requests, error)
        except JournalUnavailable as unavailable:
            log.error("%s", unavailable)
            return [unavailable] * len(requests)

    def _answer(
        self, requests: Sequence[ScoreRequest], error: UnavailableError
    ) -> list[Decision | FraudError]:
        new: dict[str, JournalEntry] = {}
        answers: list[Decision | FraudError] = []
        for request in requests:
            name = request.event.transaction_id
            earlier = new.get(name) or self._journal.get(name)
            if earlier is not None:
                answers.append(earlier.again(request))
            elif self._fraud_types[request.event.fraud_type].on_failure == "refuse":
                answers.append(error)
            else:
                new[name] = JournalEntry(request, self._decide(request))
                answers.append(new[name].decision)
        try:
            self._journal.append(list(new.values()))
        except JournalUnavailable as unavailable:
            log.error("%s", unavailable)
            lost = {entry.decision.transaction_id for entry in new.values()}
            return [
                unavailable if request.event.transaction_id in lost else answer
                for request, answer in zip(requests, answers, strict=True)
            ]
        return answers

    def _decide(self, request: ScoreRequest) -> Decision:
        kind = self._fraud_types[request.event.fraud_type]
        judge = Judge(kind, None, self._rulesets.ruleset(kind.name), NO_HISTORY_REASON)
        unknown = np.full((1, len(kind.features)), math.nan)
        [decision] = judge.decide([request.event], unknown, self._clock_us())
        return decision


class ContinuousScorer:
    """The scorer where it can, the fallback where it cannot.

    Use one instance from one thread at a time.

    Args:
        own_scorer: gives the scorer, or raises LedgerUnavailable where there is none yet.
        fallback: answers where the scorer cannot.
        journal: where the fallback's decisions wait.
        breaker: around the ledger.
    """

    def __init__(
        self,
        own_scorer: Callable[[], Scorer],
        fallback: Answering,
        journal: Journal,
        breaker: CircuitBreaker,
    ) -> None:
        self._own_scorer = own_scorer
        self._fallback = fallback
        self._journal = journal
        self._breaker = breaker

    def score(self, requests: Sequence[ScoreRequest]) -> list[Decision | FraudError]:
        """Decide on every request; see `Scorer.score`. Each answer is durable."""
        waiting = self._journal.find(request.event.transaction_id for request in requests)
        if not waiting:
            return self._score(requests)
        others = [each for each in requests if each.event.transaction_id not in waiting]
        answers = iter(self._score(others))
        merged = []
        for request in requests:
            entry = waiting.get(request.event.transaction_id)
            if entry is None:
                merged.append(next(answers))
            else:
                merged.append(entry.again(request))
        return merged

    def _score(self, requests: Sequence[ScoreRequest]) -> list[Decision | FraudError]:
        if not requests:
            return []
        if not self._breaker.is_closed:
            return self._fallback.answer(requests, ledger_away())
        try:
            return self._own_scorer().score(requests)
        except LEDGER_FAILURES as error:
            log.error("A batch of %d goes without the ledger: %s", len(requests), error)
            self._breaker.failed()
            return self._fallback.answer(requests, ledger_away())
        except (StateUnavailable, ModelUnavailable) as error:
            if len(requests) == 1:
                return self._one(requests, error)
        half = len(requests) // 2  # one entity or type shall not take the others with it
        return self._score(requests[:half]) + self._score(requests[half:])

    def _one(
        self, requests: Sequence[ScoreRequest], error: UnavailableError
    ) -> list[Decision | FraudError]:
        if isinstance(error, ModelUnavailable):  # its type refuses to go without
            return [error]
        return self._fallback.answer(requests, error)


def ledger_away() -> LedgerUnavailable:
    """What a caller learns; the log knows which ledger, and why."""
    return LedgerUnavailable("The ledger does not answer.", remedy="Try again.", retry_after_s=2)
