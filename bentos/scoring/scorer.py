"""The one scoring path: every transport hands its events to `Scorer.score`."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import psycopg2.errors

from bentos.scoring.challenge import Champions, decider_of
from bentos.scoring.lottery import draw_lots
from bentos.scoring.observation_clock import MOST_EVENTS, ObservationClock
from bentos.scoring.ruleset import BuiltInRulesets, Rulesets
from feature_store.batch import BatchFeatures, type_layout
from feature_store.state_table import StoredState, claim_states, save_states
from fraud.domain.decision import Decision
from fraud.domain.errors import DuplicateConflict, FraudError, LedgerUnavailable
from fraud.domain.event import Event
from fraud.domain.features import Floats
from fraud.domain.policy import PassThrough
from fraud.ledger.audit import AuditEntry, Head, append
from fraud.ledger.decisions import (
    DecisionRecord,
    KnownDecision,
    ask_known_transactions,
    insert_decisions,
)
from fraud.ledger.pipeline import PipelinedCursor
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.statement import Cursor
from fraud.security.encryption import FieldProtection

ATTEMPTS = 12
"""How often a batch is tried when writers race for new entities or transactions. In a ledger that
is still empty most batches meet in a new one, and either writer wins as often as not."""

RACES = (
    psycopg2.errors.UniqueViolation,
    psycopg2.errors.DeadlockDetected,
    psycopg2.errors.SerializationFailure,
)


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One event to decide on.

    Attributes:
        event: what happened.
        body_digest: SHA-256 of the canonical body; tells a repetition from a conflict.
        actor: who asks.
        origin: from where, e.g. a client address or a topic and offset.
    """

    event: Event
    body_digest: bytes
    actor: str
    origin: str


class Decider(Protocol):
    """What decides on the events of one fraud type.

    Attributes:
        pass_through: what lets some through of those it would block, if anything does.
    """

    pass_through: PassThrough | None

    def decide(self, events: Sequence[Event], matrix: Floats, now_us: int) -> list[Decision]:
        """A decision per event; `matrix` holds their features, shape (n, features)."""


Note = Callable[[ScoreRequest, Decision | FraudError], AuditEntry | None]


class Scorer:
    """Decides on batches of events, one transaction per batch.

    Use one instance from one thread at a time.

    Args:
        pool: connections to the ledger.
        champions: models by fraud type.
        clock: numbers the batches.
        chain: audit chain that this writer has claimed.
        protection: of what is sensitive; only rules and lists see it in the clear.
        rulesets: rulesets by fraud type; the built-in rules if not given.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        champions: Champions,
        clock: ObservationClock,
        chain: str,
        protection: FieldProtection,
        rulesets: Rulesets | None = None,
    ) -> None:
        self._pool = pool
        self._protection = protection
        self._champions = champions
        self._rulesets = rulesets or BuiltInRulesets()
        self._clock = clock
        self._chain = chain
        self._head: Head | None = None

    def score(self, requests: Sequence[ScoreRequest]) -> list[Decision | FraudError]:
        """Decide on every request; each answer is durable before this returns.

        Answers stand in the order of the requests. A transaction_id decided before gets its
        first answer again, or a `DuplicateConflict` if its body differs.

        Raises:
            LedgerUnavailable: nothing was decided and nothing was written.
            ModelUnavailable: a fraud type without a champion refuses to guess; likewise.
        """
        judges = {
            name: decider_of(type_layout(name).fraud_type, self._champions, self._rulesets)
            for name in {request.event.fraud_type for request in requests}
        }
        return self.commit(requests, judges, scored)

    def commit(
        self, requests: Sequence[ScoreRequest], judges: Mapping[str, Decider], note: Note
    ) -> list[Decision | FraudError]:
        """Write what judges decide, in one transaction; `score` says the rest.

        Args:
            requests: the events.
            judges: by fraud type.
            note: makes the audit record of a request and its answer, or none.

        Raises:
            LedgerUnavailable: nothing was written.
        """
        for attempt in range(ATTEMPTS):
            try:
                with self._pool.pipeline() as cursor:
                    batch = _Batch(
                        cursor, requests, self._clock, self._protection, _leap_us(attempt)
                    )
                    answers = batch.run(judges)
                    notes = [note(*each) for each in zip(requests, answers, strict=True)]
                    head = self._append(cursor, [n for n in notes if n], batch.now_us)
            except RACES:
                continue
            self._head = head
            return answers
        raise _beaten()

    def record(self, entries: Sequence[AuditEntry]) -> None:
        """Write audit records of requests that were refused before scoring, in one commit."""
        for _ in range(ATTEMPTS):
            try:
                with self._pool.pipeline() as cursor:
                    head = self._append(cursor, entries, self._clock())
            except RACES:
                continue
            self._head = head
            return
        raise _beaten()

    def _append(self, cursor: Cursor, entries: Sequence[AuditEntry], now_us: int) -> Head | None:
        """The chain's head once this is committed; until then it is not known."""
        known, self._head = self._head, None
        return append(cursor, self._chain, entries, now_us, known)


