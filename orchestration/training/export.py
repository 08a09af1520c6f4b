"""Export to ONNX, and the proof that the graph says what the model said."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as BoosterInput
from skl2onnx import to_onnx as convert_sklearn
from skl2onnx.common.data_types import FloatTensorType as ForestInput

from bentos.scoring.manifest import Calibration
from bentos.scoring.model import INPUT, OUTPUT, open_session, to_probabilities
from orchestration.training.blending import SQUEEZE, Blend
from orchestration.training.candidates import FittedModel

Floats = NDArray[np.float64]

OPSET = 15
ML_OPSET = 1
IR_VERSION = 8
"""Pinned so that graphs of today load in the runtimes of the last years, and tomorrow's."""

TOLERANCE = 1e-5
SAMPLE_ROWS = 20_000


@dataclass(frozen=True)
class ParityReport:
    """How far the exported graph strays from the model it came from.

    Attributes:
        rows: events compared.
        max_difference: largest |difference| of raw or of calibrated probabilities.
        tolerance: the largest that is accepted.
    """

    rows: int
    max_difference: float
    tolerance: float = TOLERANCE

    @property
    def is_equal(self) -> bool:
        """Whether the graph may be promoted."""
        return self.max_difference <= self.tolerance


def to_onnx(model: FittedModel, width: int) -> bytes:
    """The model as a graph: float32 `features` [n, width] -> `probabilities` [n, 2].

    Args:
        model: any fitted candidate.
        width: number of features.
    """
    return _canonical(_CONVERTERS[model.candidate.name](model.estimator, width), width)


def check_parity(
    model: FittedModel, onnx_bytes: bytes, calibration: Calibration, features: Floats
) -> ParityReport:
    """Compares graph and model, raw and calibrated, on real and on extreme rows.

    Args:
        model: the original.
        onnx_bytes: its export.
        calibration: applied to both.
        features: real events, shape (n, F); at most SAMPLE_ROWS of them are used, evenly
            spread, and rows of each feature's extremes are added.
    """
    rows = _with_extremes(features).astype(np.float32).astype(np.float64)
    native = model.probabilities(rows)
    session = open_session(onnx_bytes)
    exported = session.run([OUTPUT], {INPUT: rows.astype(np.float32)})[0][:, 1].astype(np.float64)
    raw = np.abs(native - exported)
    calibrated = np.abs(
        to_probabilities(calibration.margins(native))
        - to_probabilities(calibration.margins(exported))
    )
    return ParityReport(len(rows), float(max(raw.max(), calibrated.max())))


