"""The whole loop on a small world: real Dagster, MLflow, PostgreSQL, lake and files."""

import dataclasses
import datetime as dt
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import numpy as np
import pytest
import yaml
from rich.console import Console

from bentos.scoring.bundle import read_bundle
from bentos.scoring.model import ScoringModel
from feature_store.lake import Lake
from fraud.domain.errors import NotFound
from fraud.ledger.deployments import current_deployment
from fraud.ledger.measurements import DRIFT, measurement_history
from fraud.ledger.pool import ConnectionPool, transaction
from fraud.settings import Settings, load_settings
from fraud.types.credit_card import CREDIT_CARD
from orchestration.assets import train
from orchestration.definitions import build_definitions
from orchestration.display import PipelineResult
from orchestration.drift_windows import LEAST_SERVED
from orchestration.pipeline import SourceChoice, run_pipeline
from orchestration.promotion.gates import GATES_FILE
from orchestration.resources import LedgerResource
from orchestration.sensors import ask_for_retraining
from orchestration.steps import StepEvent
from orchestration.training.candidates import CANDIDATES
from orchestration.training.train import train_candidate
from orchestration.workbench import Workbench
from tests.orchestration.mlflow_server import mlflow_server
from tests.orchestration.served_world import serve

pytestmark = pytest.mark.timeout(1000)

TODAY = dt.date(2026, 3, 10)
HISTORY_DAYS = 60
"""Enough for every span: 12 days of warm-up, 20 to learn from, 7 each to choose and report."""


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


@pytest.fixture(scope="module")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An instance on disk, as the webserver would read it."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("dagster")
        patch.setenv("DAGSTER_HOME", str(home))
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        yield home


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, ledger_url: str, mlflow_uri: str
) -> Settings:
    folder = tmp_path_factory.mktemp("run")
    gates = yaml.safe_load(GATES_FILE.read_text())
    gates["offline"]["quality"]["margin"] = 0.15  # few frauds tell two models apart
    (folder / "gates.yaml").write_text(yaml.safe_dump(gates))
    return load_settings(
        run_dir=folder,
        gates_file=folder / "gates.yaml",
        database_url=ledger_url,
        mlflow_tracking_uri=mlflow_uri,
        history_days=HISTORY_DAYS,
        # At this size the four candidates train in seconds and every span holds frauds.
        simulator_customers=400,
        simulator_merchants=800,
    )


@dataclasses.dataclass
class Told:
    """A run, what it printed, and what it told its listener."""

    result: PipelineResult
    printed: str
    events: list[StepEvent]


def run(settings: Settings, **options: Any) -> Told:
    shown = io.StringIO()
    events: list[StepEvent] = []
    result = run_pipeline(
        settings,
        "credit_card",
        today=TODAY,
        console=Console(file=shown, width=120),
        on_event=events.append,
        **options,
    )
    return Told(result, shown.getvalue(), events)


@pytest.fixture(scope="module")
def first_run(settings: Settings, dagster_home: Path) -> Told:
    told = run(settings)
    assert told.result.success, told.printed
    return told


def materialized(asset: str) -> dg.AssetMaterialization:
    with dg.DagsterInstance.get() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["credit_card", asset]))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with transaction(url) as cursor:
        cursor.execute(query)
        return cursor.fetchall()


# --- one run ------------------------------------------------------------------------------------


def test_every_step_is_shown_with_its_time_and_counts(first_run: Told) -> None:
    done = {event.step for event in first_run.events if event.kind == "done"}
    assert done >= {"transactions", "labels", "online_state", "champion", "drift_report"}
    assert done >= set(CANDIDATES)
    assert "60 days, 2026-01-09 to 2026-03-09" in first_run.printed
    assert "rows quarantined 0" in first_run.printed
    assert first_run.printed.rstrip().splitlines()[-1].startswith("Done after")
    whole = first_run.result.log.read_text()
    assert "RUN_SUCCESS" in whole
    assert "STEP_START" not in first_run.printed, "the long log belongs into the file"


