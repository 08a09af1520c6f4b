"""The manifest of a model bundle: what a model is, as plain data."""

import hashlib
import json
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from fraud.domain.policy import Thresholds

Finite = Annotated[float, Field(allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Calibration(_Part):
    """A strictly rising sigmoid on the log-odds of the model's raw probability (Platt).

    `margin = a * logit(e + (1 - 2 e) * raw) + b`, where the squeeze `e` keeps the logit
    finite at raw probabilities of 0 and 1; the calibrated probability is sigmoid(margin).
    """

    kind: Literal["sigmoid"] = "sigmoid"
    a: Annotated[Finite, Field(gt=0)]
    b: Finite
    squeeze: Annotated[Finite, Field(gt=0, lt=0.5)]

    def margins(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated log-odds of raw probabilities, shape (n,) -> (n,)."""
        inner = self.squeeze + (1.0 - 2.0 * self.squeeze) * raw
        return self.a * (np.log(inner) - np.log1p(-inner)) + self.b


class DataWindow(_Part):
    """A span of event time, start included, end not, and what it held."""

    start: AwareDatetime
    end: AwareDatetime
    rows: Annotated[int, Field(ge=0)]
    frauds: Annotated[int, Field(ge=0)]


class DataWindows(_Part):
    """Which events a model was trained on, chosen by, and reported on."""

    train: DataWindow
    validation: DataWindow
    test: DataWindow


class Manifest(_Part):
    """What a model is.

    Attributes:
        model_version: unique name of this model.
        model_kind: the candidate it came from, e.g. `lightgbm`.
        schema_hash: `FraudType.schema_hash` of the features it was trained on.
        feature_names: columns of the graph's input, in order.
        onnx_sha256: hex digest of model.onnx.
        calibration: from the graph's probability to the one that is answered.
        thresholds: least probabilities of the risk levels.
        baseline: reference value per feature (training medians), for contributions.
        metrics: by evaluation window (`validation`, `test`), then by name.
        data_window: spans of event time used.
        label_cutoff: no label reported later reached the training.
        libraries: versions of what trained and exported it.
    """

    format: Literal[1] = 1
    fraud_type: Name
    model_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
    model_kind: Name
    schema_hash: Name
    feature_names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=2000)]
    onnx_sha256: Digest
    calibration: Calibration
    thresholds: Thresholds
    baseline: tuple[Finite, ...]
    metrics: dict[str, dict[str, Finite]]
    data_window: DataWindows
    label_cutoff: AwareDatetime
    trained_at: AwareDatetime
    git_commit: str
    mlflow_run_id: str
    libraries: dict[str, str]

    @model_validator(mode="after")
    def _one_baseline_per_feature(self) -> Self:
        if len(self.baseline) != len(self.feature_names):
            raise ValueError(
                f"{len(self.baseline)} baseline values for {len(self.feature_names)} features"
            )
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, hex: the name of the bundle."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The canonical bytes: sorted keys, two spaces of indent, UTF-8, one last newline."""
        content = self.model_dump(mode="json")
        text = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()
