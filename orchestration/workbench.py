"""Between training and deployment: trained candidates and the decision about them, on disk.

Plain data as JSON (graphs and pictures in base64), so that each step can be run again on
its own, in another process, and nothing is ever unpickled.
"""

import base64
import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from bentos.scoring.manifest import Manifest
from fraud.domain.errors import NotFound
from fraud.domain.fraud_type import FraudType
from fraud.settings import Settings
from orchestration.training.train import TrainedCandidate
from orchestration.training.verdict import Verdict

T = TypeVar("T")


@dataclass(frozen=True)
class CandidateRun:
    """A trained candidate and where it was logged.

    Attributes:
        candidate: what came out.
        trained_at: moment of training.
        experiment_id: MLflow experiment.
        run_id: MLflow run.
        first: first day of the frame it was trained on.
        last: last day of it.
    """

    candidate: TrainedCandidate
    trained_at: dt.datetime
    experiment_id: str
    run_id: str
    first: dt.date
    last: dt.date


@dataclass(frozen=True)
class Decision:
    """What was decided about a set of candidates.

    Attributes:
        verdict: of the champion rule.
        manifest: of the winner; None where no candidate may be promoted.
        card: its model card, Markdown.
    """

    verdict: Verdict
    manifest: Manifest | None
    card: str


class Workbench:
    """The candidates of one fraud type and the last decision about them."""

    def __init__(self, settings: Settings, fraud_type: FraudType) -> None:
        self._folder = settings.run_dir / "workbench" / fraud_type.name

    def put(self, name: str, run: CandidateRun) -> None:
        """Keep a trained candidate, in place of the last one of its name."""
        self._write(name, CandidateRun, run)

    def take(self, name: str) -> CandidateRun:
        """The last trained candidate of a name.

        Raises:
            NotFound: it was never trained.
        """
        return self._read(name, CandidateRun)

    def put_decision(self, decision: Decision) -> None:
        """Keep a decision, in place of the last one."""
        self._write("decision", Decision, decision)

    def take_decision(self) -> Decision:
        """The last decision.

        Raises:
            NotFound: none was made yet.
        """
        return self._read("decision", Decision)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _write(self, name: str, kind: type[T], value: T) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._path(name).with_suffix(".tmp")
        content = TypeAdapter(kind).dump_python(value)
        part.write_text(json.dumps(content, default=_encoded), encoding="utf-8")
        part.replace(self._path(name))

    def _read(self, name: str, kind: type[T]) -> T:
        try:
            content = self._path(name).read_bytes()
        except FileNotFoundError:
            raise NotFound(
                f"There is no {name} on the workbench yet.",
                remedy="Materialise the assets before this one first.",
            ) from None
        return TypeAdapter(kind).validate_python(json.loads(content, object_hook=_decoded))


def _encoded(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} does not belong on the workbench")


def _decoded(content: dict[str, object]) -> object:
    encoded = content.get("base64") if len(content) == 1 else None
    return base64.b64decode(encoded) if isinstance(encoded, str) else content