def test_one_run_covers_every_day(first_run: Told, settings: Settings) -> None:
    key = dg.AssetKey(["credit_card", "transactions"])
    days = [str(TODAY - dt.timedelta(days=back)) for back in range(HISTORY_DAYS, 0, -1)]
    with dg.DagsterInstance.get() as instance:
        assert sorted(instance.get_materialized_partitions(key)) == days
        (only,) = instance.get_runs()
    assert (only.run_id, only.job_name) == (first_run.result.run_id, "credit_card_pipeline")
    lake = Lake(settings.lake_url)
    assert [str(day) for day in lake.days(CREDIT_CARD)] == days
    events = lake.events(CREDIT_CARD)
    metadata = materialized("transactions").metadata
    assert metadata["rows_in"].value == metadata["rows_accepted"].value == len(events)
    last_day = events["observed_at"].dt.date.astype(str).value_counts()[days[-1]]
    assert metadata["dagster/partition_row_count"].value == last_day


def test_the_deployed_bundle_verifies_and_scores(first_run: Told, settings: Settings) -> None:
    with transaction(settings.database_url or "") as cursor:
        deployment = current_deployment(cursor, "credit_card")
    assert deployment is not None
    folder = settings.bundle_dir / deployment.bundle_path
    bundle = read_bundle(folder, settings.verify_key_pem, CREDIT_CARD)
    assert bundle.digest == deployment.bundle_digest
    features = np.zeros((3, len(CREDIT_CARD.feature_names)))
    assert ((p := ScoringModel(bundle).probabilities(features)) > 0).all()
    assert (p < 1).all()
    client = mlflow.MlflowClient(settings.mlflow_tracking_uri)
    registered = client.get_model_version_by_alias("fraud-credit_card", "champion")
    assert registered.run_id == deployment.mlflow_run_id
    assert deployment.reason in " ".join(
        Workbench(settings, CREDIT_CARD).take_decision().verdict.reasons
    )


def test_every_candidate_has_a_row_and_a_run(first_run: Told, settings: Settings) -> None:
    found = rows(
        settings.database_url or "",
        "SELECT model_type, mlflow_run_id, model_version IS NOT NULL FROM model_performance",
    )
    assert {kind for kind, _, _ in found} == set(CANDIDATES)
    assert [kind for kind, _, is_winner in found if is_winner] == [
        first_run.result.metadata["champion"]["winner"]
    ]
    client = mlflow.MlflowClient(settings.mlflow_tracking_uri)
    for kind, run_id, _ in found:
        page = materialized(kind).metadata["mlflow_run"].value
        assert str(page).endswith(f"/runs/{run_id}")
        assert "test/average_precision" in client.get_run(run_id).data.metrics


def test_metadata_hold_what_a_person_wants_to_see(first_run: Told) -> None:
    champion = materialized("champion").metadata
    assert "| **" in str(champion["candidates"].value), "the winner stands out in the table"
    assert "# " in str(champion["model_card"].value)
    candidate = materialized("lightgbm").metadata
    for name in ("precision_recall", "calibration", "importances"):
        assert str(candidate[name].value).startswith(f"![{name}](data:image/png;base64,")
    assert materialized("online_state").metadata["dagster/row_count"].value
    frame = materialized("training_frame").metadata
    assert f"| {CREDIT_CARD.feature_names[0]} |" in str(frame["distributions"].value)


def test_the_drift_report_is_kept_on_disk_and_in_mlflow(
    first_run: Told, settings: Settings
) -> None:
    metadata = materialized("drift_report").metadata
    page = Path(str(metadata["report_file"].value))
    assert page.is_relative_to(settings.run_dir / "reports" / "credit_card")
    content = json.loads(page.with_name("drift.json").read_text())
    assert "fraud_probability" in content["distances"]
    assert "user_device_count" not in content["distances"], "lifetimes grow with the log"
    run_id = str(metadata["report"].value).split("/runs/")[1].split("/")[0]
    client = mlflow.MlflowClient(settings.mlflow_tracking_uri)
    assert {file.path for file in client.list_artifacts(run_id)} == {
        *("drift.html", "drift.json", "data_quality.html")
    }


