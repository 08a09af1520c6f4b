"""Two scorers in processes of their own, working off one stream on the same entities."""

import multiprocessing
import queue
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.parity_stream import AHEAD, MicroBatch
from bentos.scoring.labeller import Labeller, LabelReceipt
from bentos.scoring.model import ScoringModel
from bentos.scoring.observation_clock import ObservationClock
from bentos.scoring.scorer import Scorer
from fraud.domain.decision import Decision
from fraud.domain.errors import DuplicateConflict, FraudError, ModelUnavailable
from fraud.domain.event import sensitive_fields
from fraud.ledger.audit import claim_chain
from fraud.ledger.engine import connect
from fraud.ledger.pool import ConnectionPool
from fraud.security.data_keys import DataKeys
from fraud.security.encryption import FieldProtection
from fraud.types.credit_card import CREDIT_CARD

SCORERS = 2

SKEW_US = 2_000_000
"""How far the clock of each scorer is ahead of the one before it."""

_PAUSE_S = 0.0005
_IDLE = 2**62


@dataclass
class Answers:
    """What a scorer answered.

    Attributes:
        decided: (transaction_id, digest of the body, decision_id, whether it was replayed).
        refused: (transaction_id, digest of the body).
        labels_acted: labels that changed states.
        labels_refused: labels that were refused.
    """

    decided: list[tuple[str, bytes, str, bool]] = field(default_factory=list)
    refused: list[tuple[str, bytes]] = field(default_factory=list)
    labels_acted: int = 0
    labels_refused: int = 0

    def extend(self, other: "Answers") -> None:
        """Add those of another scorer."""
        self.decided += other.decided
        self.refused += other.refused
        self.labels_acted += other.labels_acted
        self.labels_refused += other.labels_refused


def score_stream(
    url: str, batches: Sequence[MicroBatch], progress: Callable[[int], None]
) -> Answers:
    """Work off the micro-batches; returns what was answered.

    Batches are taken up in order, by whichever scorer is free, and only so many at a time.

    Args:
        url: the ledger.
        batches: of the stream.
        progress: called now and then with the number of batches that were taken up.

    Raises:
        FraudError: a scorer ended early.
    """
    spawn = multiprocessing.get_context("spawn")  # a fork would share connections and threads
    taken = spawn.Value("q", 0)
    in_flight = spawn.Array("q", [_IDLE] * SCORERS)
    results = spawn.Queue()
    scorers = [
        spawn.Process(
            target=_score, args=(number, url, batches, taken, in_flight, results), daemon=True
        )
        for number in range(SCORERS)
    ]
    answers = Answers()
    for scorer in scorers:
        scorer.start()
    waiting = SCORERS
    while waiting:
        progress(min(taken.value, len(batches)))
        try:
            found = results.get(timeout=0.2)
        except queue.Empty:
            if all(scorer.is_alive() or scorer.exitcode == 0 for scorer in scorers):
                continue
            raise FraudError("A scorer died; see its traceback above.") from None
        answers.extend(found)
        waiting -= 1
    for scorer in scorers:
        scorer.join()
    return answers


def _score(
    number: int,
    url: str,
    batches: Sequence[MicroBatch],
    taken: Any,
    in_flight: Any,
    results: Any,
) -> None:
    """A scorer's process."""
    holder, pool = connect(url), ConnectionPool(url, size=1)
    folder = tempfile.TemporaryDirectory(prefix="fraud-parity-")
    try:
        chain = claim_chain(holder, "parity")
        clock = _Clock(number * SKEW_US)
        scorer = Scorer(pool, _RulesOnly(), ObservationClock(clock), chain, _protection(folder))
        labeller = Labeller(pool, clock, chain)
        answers = Answers()
        for place in _turns(number, len(batches), taken, in_flight):
            clock.batch_us = batches[place].now_us
            _answer(batches[place], scorer, labeller, answers)
        results.put(answers)
    finally:
        pool.close()
        holder.close()
        folder.cleanup()


def _turns(number: int, count: int, taken: Any, in_flight: Any) -> Iterator[int]:
    """Places of the batches this scorer takes up."""
    while True:
        with taken.get_lock():
            place = taken.value
            taken.value += 1
            in_flight[number] = place if place < count else _IDLE
        if place >= count:
            return
        while min(in_flight) <= place - AHEAD:
            time.sleep(_PAUSE_S)
        yield place


def _answer(batch: MicroBatch, scorer: Scorer, labeller: Labeller, answers: Answers) -> None:
    found = scorer.score(batch.requests) if batch.requests else []
    for request, answer in zip(batch.requests, found, strict=True):
        sent = request.event.transaction_id, request.body_digest
        if isinstance(answer, Decision):
            answers.decided.append((*sent, answer.decision_id, answer.is_replayed))
        elif isinstance(answer, DuplicateConflict):
            answers.refused.append(sent)
        else:
            raise answer
    if batch.labels:
        for receipt in labeller.observe(CREDIT_CARD.name, batch.labels, "parity", "stream"):
            if isinstance(receipt, LabelReceipt):
                answers.labels_acted += receipt.has_acted
            else:
                answers.labels_refused += 1


def _protection(folder: tempfile.TemporaryDirectory[str]) -> FieldProtection:
    """One look-up key for all scorers, as they share their entities."""
    keys = DataKeys(Path(folder.name), makes_first=True)
    sensitive = {CREDIT_CARD.name: sensitive_fields(CREDIT_CARD.transaction)}
    return FieldProtection(keys, b"the key of the parity benchmark!", sensitive)


class _Clock:
    """The time of the stream, give or take what the clocks of machines differ by."""

    def __init__(self, skew_us: int) -> None:
        self.batch_us = 0
        self._skew_us = skew_us

    def __call__(self) -> int:
        return self.batch_us + self._skew_us


class _RulesOnly:
    """No champion: what is proved here comes before any model."""

    def model(self, fraud_type: str) -> ScoringModel:
        raise ModelUnavailable(f"No champion for {fraud_type}.")

    def challenger(self, fraud_type: str) -> None:
        return None
