"""XGBoost and LightGBM fitted on a frame by two real Dask workers."""

import datetime as dt
from collections.abc import Iterator

import distributed
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from feature_store.building import build_dataset
from feature_store.dataset import FrameDataset
from feature_store.distributed import DaskEngine, connected
from feature_store.schema import from_arrow
from fraud.domain.errors import ContractError
from fraud.domain.event import from_us
from fraud.domain.windows import DAY_US
from fraud.types.credit_card import CREDIT_CARD
from orchestration.training.candidates import fit_candidate
from orchestration.training.distributed import Span, fit_distributed
from orchestration.training.split import temporal_split
from tests.dask_cluster import a_cluster
from tests.feature_store.lakes import a_plain_lake
from tests.feature_store.worlds import START

pytestmark = pytest.mark.timeout(600)

FIRST = from_us(START // DAY_US * DAY_US)
DAYS = 20


@pytest.fixture(scope="module")
def frame_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("frame"))


@pytest.fixture(scope="module")
def client(
    frame_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[distributed.Client]:
    lake = a_plain_lake(str(tmp_path_factory.mktemp("lake")), rows=40_000, days=DAYS)
    with a_cluster(tmp_path_factory.mktemp("dask")) as cluster, connected(cluster.address) as found:
        build_dataset(CREDIT_CARD, lake.url, frame_url, engine=DaskEngine(found))
        yield found


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_workers_fit_a_model_as_good_as_one_process_does(
    name: str, client: distributed.Client, frame_url: str
) -> None:
    dataset = FrameDataset(frame_url)
    labels = from_arrow(next(dataset.label_tables()))
    split = temporal_split(
        *(dataset.frame(), labels, CREDIT_CARD),
        cutoff=FIRST + dt.timedelta(days=DAYS + 8),
        train_days=6,
        validation_days=2,
        test_days=4,
    )
    train, test = split.train, split.test
    span = Span(train.start, train.end, train.known_as_of)
    found = fit_distributed(name, client, frame_url, span)
    alone = fit_candidate(name, train.features, train.is_fraud)
    assert (found.fitted_rows, found.genuine_share) == (len(train), 1.0)
    scores, wanted = (model.probabilities(test.features) for model in (found, alone))
    auc, auc_alone = (roc_auc_score(test.is_fraud, each) for each in (scores, wanted))
    # A tenth of the large amounts and 0.2 % of the others are fraud: at best about 0.88.
    assert auc > 0.8
    assert abs(auc - auc_alone) < 0.02
    assert np.corrcoef(scores, wanted)[0, 1] > 0.9, "close, as neither library promises equality"
    assert found.importances().argmax() == CREDIT_CARD.feature_names.index("amount")


def test_a_span_without_known_fraud_is_refused(client: distributed.Client, frame_url: str) -> None:
    span = Span(FIRST - dt.timedelta(days=9), FIRST, FIRST)
    with pytest.raises(ContractError, match="holds 0 events of known truth, 0 of them fraud"):
        fit_distributed("xgboost", client, frame_url, span)


def test_a_candidate_without_a_dask_interface_is_refused(
    client: distributed.Client, frame_url: str
) -> None:
    span = Span(FIRST, FIRST, FIRST)
    with pytest.raises(ContractError, match="'random_forest' has no Dask interface"):
        fit_distributed("random_forest", client, frame_url, span)