class _Batch:
    """One scoring transaction."""

    def __init__(
        self,
        cursor: PipelinedCursor,
        requests: Sequence[ScoreRequest],
        clock: ObservationClock,
        protection: FieldProtection,
        leap_us: int,
    ) -> None:
        self.now_us = 0
        self._clock = clock
        self._cursor = cursor
        self._requests = requests
        self._hidden = [protection.hidden(request.event) for request in requests]
        self._sealed: list[str | None] = []
        self._digests: list[bytes] = []
        self._protection = protection
        self._leap_us = leap_us

    def run(self, judges: Mapping[str, Decider]) -> list[Decision | FraudError]:
        keys = [type_layout(event.fraud_type).keys(event) for event in self._hidden]
        states = claim_states(self._cursor, (key for each in keys for key in each.values()))
        ids = [request.event.transaction_id for request in self._requests]
        known_transactions = ask_known_transactions(self._cursor, ids)
        self._cursor.start()
        self._protect()
        (known, labelled), loaded = known_transactions(), states()
        self.now_us = self._clock()  # now that nobody else numbers events of these entities
        fresh = self._first_seen(known)
        seqs = self._observe_order(fresh, keys, loaded, labelled)
        features = self._features(fresh, keys, loaded)
        self._save(features, keys, seqs, loaded)
        records = self._judge(features, seqs, judges)
        decided = {record.event.transaction_id: record for record in records}
        answers = [self._answer(place, known, decided) for place in range(len(self._requests))]
        insert_decisions(self._cursor, records)
        self._cursor.start()
        return answers

    def _protect(self) -> None:
        """What needs no state; the server looks for them meanwhile."""
        for request in self._requests:
            self._sealed.append(self._protection.sealed(request.event))
            self._digests.append(self._protection.digest(request.body_digest))

    def _first_seen(self, known: Mapping[str, KnownDecision]) -> list[int]:
        """Places of the requests to decide on: new transactions, each once."""
        seen = set(known)
        fresh = []
        for place, request in enumerate(self._requests):
            if request.event.transaction_id not in seen:
                seen.add(request.event.transaction_id)
                fresh.append(place)
        return fresh

    def _observe_order(
        self,
        fresh: Iterable[int],
        keys: Sequence[Mapping[str, str]],
        loaded: Mapping[str, StoredState],
        labelled: Mapping[str, int],
    ) -> dict[int, int]:
        """Observation numbers: the clock, but above all that the event's entities have seen.

        A label that was told before its transaction came acts on nothing (clause 29), so its
        number has to be the smaller one as well.
        So numbers rise along every entity even where clocks step back or writers race
        (a hybrid logical clock: Kulkarni et al. 2014, "Logical Physical Clocks"). Within a
        batch they rise by at least one; two writers that meet in one number race, and the
        ledger lets only one of them win. The other leaps when it tries again: where a clock
        was ahead, the number after that of an entity may be taken for good.

        The clock is read when the states are locked. Read before, it was behind that of whoever
        had a state meanwhile, and the numbers after the state's were of that one's other events:
        of the batches that took two workers more than 25 ms, every third had lost such a race.
        """
        last = {key: stored.last_seq for key, stored in loaded.items()}
        seqs: dict[int, int] = {}
        seq = self.now_us - 1
        for place in fresh:
            mine = keys[place].values()
            ahead = labelled.get(self._requests[place].event.transaction_id, 0)
            seen = max([ahead, *[last.get(key, 0) for key in mine]])
            seq = self._clock.after(seen + self._leap_us) if seen > seq else seq + 1
            seqs[place] = seq
            last.update(dict.fromkeys(mine, seq))
        return seqs

    def _features(
        self,
        fresh: Sequence[int],
        keys: Sequence[Mapping[str, str]],
        loaded: Mapping[str, StoredState],
    ) -> dict[str, tuple[list[int], BatchFeatures]]:
        """By fraud type, the fresh requests' places and features."""
        places: dict[str, list[int]] = {}
        for place in fresh:
            places.setdefault(self._requests[place].event.fraud_type, []).append(place)
        found = {}
        for name, mine in places.items():
            before = {
                key: loaded[key].state if key in loaded else None
                for place in mine
                for key in keys[place].values()
            }
            events, theirs = [self._hidden[p] for p in mine], [keys[p] for p in mine]
            found[name] = mine, BatchFeatures(type_layout(name), events, theirs, before)
        return found

    def _save(
        self,
        features: Mapping[str, tuple[list[int], BatchFeatures]],
        keys: Sequence[Mapping[str, str]],
        seqs: Mapping[int, int],
        loaded: Mapping[str, StoredState],
    ) -> None:
        """Write the states; the server does so while the events are judged."""
        states = {k: state for _, batch in features.values() for k, state in batch.states.items()}
        last_seq = {key: seq for place, seq in seqs.items() for key in keys[place].values()}
        changed = {key: StoredState(states[key], seq) for key, seq in last_seq.items()}
        save_states(self._cursor, changed, loaded)
        self._cursor.start()

    def _judge(
        self,
        features: Mapping[str, tuple[list[int], BatchFeatures]],
        seqs: Mapping[int, int],
        judges: Mapping[str, Decider],
    ) -> list[DecisionRecord]:
        """The decisions, in observation order."""
        records: dict[int, DecisionRecord] = {}
        for name, (places, batch) in features.items():
            judge, fraud_type = judges[name], type_layout(name).fraud_type
            events = [self._hidden[place] for place in places]
            matrix = batch.matrix
            sent = [self._requests[place] for place in places]
            verdicts = judge.decide([each.event for each in sent], matrix, self.now_us)
            if judge.pass_through is not None:
                rule = judge.pass_through
                verdicts = draw_lots(self._cursor, rule, events, verdicts, self.now_us)
            rows = matrix.astype("<f8")
            for place, request, row, decision in zip(places, sent, rows, verdicts, strict=True):
                event = self._hidden[place]
                records[place] = DecisionRecord(
                    event=event,
                    sealed=self._sealed[place],
                    subject=str(event.fields[fraud_type.subject]),
                    seq=seqs[place],
                    observed_at_us=seqs[place],
                    body_digest=self._digests[place],
                    decision=decision,
                    feature_values=row.tobytes(),
                    schema_hash=fraud_type.schema_hash,
                    actor=request.actor,
                )
        return [records[place] for place in sorted(records)]

    def _answer(
        self,
        place: int,
        known: Mapping[str, KnownDecision],
        decided: Mapping[str, DecisionRecord],
    ) -> Decision | FraudError:
        request = self._requests[place]
        record = decided.get(request.event.transaction_id)
        if record is not None and record.event is self._hidden[place]:
            return record.decision
        earlier = record or known[request.event.transaction_id]
        is_same = earlier.body_digest == self._digests[place]
        return repeated(request, earlier.decision, is_same=is_same)


