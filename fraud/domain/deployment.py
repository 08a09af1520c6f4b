"""Deployments: the stages a model passes through, and who meets it at which."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Stage = Literal["shadow", "canary", "champion", "withdrawn"]
SHADOW: Final = "shadow"
CANARY: Final = "canary"
CHAMPION: Final = "champion"
WITHDRAWN: Final = "withdrawn"

Role = Literal["champion", "canary"]
"""As what a model answered."""

Move = Literal["promote", "rollback"]
PROMOTE: Final = "promote"
ROLLBACK: Final = "rollback"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A step of a model: into a stage, or out of service.

    The last step of a fraud type says who challenges: its model, if it is in `shadow` or
    `canary`. A new champion ends a challenge, which was against another model.

    Attributes:
        fraud_type: whose events it scores.
        model_version: as decisions name it.
        bundle_path: where the bundle was taken from.
        bundle_digest: SHA-256 of the bundle's manifest, hexadecimal.
        promoted_by: who or what decided it.
        reason: why.
        promoted_at_us: when, microseconds UTC.
        mlflow_run_id: the run that trained it.
        stage: `shadow` scores beside the champion, `canary` answers for a share, `champion`
            answers, `withdrawn` ended its challenge.
        deployment_id: number of the step; 0 until it is stored.
        move: forwards, or back to what served before.
        share: of the subjects that a canary answers for, 0 to 1.
        gates: what was measured for this step, as plain data.
        approved_by: the second person, where one was needed.
    """

    fraud_type: str
    model_version: str
    bundle_path: str
    bundle_digest: str
    promoted_by: str
    reason: str
    promoted_at_us: int
    mlflow_run_id: str | None = None
    stage: Stage = CHAMPION
    deployment_id: int = 0
    move: Move = PROMOTE
    share: float = 0.0
    gates: Sequence[dict[str, Any]] = field(default=())
    approved_by: str | None = None


def standing_champions(history: Sequence[Deployment]) -> list[Deployment]:
    """The champions that were not rolled back, newest first.

    Args:
        history: steps of stage champion of one fraud type, newest first.
    """
    standing: list[Deployment] = []
    for each in reversed(history):
        if each.move == ROLLBACK:
            while standing and standing[-1].model_version != each.model_version:
                standing.pop()
            del standing[-1:]
        standing.append(each)
    return standing[::-1]


def meets_canary(model_version: str, subject: str, share: float) -> bool:
    """Whether a canary answers for a subject, such as a customer.

    A subject meets the same model each time: who is within a share is within every larger
    one. Another model draws other subjects.

    Args:
        model_version: of the canary.
        subject: value of the fraud type's subject field.
        share: of all subjects, 0 to 1.
    """
    digest = hashlib.sha256(f"{model_version}\0{subject}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2.0**64