def _with_extremes(features: Floats) -> Floats:
    """A sample of the rows, and around each of a few the extremes of one feature at a time."""
    sample = features[:: max(1, len(features) // SAMPLE_ROWS)]
    low, high, middle = features.min(axis=0), features.max(axis=0), np.median(features, axis=0)
    corners = np.stack((low, high, middle, np.zeros_like(low), 10.0 * high, -10.0 * high))
    one_low = np.where(np.eye(len(low), dtype=bool), low, middle)
    one_high = np.where(np.eye(len(low), dtype=bool), 10.0 * high, middle)
    return np.concatenate((sample, corners, one_low, one_high))


def _logistic_graph(pipeline: Any, width: int) -> Any:
    """sigmoid(w . ([x, signed_log(x)] - mean) / scale + b), in double precision throughout.

    Written out by hand: skl2onnx has no signed logarithm, and scaling in float32 would
    cancel the digits of long durations.
    """
    _, scaler, linear = (step for _, step in pipeline.steps)
    weights = linear.coef_[0] / scaler.scale_
    constants = {
        "one": np.ones(1),
        "weights": weights.reshape(2 * width, 1),
        "bias": linear.intercept_ - scaler.mean_ @ weights,
    }
    nodes = [
        helper.make_node("Cast", [INPUT], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Abs", ["wide"], ["size"]),
        helper.make_node("Add", ["size", "one"], ["shifted"]),
        helper.make_node("Log", ["shifted"], ["log"]),
        helper.make_node("Sign", ["wide"], ["sign"]),
        helper.make_node("Mul", ["sign", "log"], ["signed_log"]),
        helper.make_node("Concat", ["wide", "signed_log"], ["inputs"], axis=1),
        helper.make_node("MatMul", ["inputs", "weights"], ["weighted"]),
        helper.make_node("Add", ["weighted", "bias"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["fraud"]),
        helper.make_node("Sub", ["one", "fraud"], ["genuine"]),
        helper.make_node("Concat", ["genuine", "fraud"], ["both"], axis=1),
        helper.make_node("Cast", ["both"], [OUTPUT], to=TensorProto.FLOAT),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return helper.make_graph(nodes, "logistic_regression", [], [], initializers)


def _forest_graph(forest: Any, width: int) -> Any:
    inputs = [(INPUT, ForestInput([None, width]))]
    return convert_sklearn(
        forest, initial_types=inputs, target_opset=OPSET, options={"zipmap": False}
    ).graph


def _xgboost_graph(model: Any, width: int) -> Any:
    inputs = [(INPUT, BoosterInput([None, width]))]
    return convert_xgboost(model, initial_types=inputs, target_opset=OPSET).graph


def _lightgbm_graph(booster: Any, width: int) -> Any:
    inputs = [(INPUT, BoosterInput([None, width]))]
    return convert_lightgbm(booster, initial_types=inputs, target_opset=OPSET, zipmap=False).graph


def _blend_graph(blend: Blend, width: int) -> Any:
    """The members' graphs side by side, and sigmoid(mean of their squeezed log-odds)."""
    nodes, initializers = [], []
    constants = {
        "one": np.ones(1),
        "squeeze": np.array([SQUEEZE]),
        "stretch": np.array([1.0 - 2.0 * SQUEEZE]),
        "members": np.array([float(len(blend.names))]),
        "fraud_column": np.array([1]),
    }
    for name, estimator in zip(blend.names, blend.estimators, strict=True):
        bare = _bare(_CONVERTERS[name](estimator, width), width)
        graph = compose.add_prefix_graph(bare, f"{name}/", rename_inputs=False)
        nodes += [
            *graph.node,
            helper.make_node(
                "Gather", [graph.output[0].name, "fraud_column"], [f"{name}/p"], axis=1
            ),
            helper.make_node("Cast", [f"{name}/p"], [f"{name}/wide"], to=TensorProto.DOUBLE),
            helper.make_node("Mul", [f"{name}/wide", "stretch"], [f"{name}/stretched"]),
            helper.make_node("Add", [f"{name}/stretched", "squeeze"], [f"{name}/inner"]),
            helper.make_node("Sub", ["one", f"{name}/inner"], [f"{name}/rest"]),
            helper.make_node("Div", [f"{name}/inner", f"{name}/rest"], [f"{name}/odds"]),
            helper.make_node("Log", [f"{name}/odds"], [f"{name}/log_odds"]),
        ]
        initializers += list(graph.initializer)
    nodes += [
        helper.make_node("Sum", [f"{name}/log_odds" for name in blend.names], ["total"]),
        helper.make_node("Div", ["total", "members"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["fraud"]),
        helper.make_node("Sub", ["one", "fraud"], ["genuine"]),
        helper.make_node("Concat", ["genuine", "fraud"], ["both"], axis=1),
        helper.make_node("Cast", ["both"], [OUTPUT], to=TensorProto.FLOAT),
    ]
    initializers += [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return helper.make_graph(nodes, "blend", [], [], initializers)


_CONVERTERS: dict[str, Callable[[Any, int], Any]] = {
    "logistic_regression": _logistic_graph,
    "random_forest": _forest_graph,
    "extra_trees": _forest_graph,
    "xgboost": _xgboost_graph,
    "lightgbm": _lightgbm_graph,
    "blend": _blend_graph,
}


def _bare(graph: Any, width: int) -> Any:
    """The part of a graph that makes the probabilities, with names of its own."""
    needed: set[str] = {OUTPUT}
    nodes: list[Any] = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.insert(0, node)
            needed |= set(node.input)
    return helper.make_graph(
        nodes,
        "fraud",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 2])],
        [tensor for tensor in graph.initializer if tensor.name in needed],
    )


def _canonical(graph: Any, width: int) -> bytes:
    """The bare graph as a model with pinned versions."""
    model = helper.make_model(
        _bare(graph, width),
        producer_name="fraud-platform",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
    )
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
