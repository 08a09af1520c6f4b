"""From messages to durable outcomes: decided, dead, or to be tried again."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from bentos.fraud_detector.metrics import Metrics
from bentos.scoring.scorer import ScoreRequest
from bentos.stream.dlq import DeadLetter
from bentos.stream.messages import Incoming, Place, Read, request_of
from bentos.stream.stream_metrics import StreamMetrics
from fraud.domain.decision import Decision
from fraud.domain.errors import DuplicateConflict, FraudError, InputError, UnavailableError
from fraud.domain.event import from_us
from fraud.ledger.audit import AuditEntry

MOST_TRIES = 3
"""How often a message that breaks the scorer is tried before it is given up."""

log = logging.getLogger("fraud.stream")


class Engine(Protocol):
    """What decides and keeps; see `bentos.fraud_detector.engine`."""

    def score(self, requests: Sequence[ScoreRequest]) -> list[Decision | FraudError]:
        """Decide on every request; each answer is durable."""

    def record(self, entries: Sequence[AuditEntry]) -> None:
        """Keep audit records of refusals."""


class Letters(Protocol):
    """Where messages go that can never be decided."""

    def write(self, letters: Sequence[DeadLetter]) -> set[Place]:
        """Write letters; the places of those that are safe there."""


class Broken(FraudError):
    """The scorer failed on a message in a way nobody has foreseen."""


class StreamScorer:
    """Decides on batches of messages; one thread has it decide.

    Args:
        engine: what decides.
        letters: where dead letters go.
        metrics: what every scorer counts.
        stream_metrics: what a stream worker counts.
        topics: what each carries; see `bentos.stream.messages.by_topic`.
        actor: whose requests they are, for the audit log.
        clock_us: the time now, microseconds UTC.
    """

    def __init__(
        self,
        engine: Engine,
        letters: Letters,
        metrics: Metrics,
        stream_metrics: StreamMetrics,
        topics: Mapping[str, str | None],
        actor: str,
        clock_us: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._letters = letters
        self._metrics = metrics
        self._stream_metrics = stream_metrics
        self._topics = topics
        self._actor = actor
        self._clock_us = clock_us
        self._tries: Counter[Place] = Counter()

    def read(self, message: Incoming) -> Read:
        """What a message asks for; any thread may ask."""
        kind = self._topics.get(message.place.topic)
        try:
            return Read(message, request_of(message, kind, self._actor, self._clock_us()))
        except InputError as error:
            return Read(message, error)

    def decide(self, reads: Sequence[Read]) -> list[UnavailableError | None]:
        """What became of each message: None is done with, an error wants another try.

        A message is done with when its decision is in the ledger, or its letter is
        acknowledged and its refusal audited.
        """
        batch = [each.message for each in reads]
        outcomes: dict[int, Decision | FraudError] = {}
        requests: dict[int, ScoreRequest] = {}
        for number, each in enumerate(reads):
            if isinstance(each.request, ScoreRequest):
                requests[number] = each.request
            else:
                outcomes[number] = each.request
        answers = self._score(list(requests.values()))
        outcomes |= {
            number: self._judged(batch[number].place, answer)
            for number, answer in zip(requests, answers, strict=True)
        }
        self._bury(batch, outcomes)
        amounts = {n: each.event.amount_minor for n, each in requests.items()}
        self._count(batch, outcomes, amounts)
        return [
            outcome if isinstance(outcome, UnavailableError) else None
            for outcome in (outcomes[number] for number in range(len(batch)))
        ]

    def _score(self, requests: list[ScoreRequest]) -> list[Decision | FraudError]:
        """Answers; a message that breaks the scorer is kept apart from the others."""
        if not requests:
            return []
        try:
            return self._engine.score(requests)
        except UnavailableError as error:
            return [error] * len(requests)
        except Exception as error:
            if len(requests) == 1:
                log.exception("%s breaks the scorer", requests[0].origin)
                return [Broken(f"{type(error).__name__} while it was scored.")]
        half = len(requests) // 2
        return self._score(requests[:half]) + self._score(requests[half:])

    def _judged(self, place: Place, answer: Decision | FraudError) -> Decision | FraudError:
        """The answer; what breaks the scorer is tried again before it is given up."""
        if not isinstance(answer, Broken):
            self._tries.pop(place, None)
            return answer
        self._tries[place] += 1
        if self._tries[place] < MOST_TRIES:
            return UnavailableError(answer.message)
        del self._tries[place]
        return Broken(answer.message, remedy="See the log of the stream worker.")

    def _bury(self, batch: Sequence[Incoming], outcomes: dict[int, Decision | FraudError]) -> None:
        """Write letters; what cannot be buried now becomes what wants another try."""
        letters, held = {}, set()
        failed_at = from_us(self._clock_us())
        for number, message in enumerate(batch):
            outcome = outcomes[number]
            if isinstance(outcome, UnavailableError):
                held.add(message.place.shelf)  # its partition is read again from here
            elif isinstance(outcome, FraudError) and message.place.shelf not in held:
                letters[number] = DeadLetter(message, outcome, failed_at)
        if not letters:
            return
        try:
            self._engine.record(
                [
                    refusal(each, self._actor)
                    for each in letters.values()
                    if not isinstance(each.error, DuplicateConflict)  # the scorer has recorded it
                ]
            )
        except UnavailableError as error:
            outcomes |= dict.fromkeys(letters, error)
            return
        safe = self._letters.write(list(letters.values()))
        for number, letter in letters.items():
            if letter.message.place in safe:
                self._stream_metrics.dead_letters.labels(letter.reason).inc()
                log.warning("%s is dead: %s", letter.message.place, letter.error)
            else:
                outcomes[number] = UnavailableError("The DLQ has not acknowledged a letter.")

    def _count(
        self,
        batch: Sequence[Incoming],
        outcomes: Mapping[int, Decision | FraudError],
        amounts: Mapping[int, int],
    ) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        decided: list[tuple[Decision, int]] = []
        now_us = self._clock_us()
        for number, message in enumerate(batch):
            topic, outcome = message.place.topic, outcomes[number]
            if isinstance(outcome, UnavailableError):
                continue
            if message.key is None:
                self._stream_metrics.unkeyed.labels(topic).inc()
            if message.sent_us is not None:
                age_s = max(0.0, (now_us - message.sent_us) / 1e6)
                self._stream_metrics.age.labels(topic).observe(age_s)
            if isinstance(outcome, Decision):
                decided.append((outcome, amounts[number]))
                counts[topic, "repeated" if outcome.is_replayed else "decided"] += 1
            else:
                counts[topic, "dead"] += 1
        self._metrics.decided(decided)
        for labels, count in counts.items():
            self._stream_metrics.messages.labels(*labels).inc(count)


def refusal(letter: DeadLetter, actor: str) -> AuditEntry:
    """The audit record of a message that was given up."""
    return AuditEntry(
        actor=actor,
        action="refuse",
        outcome="failure",
        origin=str(letter.message.place),
        object_type="message",
        object_id=str(letter.message.place),
        detail={"problem": letter.reason, "field": (letter.error.field or "")[:50]},
    )