def scored(request: ScoreRequest, answer: Decision | FraudError) -> AuditEntry:
    """The audit record of a request and its answer."""
    detail: dict[str, object] = {"conflict": True}
    if isinstance(answer, Decision):
        detail = {"decision_id": answer.decision_id, "action": answer.recommended_action}
        if answer.is_replayed:
            detail["replayed"] = True
    return AuditEntry(
        actor=request.actor,
        action="score",
        outcome="success" if isinstance(answer, Decision) else "failure",
        origin=request.origin,
        object_type="transaction",
        object_id=request.event.transaction_id,
        detail=detail,
    )


def _beaten() -> LedgerUnavailable:
    return LedgerUnavailable(
        f"{ATTEMPTS} attempts to commit the batch lost against other writers.",
        remedy="Send the same requests again.",
    )


def _leap_us(attempt: int) -> int:
    """How far a batch that lost a race moves numbers that its clock does not move."""
    return random.randrange(MOST_EVENTS * 4 ** min(attempt, 4)) if attempt else 0


def repeated(request: ScoreRequest, decision: Decision, *, is_same: bool) -> Decision | FraudError:
    """The answer to a repetition: the first one again; a conflict if it is another body."""
    return replace(decision, is_replayed=True) if is_same else conflict(request.event)


def conflict(event: Event) -> DuplicateConflict:
    """The error for a transaction_id that comes again with another body."""
    return DuplicateConflict(
        f"transaction_id {event.transaction_id!r} was decided before with another body.",
        remedy="Send a repetition unchanged, or give a new transaction a new transaction_id.",
        field="transaction_id",
    )
