"""A model of a few nodes: signed, verified and swapped as any other, and ready in no time."""

import datetime as dt
import hashlib
import time

import numpy as np
from onnx import TensorProto, helper

from bentos.scoring.bundle import write_bundle
from bentos.scoring.manifest import Calibration, DataWindow, DataWindows, Manifest
from fraud.domain.deployment import Deployment
from fraud.domain.policy import Thresholds
from fraud.ledger.deployments import record_deployment
from fraud.ledger.embedded import ledger_url
from fraud.ledger.pool import transaction
from fraud.settings import Settings
from fraud.types.credit_card import CREDIT_CARD


def promote(settings: Settings, version: str) -> None:
    """Write a bundle of this version and put it into service."""
    graph = _graph(len(CREDIT_CARD.feature_names))
    now = dt.datetime.now(dt.UTC)
    window = DataWindow(start=now - dt.timedelta(days=7), end=now, rows=1, frauds=0)
    manifest = Manifest(
        fraud_type=CREDIT_CARD.name,
        model_version=version,
        model_kind="logistic_regression",
        schema_hash=CREDIT_CARD.schema_hash,
        feature_names=CREDIT_CARD.feature_names,
        onnx_sha256=hashlib.sha256(graph).hexdigest(),
        calibration=Calibration(a=1.0, b=0.0, squeeze=1e-6),
        thresholds=Thresholds(review=0.2, block=0.6, critical=0.9),
        baseline=tuple(0.0 for _ in CREDIT_CARD.feature_names),
        metrics={},
        data_window=DataWindows(train=window, validation=window, test=window),
        label_cutoff=now,
        trained_at=now,
        git_commit="0" * 40,
        mlflow_run_id="",
        libraries={"numpy": np.__version__},
    )
    digest = write_bundle(settings.bundle_dir / version, graph, manifest, settings.signing_key_pem)
    with transaction(ledger_url(settings)) as cursor:
        record_deployment(
            cursor,
            Deployment(
                fraud_type=CREDIT_CARD.name,
                model_version=version,
                bundle_path=version,
                bundle_digest=digest,
                promoted_by="benchmark",
                reason="The next one.",
                promoted_at_us=time.time_ns() // 1000,
            ),
        )


def _graph(width: int) -> bytes:
    """Logistic regression with small weights of both signs."""
    weights = np.linspace(-0.01, 0.01, width, dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["fraud"]),
        helper.make_node("Sub", ["one", "fraud"], ["genuine"]),
        helper.make_node("Concat", ["genuine", "fraud"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, [width, 1], weights.tolist()),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    content: bytes = model.SerializeToString()
    return content
