"""Gates: the limits that a model must keep, read from mlflow/gates.yaml."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fraud.domain.errors import SettingsError
from fraud.settings import Settings
from orchestration.training.bootstrap import MetricName

GATES_FILE = Path(__file__).parents[2] / "mlflow" / "gates.yaml"

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
CanaryShare = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QualityLimit(_Part):
    """How much worse than the champion a model may be, with confidence."""

    metric: MetricName
    margin: Share


class OfflineLimits(_Part):
    """Limits on the test days; gates.yaml says what each means."""

    quality: QualityLimit
    least_lift: Amount
    most_calibration_error: Share
    most_parity_difference: Share
    most_latency_ms: Amount
    most_skewed_share: Share
    skew_decisions: Count
    segments: tuple[str, ...]
    segment_margin: Share
    segment_least_frauds: Count
    least_known_share: Share


class LiveLimits(_Part):
    """Limits beside the champion; gates.yaml says what each means."""

    least_decisions: Count
    most_error_share: Share
    most_latency_ms: Amount
    most_score_shift: Amount
    most_alert_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    alert_slack: Share
    precision_margin: Share
    least_matured_alerts: Count


class StageMinimum(_Part):
    """How long a stage takes at least."""

    least_decisions: Annotated[int, Field(ge=0)]
    least_hours: Amount


class CanaryStage(StageMinimum):
    """Likewise, at each share in turn."""

    shares: Annotated[tuple[CanaryShare, ...], Field(min_length=1)]


class ChampionStage(_Part):
    """How long a new champion is watched."""

    watch_hours: Amount


class Stages(_Part):
    """The way from shadow to champion."""

    shadow: StageMinimum
    canary: CanaryStage
    champion: ChampionStage


class Gates(_Part):
    """All limits of one fraud type."""

    offline: OfflineLimits
    live: LiveLimits
    stages: Stages


@dataclass(frozen=True)
class GateResult:
    """What a gate said.

    Attributes:
        gate: its name.
        passed: whether the model may pass.
        value: what was measured; None where there was nothing to measure.
        limit: what it was held against.
        sentence: both in words.
    """

    gate: str
    passed: bool
    value: float | None
    limit: float
    sentence: str

    def plain(self) -> dict[str, Any]:
        """As plain data, as `deployments.gates` keeps it."""
        return asdict(self)


def load_gates(settings: Settings, fraud_type: str) -> Gates:
    """The gates of a fraud type.

    Raises:
        SettingsError: the file cannot be read, or a value in it is missing, unknown or wrong.
    """
    path = settings.gates_file or GATES_FILE
    content = _read(path)
    overrides = content.pop("fraud_types", None) or {}
    if not isinstance(overrides, dict):
        raise _wrong(path, "fraud_types must hold limits by fraud type")
    own = overrides.get(fraud_type) or {}
    if not isinstance(own, dict):
        raise _wrong(path, f"fraud_types.{fraud_type} must hold limits")
    try:
        return Gates.model_validate(_merged(content, own))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _wrong(path, f"{place} for {fraud_type}: {first['msg']}") from None


def failed(results: list[GateResult]) -> list[GateResult]:
    """The gates that were not passed."""
    return [each for each in results if not each.passed]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(
            f"The gates in {path} cannot be read: {error}", remedy="Correct it, or restore it."
        ) from None
    if not isinstance(content, dict):
        raise _wrong(path, "it holds no limits")
    return content


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in own.items():
        known = merged.get(name)
        is_group = isinstance(known, dict) and isinstance(value, dict)
        merged[name] = _merged(known, value) if is_group else value  # type: ignore[arg-type]
    return merged


def _wrong(path: Path, what: str) -> SettingsError:
    return SettingsError(
        f"The gates in {path} are wrong: {what}.",
        remedy="Compare it with mlflow/gates.yaml as it came.",
        field="gates_file",
    )