def test_the_review_looks_at_matured_weeks(first_run: Told) -> None:
    table = str(materialized("performance_review").metadata["weeks"].value)
    weeks = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    # Labels take seven days, so the last week that counts ended seven days before today.
    assert weeks[-1] == str(TODAY - dt.timedelta(days=14))
    assert len(weeks) == 4


# --- further runs -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second_run(first_run: Told, settings: Settings) -> Told:
    """The same days once more, from what is in the lake, with time for one trial each."""
    before = Lake(settings.lake_url).events(CREDIT_CARD)
    told = run(settings, source=SourceChoice(kind="lake"), search_seconds=0.1)
    assert told.result.success, told.printed
    assert Lake(settings.lake_url).events(CREDIT_CARD).equals(before)
    return told


def test_a_search_is_told_of_and_leaves_a_journal(second_run: Told, settings: Settings) -> None:
    metadata = materialized("lightgbm").metadata
    assert metadata["search_trials"].value == 1
    assert metadata["search_average_precision"].value == metadata["search_initial"].value
    assert (settings.run_dir / "search" / "credit_card.journal").is_file()


def test_a_rerun_compares_with_the_champion_that_serves(
    second_run: Told, settings: Settings
) -> None:
    verdict = Workbench(settings, CREDIT_CARD).take_decision().verdict
    assert verdict.running_version.startswith("credit_card-")
    assert verdict.is_promoted, "equal data, equal model: within the margin"
    assert second_run.result.metadata["transactions"]["source"] == "lake"
    assert len(rows(settings.database_url or "", "SELECT 1 FROM deployments")) == 2


