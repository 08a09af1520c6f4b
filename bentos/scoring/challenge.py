"""A challenge: a second model scores what the champion is asked, or answers for a share of it.

Both models see the same feature values in the same batch. Whatever becomes of the second one,
the champion's answers are those it gives alone.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from bentos.scoring.judge import Judge, finite_probabilities
from bentos.scoring.model import ScoringModel
from bentos.scoring.ruleset import CompiledRuleset, Rulesets
from fraud.domain.decision import Decision, ShadowScore
from fraud.domain.deployment import CANARY, meets_canary
from fraud.domain.errors import ModelUnavailable
from fraud.domain.event import Event
from fraud.domain.features import Floats
from fraud.domain.fraud_type import FraudType

QUICK_S = 0.005
"""A batch's second scores that take longer than this make the next ones wait."""

PAUSE = 200
"""How many times as long they wait: at most one moment in so many is spent on slow ones."""

BROKEN_S = 0.01
"""What a failure counts as, so that a broken model does not fill the log."""

log = logging.getLogger("fraud.scoring")


class Pace:
    """How often a second model may score beside: always, unless it is slow."""

    def __init__(self, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self._clock_s = clock_s
        self._again_at_s = 0.0

    def is_due(self) -> bool:
        """Whether it may score now."""
        return self._clock_s() >= self._again_at_s

    def took(self, seconds: float) -> None:
        """Note how many seconds of work scoring a batch took."""
        if seconds > QUICK_S:
            self._again_at_s = self._clock_s() + PAUSE * seconds


@dataclass(frozen=True)
class Challenger:
    """A model that challenges the champion.

    Attributes:
        model: the model.
        stage: `shadow` never answers, `canary` answers for its share.
        share: of the subjects a canary answers for.
        pace: how often the model that does not answer may score.
        recovery: how soon a canary that broke may answer again.
    """

    model: ScoringModel
    stage: Literal["shadow", "canary"]
    share: float = 0.0
    pace: Pace = field(default_factory=Pace)
    recovery: Pace = field(default_factory=Pace)


class Champions(Protocol):
    """Where the scorer finds the models of a fraud type."""

    def model(self, fraud_type: str) -> ScoringModel:
        """The champion.

        Raises:
            ModelUnavailable: there is none that may be served.
        """

    def challenger(self, fraud_type: str) -> Challenger | None:
        """Who challenges it; None where nobody does."""


class Challenge:
    """Decides with champion and challenger; a `Decider` as a `Judge` is.

    Args:
        fraud_type: whose events.
        champion: the model that answers.
        challenger: the one beside it.
        compiled: the ruleset, the same for both.
    """

    def __init__(
        self,
        fraud_type: FraudType,
        champion: ScoringModel,
        challenger: Challenger,
        compiled: CompiledRuleset,
    ) -> None:
        self._fraud_type = fraud_type
        self._champion = champion
        self._challenger = challenger
        self._judge = Judge(fraud_type, champion, compiled)
        self.pass_through = self._judge.pass_through
        self._canary = Judge(fraud_type, challenger.model, compiled)

    def decide(self, events: Sequence[Event], matrix: Floats, now_us: int) -> list[Decision]:
        """A decision per event; `matrix` holds their features, shape (n, features).

        Raises:
            ModelUnavailable: the champion breaks, and the type refuses to go without.
        """
        answers = self._by_canary(events, matrix, now_us)
        rest = [place for place in range(len(events)) if place not in answers]
        if rest:
            decided = self._judge.decide([events[place] for place in rest], matrix[rest], now_us)
            shadows = self._beside(self._challenger.model, matrix[rest])
            for place, decision, shadow in zip(rest, decided, shadows, strict=True):
                answers[place] = replace(decision, shadow=shadow)
        return [answers[place] for place in range(len(events))]

    def _by_canary(
        self, events: Sequence[Event], matrix: Floats, now_us: int
    ) -> dict[int, Decision]:
        """The canary's answers by place; none where it breaks."""
        places = self._of_canary(events)
        if not places or not self._challenger.recovery.is_due():
            return {}
        mine = [events[place] for place in places]
        try:
            decided = self._canary.decide_with_model(mine, matrix[places], now_us)
        except Exception:
            log.exception("Canary %s broke; the champion answers", self._canary.model_version)
            self._challenger.recovery.took(BROKEN_S)
            return {}
        shadows = self._beside(self._champion, matrix[places])
        return {
            place: replace(decision, role=CANARY, shadow=shadow)
            for place, decision, shadow in zip(places, decided, shadows, strict=True)
        }

    def _of_canary(self, events: Sequence[Event]) -> list[int]:
        """Places of the events that the canary answers for."""
        if self._challenger.stage != CANARY:
            return []
        version, share = self._challenger.model.version, self._challenger.share
        subjects = (str(event.fields[self._fraud_type.subject]) for event in events)
        return [k for k, each in enumerate(subjects) if meets_canary(version, each, share)]

    def _beside(self, model: ScoringModel, matrix: Floats) -> list[ShadowScore]:
        """What a model says that does not answer; nothing it does can break the answer."""
        pace = self._challenger.pace
        if not pace.is_due():
            return [ShadowScore(model.version, None, "skipped", 0)] * len(matrix)
        started_s, worked_s = time.perf_counter(), time.thread_time()
        try:
            probabilities = finite_probabilities(model, matrix)
        except Exception:
            log.exception("Model %s broke beside the one that answers", model.version)
            pace.took(BROKEN_S)
            return [ShadowScore(model.version, None, "broke", 0)] * len(matrix)
        # Work, not time: on a busy machine nobody's model is quick.
        pace.took(time.thread_time() - worked_s)
        took_us = round((time.perf_counter() - started_s) * 1e6)
        return [ShadowScore(model.version, each, "", took_us) for each in probabilities]


def decider_of(
    fraud_type: FraudType, champions: Champions, rulesets: Rulesets
) -> Judge | Challenge:
    """Who decides on a batch: the champion with who challenges it, or the rules alone.

    Raises:
        ModelUnavailable: there is no champion and the type refuses to go without.
    """
    compiled = rulesets.ruleset(fraud_type.name)
    try:
        champion = champions.model(fraud_type.name)
    except ModelUnavailable:
        if fraud_type.on_failure == "refuse":
            raise
        return Judge(fraud_type, None, compiled)
    challenger = champions.challenger(fraud_type.name)
    if challenger is None or challenger.model.version == champion.version:
        return Judge(fraud_type, champion, compiled)
    return Challenge(fraud_type, champion, challenger, compiled)
