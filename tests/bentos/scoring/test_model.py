import numpy as np
import pytest

from bentos.scoring.bundle import Bundle
from bentos.scoring.manifest import Calibration
from bentos.scoring.model import EDGE, ScoringModel
from fraud.domain.errors import BundleError, ContractError
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.scoring.builders import a_graph, a_manifest

WIDTH = len(CREDIT_CARD.feature_names)


def a_model(onnx_bytes: bytes | None = None, **changes: object) -> ScoringModel:
    graph = a_graph(WIDTH) if onnx_bytes is None else onnx_bytes
    return ScoringModel(Bundle(a_manifest(graph, **changes), graph, "d" * 64))


def some_rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, WIDTH))


def test_probabilities_are_the_calibrated_sigmoid() -> None:
    rows = some_rows(50)
    narrow = rows.astype(np.float32).astype(np.float64)
    inner = narrow @ (0.1 * np.linspace(-1, 1, WIDTH)) + narrow[:, 0] * narrow[:, 1]
    raw = 1 / (1 + np.exp(-inner))
    raw = 1e-6 + (1 - 2e-6) * raw
    margin = 0.9 * np.log(raw / (1 - raw)) - 1.5
    model = a_model()
    # 1e-5: the graph computes in float32.
    np.testing.assert_allclose(model.margins(rows), margin, atol=1e-5)
    np.testing.assert_allclose(model.probabilities(rows), 1 / (1 + np.exp(-margin)), atol=1e-5)
    assert model.version == "credit_card-test-1"


def test_probabilities_stay_inside_the_open_interval() -> None:
    rows = np.zeros((2, WIDTH))
    rows[0, :2], rows[1, :2] = (1e6, 1e6), (1e6, -1e6)
    steep = a_model(calibration=Calibration(a=50.0, b=0.0, squeeze=1e-6))
    assert steep.probabilities(rows).tolist() == [1 - EDGE, EDGE]


def test_an_empty_batch_has_no_probabilities() -> None:
    assert a_model().probabilities(np.empty((0, WIDTH))).shape == (0,)


@pytest.mark.parametrize("size", [1, 2, 7, 32])
def test_a_row_scores_the_same_in_any_batch(size: int) -> None:
    rows = some_rows(64)
    model = a_model()
    whole = model.probabilities(rows)
    parts = [model.probabilities(rows[at : at + size]) for at in range(0, 64, size)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_contributions_add_up() -> None:
    model = a_model()
    for row in some_rows(20):
        base, shares = model.contributions(row)
        assert base == model.margins(np.zeros((1, WIDTH)))[0]
        assert abs(base + shares.sum() - model.margins(row[None])[0]) < 1e-9
        again_base, again = model.contributions(row)
        assert again_base == base
        np.testing.assert_array_equal(again, shares)


def test_contributions_are_shapley_values_of_a_pairwise_model() -> None:
    # With only pairwise interactions an order and its reverse give the exact Shapley value:
    # each partner of a product gets half of it.
    model = a_model(calibration=Calibration(a=1.0, b=0.0, squeeze=1e-12))
    row = np.zeros(WIDTH)
    row[0], row[1], row[5] = 2.0, -1.0, 3.0
    _, shares = model.contributions(row)
    linear = 0.1 * np.linspace(-1, 1, WIDTH) * row
    expected = linear.copy()
    expected[:2] += row[0] * row[1] / 2
    np.testing.assert_allclose(shares, expected, atol=1e-5)  # float32 graph
    assert shares[7] == 0.0  # a feature at its baseline is owed nothing


def test_contributions_count_from_the_baseline() -> None:
    baseline = tuple(np.linspace(0, 1, WIDTH).tolist())
    model = a_model(baseline=baseline)
    _, shares = model.contributions(np.array(baseline))
    np.testing.assert_array_equal(shares, np.zeros(WIDTH))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_values_that_are_not_finite_are_refused_by_name(value: float) -> None:
    rows = some_rows(3)
    rows[1, 0] = value
    with pytest.raises(ContractError, match="not finite numbers: amount"):
        a_model().probabilities(rows)


def test_another_width_is_refused() -> None:
    with pytest.raises(ContractError, match="shape"):
        a_model().probabilities(np.zeros((1, WIDTH + 1)))
    with pytest.raises(ContractError, match="shape"):
        a_model().probabilities(np.zeros(WIDTH))


def test_a_graph_of_another_shape_is_refused() -> None:
    for graph in (a_graph(WIDTH - 1), a_graph(WIDTH, input_name="x")):
        with pytest.raises(BundleError, match="does not take float32 'features'"):
            a_model(graph)


def test_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(BundleError, match="cannot load the graph"):
        a_model(b"not a graph")
