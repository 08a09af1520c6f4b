"""Builders of small bundles for the tests of everything that scores."""

import datetime as dt
import hashlib
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from bentos.scoring.manifest import Calibration, DataWindow, DataWindows, Manifest
from fraud.domain.fraud_type import FraudType
from fraud.domain.policy import Thresholds
from fraud.types.credit_card import CREDIT_CARD

TRAINED_AT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def a_graph(width: int, *, input_name: str = "features", twists: bool = True) -> bytes:
    """A graph that is not additive in its features: sigmoid(0.1 w.x + product of the first two)."""
    weights = np.linspace(-1.0, 1.0, width, dtype=np.float32)[:, None] * np.float32(0.1)
    nodes = [
        helper.make_node("MatMul", [input_name, "weights"], ["linear"]),
        helper.make_node("Gather", [input_name, "first"], ["x0"], axis=1),
        helper.make_node("Gather", [input_name, "second"], ["x1"], axis=1),
        helper.make_node("Mul", ["x0", "x1"], ["product"]),
        helper.make_node("Add", ["linear", "product" if twists else "linear"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["fraud"]),
        helper.make_node("Sub", ["one", "fraud"], ["genuine"]),
        helper.make_node("Concat", ["genuine", "fraud"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, [width, 1], weights.ravel().tolist()),
            helper.make_tensor("first", TensorProto.INT64, [1], [0]),
            helper.make_tensor("second", TensorProto.INT64, [1], [1]),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    content: bytes = model.SerializeToString()
    return content


def a_window(start: dt.datetime = TRAINED_AT, days: int = 7) -> DataWindow:
    return DataWindow(start=start, end=start + dt.timedelta(days=days), rows=100, frauds=3)


def a_manifest(onnx_bytes: bytes, built_for: FraudType = CREDIT_CARD, **changes: Any) -> Manifest:
    content = {
        "fraud_type": built_for.name,
        "model_version": "credit_card-test-1",
        "model_kind": "logistic_regression",
        "schema_hash": built_for.schema_hash,
        "feature_names": built_for.feature_names,
        "onnx_sha256": hashlib.sha256(onnx_bytes).hexdigest(),
        "calibration": Calibration(a=0.9, b=-1.5, squeeze=1e-6),
        "thresholds": Thresholds(review=0.2, block=0.6, critical=0.9),
        "baseline": tuple(0.0 for _ in built_for.feature_names),
        "metrics": {"test": {"average_precision": 0.7}},
        "data_window": DataWindows(train=a_window(), validation=a_window(), test=a_window()),
        "label_cutoff": TRAINED_AT,
        "trained_at": TRAINED_AT,
        "git_commit": "0" * 40,
        "mlflow_run_id": "",
        "libraries": {"numpy": np.__version__},
    }
    return Manifest.model_validate(content | changes)
