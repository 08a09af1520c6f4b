"""The champion rule.

1. A candidate whose exported graph strays from its model may not be promoted.
2. Of the others, the one with the highest average precision on the validation sample wins;
   among equals the one named first in `CANDIDATES`. The test sample has no say in this.
3. The winner must beat chance on the test sample: average precision above the share of fraud.
4. Where a champion is running, it is scored on the same test rows, and the winner's average
   precision must not lie more than `MARGIN` below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sklearn.metrics import average_precision_score

from bentos.scoring.model import ScoringModel
from fraud.domain.errors import ContractError
from orchestration.training.split import Sample
from orchestration.training.train import TrainedCandidate

MARGIN = 0.01
"""Average precision a new champion may lose on the test rows, for being trained on newer days."""

CHOSEN_BY = "average_precision"


@dataclass(frozen=True)
class Verdict:
    """What the champion rule said.

    Attributes:
        winner: name of the winning candidate; '' where none may be promoted.
        is_promoted: whether it becomes the champion.
        reasons: sentences, in the order of the rule.
        running_version: the champion it was compared with; '' where there was none.
        running_metrics: that champion's ranking on the same test rows.
    """

    winner: str
    is_promoted: bool
    reasons: tuple[str, ...]
    running_version: str
    running_metrics: Mapping[str, float]


def decide(
    candidates: Sequence[TrainedCandidate], test: Sample, running: ScoringModel | None = None
) -> Verdict:
    """Applies the champion rule.

    Args:
        candidates: trained on the same split.
        test: that split's test sample.
        running: the champion that serves now, loaded for the same feature schema; None where
            there is none, or where its features are no longer computed.

    Raises:
        ContractError: no candidates were given.
    """
    if not candidates:
        raise ContractError("There are no candidates.", remedy="Train at least one.")
    reasons = [_parity_sentence(candidate) for candidate in candidates if not _is_sound(candidate)]
    sound = [candidate for candidate in candidates if _is_sound(candidate)]
    if not sound:
        return Verdict("", False, tuple(reasons), "", {})
    winner = max(sound, key=lambda candidate: candidate.metrics["validation"][CHOSEN_BY])
    reasons.append(
        f"{winner.title} has the highest average precision on the validation days: "
        f"{winner.metrics['validation'][CHOSEN_BY]:.4f} of {len(sound)} candidates."
    )
    ap, chance = winner.metrics["test"][CHOSEN_BY], test.frauds / len(test)
    beats_chance = ap > chance
    reasons.append(
        f"On the test days it reaches {ap:.4f}, {'above' if beats_chance else 'not above'} "
        f"the share of fraud, {chance:.4f}."
    )
    if running is None:
        reasons.append("No champion is running that could be compared on the same rows.")
        return Verdict(winner.name, beats_chance, tuple(reasons), "", {})
    running_ap = float(average_precision_score(test.is_fraud, running.probabilities(test.features)))
    keeps_up = ap >= running_ap - MARGIN
    reasons.append(
        f"The running champion {running.version} reaches {running_ap:.4f} on the same rows: the "
        f"winner is {'within' if keeps_up else 'outside'} the margin of {MARGIN} below it."
    )
    return Verdict(
        winner.name,
        beats_chance and keeps_up,
        tuple(reasons),
        running.version,
        {CHOSEN_BY: running_ap},
    )


def _is_sound(candidate: TrainedCandidate) -> bool:
    return candidate.parity.is_equal


def _parity_sentence(candidate: TrainedCandidate) -> str:
    parity = candidate.parity
    return (
        f"{candidate.title} may not be promoted: its graph differs from the model by "
        f"{parity.max_difference:.1e} over {parity.rows} rows, more than {parity.tolerance:.0e}."
    )
