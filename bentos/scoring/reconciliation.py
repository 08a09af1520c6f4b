"""Journalled decisions on their way into the ledger: in order, once, as they were answered."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from bentos.scoring.breaker import CircuitBreaker
from bentos.scoring.continuity import LEDGER_FAILURES
from bentos.scoring.journal import Journal
from bentos.scoring.journal_entry import JournalEntry
from bentos.scoring.scorer import Scorer, ScoreRequest
from fraud.domain.decision import Decision
from fraud.domain.errors import FraudError, StateUnavailable, UnavailableError
from fraud.domain.event import Event
from fraud.domain.features import Floats
from fraud.domain.policy import PassThrough
from fraud.ledger.audit import AuditEntry

INTERVAL_S = 0.1
PATIENCE_S = 5.0
"""Seconds until what failed by itself is tried again: a decision, or the journal's disk."""

CHUNK = 128

log = logging.getLogger("fraud.scoring")


class _Answered:
    """A judge that repeats what was answered."""

    pass_through: PassThrough | None = None

    def __init__(self, decisions: Mapping[str, Decision]) -> None:
        self._decisions = decisions

    def decide(self, events: Sequence[Event], matrix: Floats, now_us: int) -> list[Decision]:
        return [self._decisions[event.transaction_id] for event in events]


def reconcile(scorer: Scorer, entries: Sequence[JournalEntry]) -> Counter[str]:
    """Write decisions with everything the scoring transaction writes, in one transaction.

    Entity states take the events in, so that later features count them. What the ledger has
    already stays as it is: where it is another decision, an audit record tells of both.

    Returns:
        How many were `written`, were `known` already, or are in `conflict`.

    Raises:
        LedgerUnavailable: nothing was written.
        StateUnavailable: likewise; a state among them waits to be rebuilt.
    """
    decisions = {entry.transaction_id: entry.decision for entry in entries}
    judge = _Answered(decisions)
    kinds = {entry.request.event.fraud_type for entry in entries}
    outcomes: Counter[str] = Counter()

    def note(request: ScoreRequest, answer: Decision | FraudError) -> AuditEntry | None:
        if request is entries[0].request:  # again from the first one where a race was lost
            outcomes.clear()
        decision = decisions[request.event.transaction_id]
        outcome = _outcome(decision, answer)
        outcomes[outcome] += 1
        return None if outcome == "known" else _record(request, decision, answer)

    requests = [entry.request for entry in entries]
    scorer.commit(requests, dict.fromkeys(kinds, judge), note)
    return outcomes


def _outcome(decision: Decision, answer: Decision | FraudError) -> str:
    if isinstance(answer, Decision) and answer.decision_id == decision.decision_id:
        return "known" if answer.is_replayed else "written"
    return "conflict"


def _record(request: ScoreRequest, decision: Decision, answer: Decision | FraudError) -> AuditEntry:
    is_written = answer is decision
    detail: dict[str, object] = {
        "decision_id": decision.decision_id,
        "action": decision.recommended_action,
        "reconciled": True,
    }
    if not is_written:
        kept = answer.decision_id if isinstance(answer, Decision) else None
        detail |= {"conflict": True, "kept": kept}
    return AuditEntry(
        actor=request.actor,
        action="score",
        outcome="success" if is_written else "failure",
        origin=request.origin,
        object_type="transaction",
        object_id=request.event.transaction_id,
        detail=detail,
    )


class Recovery:
    """Probes a ledger that was away, and brings the journal into it; has a thread of its own.

    Args:
        own_scorer: gives a scorer that no other thread uses.
        journal: what waits.
        breaker: around the ledger; the probe is ours.
        on_step: told of outcomes after every step, none in most.
        clock_s: monotonic seconds.
    """

    def __init__(
        self,
        own_scorer: Callable[[], Scorer],
        journal: Journal,
        breaker: CircuitBreaker,
        on_step: Callable[[Mapping[str, int]], None] = lambda outcomes: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own_scorer = own_scorer
        self._journal = journal
        self._breaker = breaker
        self._on_step = on_step
        self._clock_s = clock_s
        self._stuck: set[str] = set()
        self._again_at_s = 0.0
        self._unstuck_at_s = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what still waits is taken up by the next start."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def step(self) -> None:
        """Probe if that is due; reconcile if there is anything, and nobody else does."""
        outcomes: Counter[str] = Counter()
        try:
            if self._breaker.may_probe():
                self._probe()
            self._journal.look()
            if self._journal.problem and self._clock_s() >= self._again_at_s:
                self._again_at_s = self._clock_s() + PATIENCE_S
                self._journal.try_again()
            if self._breaker.is_closed and self._journal.count:
                with self._journal.turn() as is_ours:
                    if is_ours:
                        self._reconcile(outcomes)
        finally:
            self._on_step(outcomes)

    def _run(self) -> None:
        while not self._end.wait(INTERVAL_S):
            try:
                self.step()
            except UnavailableError as error:
                log.error("The journal waits: %s", error)
            except Exception:
                log.exception("A step of the recovery broke; the next one follows")

    def _probe(self) -> None:
        """A commit, because a ledger on a full disk still answers questions."""
        away_s = round(self._breaker.open_for_s, 3)
        entry = AuditEntry(
            actor="fraud-detector",
            action="recover",
            outcome="success",
            origin="",
            object_type="ledger",
            object_id="ledger",
            detail={"away_s": away_s, "journalled": self._journal.count},
        )
        try:
            self._own_scorer().record([entry])
        except BaseException as error:
            self._breaker.failed()
            if not isinstance(error, LEDGER_FAILURES):
                raise
        else:
            log.warning("The ledger is back after %.1f s", away_s)
            self._breaker.answered()

    def _reconcile(self, outcomes: Counter[str]) -> None:
        if self._clock_s() >= self._unstuck_at_s:
            self._stuck.clear()
            self._unstuck_at_s = self._clock_s() + PATIENCE_S
        while not self._end.is_set():
            entries = self._journal.first(CHUNK, self._stuck)
            if not entries:
                return
            try:
                self._settle(entries, outcomes)
            except LEDGER_FAILURES as error:
                log.error("Reconciling stopped: %s", error)
                self._breaker.failed()
                return

    def _settle(self, entries: Sequence[JournalEntry], outcomes: Counter[str]) -> None:
        """Write entries and forget them; those that cannot be written wait, alone."""
        try:
            outcomes += reconcile(self._own_scorer(), entries)
        except LEDGER_FAILURES:
            raise
        except Exception as error:
            if len(entries) == 1:
                self._stuck.add(entries[0].transaction_id)
                if not isinstance(error, StateUnavailable):
                    log.exception("A journalled decision cannot be written yet")
                return
        else:
            self._journal.remove(entry.transaction_id for entry in entries)
            return
        half = len(entries) // 2
        self._settle(entries[:half], outcomes)
        self._settle(entries[half:], outcomes)
