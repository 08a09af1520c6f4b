"""The whole loop of every fraud type, then one service that scores them all."""

import datetime as dt
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fraud.settings import Settings, load_settings
from fraud.types.registry import fraud_types
from orchestration.pipeline import run_every_pipeline
from orchestration.sources.simulated import SIMULATORS
from tests.bentos.fraud_detector.detector import Detector, running
from tests.orchestration.mlflow_server import mlflow_server

pytestmark = pytest.mark.timeout(1800)

TODAY = dt.date(2026, 3, 10)
SHOWN_ABOVE_CHANCE = 0.75
"""ROC AUC that any model of these worlds reaches on the test days."""


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, new_ledger: Callable[[], str], mlflow_uri: str
) -> Settings:
    return load_settings(
        run_dir=tmp_path_factory.mktemp("run"),
        database_url=new_ledger(),
        mlflow_tracking_uri=mlflow_uri,
        simulator_customers=400,
        simulator_merchants=800,
    )


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Detector]:
    """A service on what the pipelines of all types have deployed."""
    printed = io.StringIO()
    results = run_every_pipeline(settings, today=TODAY, console=Console(file=printed, width=120))
    assert set(results) == set(fraud_types())
    for name, result in results.items():
        assert result.success, printed.getvalue()
        lightgbm = result.metadata["lightgbm"]
        assert float(str(lightgbm["roc_auc"])) > SHOWN_ABOVE_CHANCE, (name, lightgbm)
        assert f"{name:<20}" in printed.getvalue()
    with running(Path(settings.run_dir), settings.database_url or "") as started:
        started.look()
        yield started


def simulated(settings: Settings, name: str, day: dt.date) -> pd.DataFrame:
    """Transactions of a day the pipeline has not seen."""
    source = SIMULATORS[name](settings, TODAY - dt.timedelta(days=settings.history_days))
    [batch] = source.batches(day, day)
    return batch.transactions


@pytest.mark.parametrize("name", sorted(fraud_types()))
def test_the_deployed_model_scores_tomorrows_transactions(
    served: Detector, settings: Settings, name: str
) -> None:
    rows = simulated(settings, name, TODAY).head(50).drop(columns="observed_at")
    rows["timestamp"] = rows["timestamp"].map(lambda moment: moment.isoformat())
    bodies = [
        {"fraud_type": name}
        | {field: value for field, value in row.items() if value is not None and value == value}
        for row in rows.to_dict("records")
    ]
    answer = served.client.post("/batch-predict", json={"transactions": bodies})
    assert answer.status_code == 200, answer.text
    predictions = answer.json()["predictions"]
    assert len(predictions) == len(bodies) > 5
    assert {each["model_version"].rsplit("-", 2)[0] for each in predictions} == {name}
    assert not any(each["degraded"] for each in predictions)
    scores = np.array([each["fraud_probability"] for each in predictions])
    assert np.ptp(scores) > 0, "it looks at what it is given"
    assert np.median(scores) < 0.2, "most of them are genuine"