def test_a_graph_that_strays_from_its_model_is_never_deployed(
    second_run: Told, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every candidate's graph is off by a thousandth: the blocking check must stop the run."""

    def strayed(*arguments: Any, **options: Any) -> Any:
        trained = train_candidate(*arguments, **options)
        parity = dataclasses.replace(trained.parity, max_difference=1e-3)
        return dataclasses.replace(trained, parity=parity)

    monkeypatch.setattr(train, "train_candidate", strayed)
    before = rows(settings.database_url or "", "SELECT id FROM deployments")
    told = run(settings, source=SourceChoice(kind="lake"))
    assert not told.result.success
    assert "champion: onnx_parity" in told.result.failed_checks
    assert "check onnx_parity does not hold" in told.printed
    assert rows(settings.database_url or "", "SELECT id FROM deployments") == before
    assert "deployed_bundle" not in told.result.metadata


def test_one_more_day_brings_log_and_state_up_to_it(
    second_run: Told, settings: Settings, dagster_home: Path
) -> None:
    tomorrow = TODAY + dt.timedelta(days=1)
    job = build_definitions(settings, tomorrow).resolve_job_def("credit_card_daily_ingest")
    with dg.DagsterInstance.get() as instance:
        done = job.execute_in_process(instance=instance, partition_key=str(TODAY))
    assert done.success
    assert Lake(settings.lake_url).days(CREDIT_CARD)[-1] == TODAY
    metadata = materialized("online_state").metadata
    assert (metadata["first_day"].value, metadata["last_day"].value) == ("2026-01-09", str(TODAY))


def test_what_is_served_drifts_and_retraining_is_asked_for(
    first_run: Told, settings: Settings, dagster_home: Path, ledger_url: str
) -> None:
    now = dt.datetime.now(dt.UTC)
    pool = ConnectionPool(ledger_url, size=1)
    # These features have nothing to do with those of the simulator's world.
    serve(pool, now, LEAST_SERVED, age=dt.timedelta(hours=1))
    job = build_definitions(settings, TODAY).resolve_job_def("credit_card_monitoring")
    with dg.DagsterInstance.get() as instance:
        assert job.execute_in_process(instance=instance).success
    with pool.transaction() as cursor:
        [found] = measurement_history(cursor, "credit_card", DRIFT, limit=1)
    pool.close()
    assert found.values["served"] == 1
    assert found.decisions == LEAST_SERVED
    assert found.values["drifted_share"] > 0.3
    metadata = materialized("drift_report").metadata
    assert str(metadata["current_rows"].value) == f"{LEAST_SERVED} of {LEAST_SERVED}"
    asked = ask_for_retraining(LedgerResource(settings=settings), settings, CREDIT_CARD, now)
    assert isinstance(asked, dg.RunRequest)
    assert "of the features drifted" in asked.tags["fraud/why"]


def test_retraining_by_the_calendar_uses_the_whole_log(
    second_run: Told, settings: Settings, dagster_home: Path
) -> None:
    job = build_definitions(settings, TODAY).resolve_job_def("credit_card_retraining")
    with dg.DagsterInstance.get() as instance:
        done = job.execute_in_process(instance=instance)
    assert done.success
    days = Lake(settings.lake_url).days(CREDIT_CARD)
    frame = materialized("training_frame").metadata
    assert (frame["first_day"].value, frame["last_day"].value) == (str(days[0]), str(days[-1]))


def test_a_failing_step_is_named_in_one_sentence(settings: Settings, tmp_path: Path) -> None:
    choice = SourceChoice(kind="file", path=tmp_path / "gone.csv", mapping=tmp_path / "gone.yaml")
    told = run(settings, source=choice)
    assert not told.result.success
    assert "transactions: The mapping" in told.result.failure
    assert "gone.yaml cannot be read" in told.result.failure
    assert "Traceback" not in told.printed
    assert f"The whole log: {told.result.log}" in told.printed


@pytest.mark.parametrize(
    "days",
    [
        {"first": TODAY, "last": TODAY},
        {"first": dt.date(2026, 3, 5), "last": dt.date(2026, 3, 4)},
    ],
)
def test_a_range_without_a_complete_day_is_refused(
    settings: Settings, days: dict[str, dt.date]
) -> None:
    with pytest.raises(NotFound, match="There is no complete day"):
        run(settings, **days)


def test_a_file_is_trained_on_like_any_source(
    new_ledger: Callable[[], str], mlflow_uri: str, tmp_path: Path, settings: Settings
) -> None:
    """The simulated log, written to a file under other names, in an installation of its own."""
    events = Lake(settings.lake_url).events(CREDIT_CARD, last=TODAY - dt.timedelta(days=1))
    labels = Lake(settings.lake_url).labels(CREDIT_CARD).query("is_fraud")
    events["bad"] = events["transaction_id"].isin(labels["transaction_id"]).astype(int)
    events["price"] = events["amount_minor"] / 100
    events.drop(columns=["seq", "amount_minor"]).to_parquet(tmp_path / "shop.parquet")
    (tmp_path / "shop.yaml").write_text(
        "transaction: {transaction_id: transaction_id, timestamp: event_time, amount: price,\n"
        "  user_id: user_id, merchant_id: merchant_id, merchant_category: merchant_category}\n"
        "label: {is_fraud: bad, report_delay: 3d}\n"
    )
    own = load_settings(
        run_dir=tmp_path / "run",
        database_url=new_ledger(),
        mlflow_tracking_uri=mlflow_uri,
        history_days=5,
    )
    first = dt.date(2026, 1, 9)
    told = run(
        own,
        first=first,
        source=SourceChoice(
            kind="file", path=tmp_path / "shop.parquet", mapping=tmp_path / "shop.yaml"
        ),
    )
    assert told.result.success, told.printed
    assert told.result.metadata["transactions"]["rows_accepted"] == len(events)
    assert told.result.metadata["labels"]["labels_accepted"] == int(
        events["bad"][events["event_time"].dt.date < TODAY - dt.timedelta(days=3)].sum()
    )
