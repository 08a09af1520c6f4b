"""The champion rule.

1. A candidate whose exported graph strays from its model may not be promoted.
2. Of the others, the one with the highest average precision on the validation sample wins;
   among equals the one named first in `CANDIDATES`. The test sample has no say in this.
3. The winner must pass every offline gate of mlflow/gates.yaml.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fraud.domain.errors import ContractError
from orchestration.promotion.gates import GateResult
from orchestration.training.train import TrainedCandidate

CHOSEN_BY = "average_precision"


@dataclass(frozen=True)
class Verdict:
    """What the champion rule said.

    Attributes:
        winner: name of the winning candidate; '' where none may be promoted.
        is_promoted: whether it passed the gates.
        reasons: sentences, in the order of the rule.
        running_version: the champion it was compared with; '' where there was none.
        gates: what each gate said.
    """

    winner: str
    is_promoted: bool
    reasons: tuple[str, ...]
    running_version: str = ""
    gates: tuple[GateResult, ...] = ()


def choose(candidates: Sequence[TrainedCandidate]) -> Verdict:
    """The winner among candidates, before any gate.

    Args:
        candidates: trained on the same split.

    Raises:
        ContractError: no candidates were given.
    """
    if not candidates:
        raise ContractError("There are no candidates.", remedy="Train at least one.")
    reasons = [_parity_sentence(each) for each in candidates if not each.parity.is_equal]
    sound = [candidate for candidate in candidates if candidate.parity.is_equal]
    if not sound:
        return Verdict("", False, tuple(reasons))
    winner = max(sound, key=lambda candidate: candidate.metrics["validation"][CHOSEN_BY])
    reasons.append(
        f"{winner.title} has the highest average precision on the validation days: "
        f"{winner.metrics['validation'][CHOSEN_BY]:.4f} of {len(sound)} candidates."
    )
    return Verdict(winner.name, False, tuple(reasons))


def judged(choice: Verdict, gates: Sequence[GateResult], running_version: str) -> Verdict:
    """The verdict on a winner that met the gates.

    Args:
        choice: what `choose` said.
        gates: what each gate said.
        running_version: the champion it was compared with; '' where there was none.
    """
    return Verdict(
        winner=choice.winner,
        is_promoted=all(gate.passed for gate in gates),
        reasons=(*choice.reasons, *(gate.sentence for gate in gates)),
        running_version=running_version,
        gates=tuple(gates),
    )


def _parity_sentence(candidate: TrainedCandidate) -> str:
    parity = candidate.parity
    return (
        f"{candidate.title} may not be promoted: its graph differs from the model by "
        f"{parity.max_difference:.1e} over {parity.rows} rows, more than {parity.tolerance:.0e}."
    )
