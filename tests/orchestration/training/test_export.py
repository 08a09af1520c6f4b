import dataclasses
from typing import Any

import lightgbm
import numpy as np
import onnx
import pytest

from bentos.scoring.manifest import Calibration
from bentos.scoring.model import INPUT, OUTPUT, open_session
from fraud.domain.errors import ContractError
from orchestration.training.candidates import CANDIDATES, FittedModel, fit_candidate, subsample
from orchestration.training.estimators import with_narrow_thresholds
from orchestration.training.export import IR_VERSION, OPSET, TOLERANCE, check_parity, to_onnx
from orchestration.training.split import Split
from tests.orchestration.training.builders import a_split

CALIBRATION = Calibration(a=1.1, b=-0.5, squeeze=1e-6)


@pytest.fixture(scope="module")
def split() -> Split:
    return a_split()


@pytest.fixture(scope="module", params=list(CANDIDATES))
def model(request: pytest.FixtureRequest, split: Split) -> FittedModel:
    return fit_candidate(request.param, split.train.features, split.train.is_fraud)


def test_the_graph_says_what_the_model_said(model: FittedModel, split: Split) -> None:
    onnx_bytes = to_onnx(model, split.test.features.shape[1])
    report = check_parity(model, onnx_bytes, CALIBRATION, split.test.features)
    assert report.is_equal
    assert report.max_difference <= TOLERANCE
    assert report.rows > len(split.test)  # extremes were added


def test_the_graph_is_pinned_and_bare(model: FittedModel, split: Split) -> None:
    graph = onnx.load_model_from_string(to_onnx(model, split.test.features.shape[1]))
    assert graph.ir_version == IR_VERSION
    assert {entry.domain: entry.version for entry in graph.opset_import}[""] == OPSET
    assert [node.name for node in graph.graph.input] == [INPUT]
    assert [node.name for node in graph.graph.output] == [OUTPUT]
    assert not any(tensor.external_data for tensor in graph.graph.initializer)


def test_a_row_scores_the_same_in_any_batch(model: FittedModel, split: Split) -> None:
    session = open_session(to_onnx(model, split.test.features.shape[1]))
    rows = split.test.features[:256].astype(np.float32)
    whole = session.run([OUTPUT], {INPUT: rows})[0]
    for size in (1, 3, 31, 32, 100):
        parts = [
            session.run([OUTPUT], {INPUT: rows[at : at + size]})[0] for at in range(0, 256, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_equal_arguments_give_an_equal_graph(model: FittedModel, split: Split) -> None:
    width = split.train.features.shape[1]
    again = fit_candidate(model.candidate.name, split.train.features, split.train.is_fraud)
    assert to_onnx(again, width) == to_onnx(model, width)


def test_another_graph_is_found_out(model: FittedModel, split: Split) -> None:
    width = split.train.features.shape[1]
    other = fit_candidate(
        model.candidate.name, split.validation.features, split.validation.is_fraud
    )
    report = check_parity(model, to_onnx(other, width), CALIBRATION, split.test.features)
    assert not report.is_equal


def test_importances_are_shares(model: FittedModel, split: Split) -> None:
    shares = model.importances()
    assert shares.shape == (split.train.features.shape[1],)
    assert shares.min() >= 0
    assert shares.sum() == pytest.approx(1.0)


def test_float32_neighbours_are_why_thresholds_are_rounded_down() -> None:
    # Neighbours in float32, two seconds apart; what lies between rounds up to the higher one.
    low, high = np.float32(31_622_398), np.float32(31_622_400)
    features = np.repeat([low, high], 100)[:, None]
    booster: Any = lightgbm.train(
        {"objective": "binary", "verbose": -1, "min_data_in_leaf": 1, "num_threads": 1},
        lightgbm.Dataset(features, np.repeat([0, 1], 100)),
        20,
    )
    narrow = with_narrow_thresholds(booster)
    np.testing.assert_array_equal(narrow.predict(features), booster.predict(features))
    model = dataclasses.replace(
        fit_candidate("lightgbm", np.ones((4, 1)), np.array([True, False] * 2)), estimator=narrow
    )
    onnx_bytes = to_onnx(model, 1)
    report = check_parity(model, onnx_bytes, CALIBRATION, features.astype(np.float64))
    assert report.max_difference < 1e-6
    naive = dataclasses.replace(model, estimator=booster)
    report = check_parity(naive, to_onnx(naive, 1), CALIBRATION, features.astype(np.float64))
    assert report.max_difference > 0.1


def test_subsampling_keeps_every_fraud() -> None:
    is_fraud = np.arange(1000) % 50 == 0
    rows = subsample(is_fraud, 100, seed=1)
    assert is_fraud[rows].sum() == 20
    assert len(rows) == 120
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, subsample(is_fraud, 100, seed=1))
    assert (rows.shape != subsample(is_fraud, 100, seed=2).shape) or (
        rows != subsample(is_fraud, 100, seed=2)
    ).any()
    assert len(subsample(is_fraud, 10_000, seed=1)) == 1000


def test_an_unknown_candidate_is_refused() -> None:
    with pytest.raises(ContractError, match="no candidate 'svm'"):
        fit_candidate("svm", np.ones((4, 1)), np.array([True, False] * 2))
