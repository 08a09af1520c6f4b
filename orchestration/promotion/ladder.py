"""The ladder: which step follows which, and what a model must have behind it for that."""

import datetime as dt
from dataclasses import dataclass

from fraud.domain.deployment import CANARY, CHAMPION, SHADOW, WITHDRAWN, Deployment, Stage
from fraud.domain.errors import ContractError
from fraud.domain.event import from_us
from orchestration.promotion.gates import StageMinimum, Stages

RANK: dict[Stage, int] = {WITHDRAWN: 0, SHADOW: 1, CANARY: 2, CHAMPION: 3}


@dataclass(frozen=True)
class Rung:
    """A place on the ladder.

    Attributes:
        stage: which stage.
        share: of the subjects, for a canary.
    """

    stage: Stage
    share: float = 0.0

    def __str__(self) -> str:
        return f"{self.stage} at {self.share:.0%}" if self.stage == CANARY else self.stage


def next_rung(stages: Stages, deployment: Deployment) -> Rung:
    """Where a challenger goes from its last step."""
    shares = stages.canary.shares
    if deployment.stage in (SHADOW, WITHDRAWN):
        return Rung(CANARY, shares[0]) if deployment.stage == SHADOW else Rung(SHADOW)
    larger = [share for share in shares if share > deployment.share]
    return Rung(CANARY, larger[0]) if larger else Rung(CHAMPION)


def rung_of(stages: Stages, stage: Stage | None, share: float | None, now: Deployment) -> Rung:
    """Where a person wants a model to go.

    Raises:
        ContractError: a share without a canary, or one outside of 0 to 1.
    """
    if stage is None and share is None:
        return next_rung(stages, now)
    stage = stage or CANARY
    if share is not None and (stage != CANARY or not 0.0 < share < 1.0):
        raise ContractError(
            f"{stage} cannot take a share of {share:g}.",
            remedy="A canary takes a share above 0 and below 1.",
        )
    if stage == CANARY and share is None:
        share = stages.canary.shares[0]
    return Rung(stage, share or 0.0)


def is_ripe(stages: Stages, step: Deployment, asked: int, now_us: int) -> tuple[bool, str]:
    """Whether a challenger has been at its stage for long enough, and what that takes.

    Args:
        stages: the minimum of each.
        step: its last one.
        asked: decisions it took part in since.
        now_us: the time.
    """
    least: StageMinimum = stages.canary if step.stage == CANARY else stages.shadow
    elapsed = from_us(now_us) - from_us(step.promoted_at_us)
    hours = elapsed / dt.timedelta(hours=1)
    sentence = (
        f"{step.stage} for {hours:.1f} of at least {least.least_hours:g} hours, with {asked:,} of "
        f"at least {least.least_decisions:,} decisions"
    )
    return hours >= least.least_hours and asked >= least.least_decisions, sentence
