"""A champion at work: probabilities, log-odds and contributions from an ONNX graph."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bentos.scoring.bundle import Bundle
from bentos.scoring.manifest import Manifest
from fraud.domain.errors import BundleError, ContractError

Floats = NDArray[np.float64]

INPUT, OUTPUT = "features", "probabilities"
EDGE = 1e-9
"""Answered probabilities lie in [EDGE, 1 - EDGE]: never quite 0 or 1."""

TOO_LARGE = 2.0**128 - 2.0**103
"""The least number that float32 rounds to infinity."""


def open_session(onnx_bytes: bytes) -> ort.InferenceSession:
    """An ONNX Runtime session on one thread.

    One thread, because the service scales by processes, and because the sums of a run must
    not depend on how it was split.

    Raises:
        BundleError: the runtime cannot load the graph.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no public base
        raise BundleError(
            f"ONNX Runtime {ort.__version__} cannot load the graph: {error}",
            remedy="Export it again for the runtime that serves.",
        ) from error


class ScoringModel:
    """A loaded bundle.

    Attributes:
        manifest: what the model is.
        digest: names model and manifest at once.
        deployment_id: the step that put it into service; None where none did.
    """

    def __init__(self, bundle: Bundle, deployment_id: int | None = None) -> None:
        self.manifest: Manifest = bundle.manifest
        self.deployment_id = deployment_id
        self.digest = bundle.digest
        self._session = open_session(bundle.onnx_bytes)
        self._width = len(self.manifest.feature_names)
        self._check_graph()
        self._baseline = np.array(self.manifest.baseline, dtype=np.float64)
        self._order = _spread_order(self._width)
        self._is_moved = _moves(self._order)

    def deployed_as(self, deployment_id: int) -> Self:
        """The same loaded model, put into service by another step."""
        twin = copy.copy(self)
        twin.deployment_id = deployment_id
        return twin

    @property
    def version(self) -> str:
        """The model's unique name."""
        return self.manifest.model_version

    def margins(self, features: Floats) -> Floats:
        """Calibrated log-odds, shape (n, F) -> (n,); float64.

        Raises:
            ContractError: the width is not the model's, or a value is not finite in float32.
        """
        return self.manifest.calibration.margins(self._raw(features))

    def probabilities(self, features: Floats) -> Floats:
        """Calibrated fraud probabilities, shape (n, F) -> (n,); float64 inside (0, 1)."""
        return to_probabilities(self.margins(features))

    def contributions(self, row: Floats) -> tuple[float, Floats]:
        """What each feature adds to the log-odds of one event, against the baseline.

        Shapley values (Shapley 1953) estimated from one permutation and its reverse, the
        antithetic pair of Mitchell et al. 2022, "Sampling Permutations for Shapley Value
        Estimation": features move one by one from the baseline to the row, and each is
        credited with the change. Both orders telescope, so the sum is exact:
        `base + contributions.sum() == margins(row)`. One run of 2F rows; no randomness.

        Args:
            row: the event's features, shape (F,).

        Returns:
            The baseline's log-odds and the contributions, shape (F,), in feature order.
        """
        row = np.asarray(row, dtype=np.float64)
        count, order = self._width, self._order
        batch = np.where(self._is_moved, row, self._baseline)
        margins = self.margins(batch)
        forward = np.diff(margins[: count + 1])
        backward = np.diff(np.concatenate((margins[:1], margins[count + 1 :], margins[count:][:1])))
        shares = np.empty(count)
        shares[order] = (forward + backward[::-1]) / 2.0
        return float(margins[0]), shares

    def _raw(self, features: Floats) -> Floats:
        if features.ndim != 2 or features.shape[1] != self._width:
            raise ContractError(
                f"Model {self.version} takes rows of {self._width} features, not an array of "
                f"shape {features.shape}.",
                remedy="Pass the fraud type's features in declared order.",
            )
        if len(features) == 0:
            return np.empty(0)
        is_finite = np.abs(features) < TOO_LARGE
        if not is_finite.all():
            names = np.array(self.manifest.feature_names)
            bad = ", ".join(names[~is_finite.all(axis=0)])
            raise ContractError(
                f"Model {self.version} was given values that are not finite numbers: {bad}.",
                remedy="Every feature has a default for what is missing; find what broke it.",
            )
        raw: NDArray[Any] = self._session.run([OUTPUT], {INPUT: features.astype(np.float32)})[0]
        return raw[:, 1].astype(np.float64)

    def _check_graph(self) -> None:
        inputs = {node.name: node for node in self._session.get_inputs()}
        outputs = {node.name for node in self._session.get_outputs()}
        fits = (
            set(inputs) == {INPUT}
            and inputs[INPUT].type == "tensor(float)"
            and len(inputs[INPUT].shape) == 2
            and inputs[INPUT].shape[1] == self._width
            and OUTPUT in outputs
        )
        if not fits:
            raise BundleError(
                f"The graph of {self.version} does not take float32 '{INPUT}' "
                f"[n, {self._width}] to '{OUTPUT}'.",
                remedy="Export it with orchestration.training.export.",
            )


def to_probabilities(margins: Floats) -> Floats:
    """Probabilities of log-odds, kept inside [EDGE, 1 - EDGE]; shape (n,) -> (n,)."""
    shrink = np.exp(-np.abs(margins))
    probability = np.where(margins >= 0.0, 1.0, shrink) / (1.0 + shrink)
    return np.minimum(np.maximum(probability, EDGE), 1.0 - EDGE)


def _moves(order: Sequence[int]) -> NDArray[np.bool_]:
    """Which features have left the baseline in each of the 2F rows that contributions need.

    Row k has the first k of the order, row F + k the last k; row F, all of them, serves both.
    """
    count = len(order)
    rank = np.empty(count, np.int64)
    rank[list(order)] = np.arange(count)
    steps = np.arange(count + 1)[:, None]
    return np.concatenate((rank < steps, (rank >= count - steps)[1:count]))


def _spread_order(count: int) -> list[int]:
    """A fixed order in which neighbours, often kin, stand far apart: golden-ratio steps."""
    step = round(count * 0.6180339887498949) or 1
    while np.gcd(step, count) != 1:
        step += 1
    return [place * step % count for place in range(count)]
