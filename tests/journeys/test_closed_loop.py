"""The closed loop: a feed drifts, and two months later a better model answers, by itself.

Real are the service (over HTTP), Dagster (sensors evaluated on its instance, their requests run),
MLflow, PostgreSQL and Prometheus with the rules as they are shipped; only the interval at which
these are evaluated is shorter. Days pass because the clock of this process is moved: no waiting
time, maturity or backoff of the product is changed. Smaller than in life are the shop (some 400
payments a day), the kinds of model compared, and the decisions that a stage asks for. What was
mended is taken into the states as well, or the gate on skew would rightly stop the next model.
"""

import datetime as dt
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import dagster as dg
import pandas as pd
import pytest
import time_machine
import yaml

from feature_store.lake import Lake
from fraud.ledger.measurements import Measurement
from fraud.settings import Settings, load_settings
from fraud.types.credit_card import CREDIT_CARD
from orchestration.drift_windows import SCORE
from orchestration.partitions import range_tags
from orchestration.promotion.gates import GATES_FILE
from orchestration.sources.simulator.credit_card import CreditCardSimulation
from orchestration.sources.simulator.drift import Drift, DriftKind
from orchestration.training.candidates import CANDIDATES
from orchestration.workbench import Workbench
from tests.bentos.fraud_detector.detector import Detector, running
from tests.journeys.closed_loop import (
    Alarm,
    Dagster,
    Feed,
    Record,
    Story,
    metrics_token,
    midnight,
    until,
)
from tests.orchestration.mlflow_server import mlflow_server
from tests.prometheus_server import prometheus
from tests.servers import temporary_run_dir

pytestmark = pytest.mark.timeout(1800)

HISTORY_DAYS = 150
"""Enough for every window to be full where training looks: 30 days of warm-up, 14 to choose by."""

BEGIN = dt.date(2026, 1, 1)
OPENING = BEGIN + dt.timedelta(days=HISTORY_DAYS)
DRIFT_FROM = OPENING + dt.timedelta(days=7)
SIZES = {"seed": 3, "customers": 200}
"""Of this world both the calm and the drifted weeks hold enough fraud to judge a model by."""

NOTICED_WITHIN = 1_000
"""Decisions from the first drifted one until report and alert say so."""

LEAST = 300
"""Decisions a stage asks for: less than this shop makes in a day."""

WAITS_DAYS = 36
"""7 days of maturity and twice 14 of validation and test, and one more as no day is empty."""

COMPARED = {"lightgbm"}
"""One of the kinds of model, and the quickest."""

RECORD = os.environ.get("FRAUD_LOOP_RECORD")
"""A folder that keeps what `make loop-picture` draws."""

RULES = Path(__file__).parents[2] / "dashboards" / "prometheus" / "rules.yml"


@pytest.fixture(scope="module")
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(midnight(OPENING), tick=True) as traveller:
        yield traveller


@pytest.fixture(scope="module")
def settings(
    new_ledger: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
    clock: time_machine.Traveller,
) -> Iterator[Settings]:
    gates = yaml.safe_load(GATES_FILE.read_text())
    for stage in ("shadow", "canary"):
        gates["stages"][stage]["least_decisions"] = LEAST
    gates["offline"]["most_latency_ms"] = 2_000.0  # other tests share this machine
    gates["live"]["most_latency_ms"] = 2_000.0
    gates["live"]["most_alert_ratio"] = 8.0  # amounts that double make the old champion cry wolf
    folder = tmp_path_factory.mktemp("loop")
    (folder / "gates.yaml").write_text(yaml.safe_dump(gates))
    with mlflow_server(folder) as uri, temporary_run_dir() as run_dir:
        yield load_settings(
            run_dir=run_dir,
            database_url=new_ledger(),
            mlflow_tracking_uri=uri,
            gates_file=folder / "gates.yaml",
            source="lake",
            history_days=HISTORY_DAYS,
            simulator_seed=SIZES["seed"],
            simulator_customers=SIZES["customers"],
            simulator_merchants=2 * SIZES["customers"],
        )


@pytest.fixture(scope="module")
def dagster(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("dagster")
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        patch.setenv("DAGSTER_HOME", str(home))
        compared = {name: CANDIDATES[name] for name in COMPARED}
        with (
            mock.patch.dict(CANDIDATES, compared, clear=True),  # puts them back in their order
            dg.DagsterInstance.get() as instance,
        ):
            yield Dagster(settings, instance, OPENING)


@pytest.fixture(scope="module")
def history(dagster: Dagster) -> None:
    """The platform before it opens: five months of history, and the model that was taught it."""
    shown = ("transactions", "labels", "online_state", "training_frame", *CANDIDATES)
    assets = [dg.AssetKey([CREDIT_CARD.name, name]) for name in (*shown, "champion")]
    done = dagster.run(
        "pipeline",
        tags=range_tags(BEGIN, OPENING - dt.timedelta(days=1)),
        run_config={"resources": {"source": {"config": {"kind": "simulator"}}}},
        asset_selection=[*assets, dg.AssetKey([CREDIT_CARD.name, "deployed_bundle"])],
    )
    assert done.success


@pytest.fixture(scope="module")
def detector(settings: Settings, history: None) -> Iterator[Detector]:
    url = settings.database_url or ""
    limits = {"rate_per_client": 1e6, "burst_per_client": 1_000_000}
    with running(settings.run_dir, url, **limits) as service:
        yield service


@pytest.fixture(scope="module")
def feed(clock: time_machine.Traveller, detector: Detector) -> Feed:
    drift = Drift(DriftKind.AMOUNT_INFLATION, start=DRIFT_FROM, strength=1.0)
    merchants = 2 * SIZES["customers"]
    world = CreditCardSimulation(BEGIN, HISTORY_DAYS, merchants=merchants, drift=drift, **SIZES)
    return Feed(world, clock, detector, OPENING)


@pytest.fixture(scope="module")
def alarm(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alarm]:
    folder = tmp_path_factory.mktemp("prometheus")
    target = detector.url.removeprefix("http://")
    with prometheus(folder, target, metrics_token(detector), rules=RULES) as url:
        yield Alarm(url)


@pytest.fixture(scope="module")
def record(settings: Settings) -> Record:
    return Record(settings.database_url or "")


def test_the_loop_closes(
    settings: Settings,
    dagster: Dagster,
    feed: Feed,
    alarm: Alarm,
    record: Record,
    tmp_path: Path,
) -> None:
    story = Story(tmp_path if RECORD is None else Path(RECORD))
    [(first, *_)] = record.steps()
    a_calm_week(dagster, feed, alarm, record)
    drift_is_noticed(dagster, feed, alarm, story)
    a_bad_challenger_is_stopped(settings, dagster, feed, record, story)
    retraining_waits_for_the_truth(dagster, feed)
    decayed = what_drift_did(dagster, feed, record, first)
    second = a_good_challenger_takes_over(dagster, feed, record, story)
    recovered = two_weeks_later(dagster, feed, record, second)
    assert recovered.values["precision"] > 2 * decayed.values["precision"]
    assert recovered.values["accuracy"] > decayed.values["accuracy"] + 0.03
    assert recovered.values["average_precision"] > decayed.values["average_precision"]
    assert record.steps()[-1][:2] == (second, "champion"), "nothing speaks against it"
    story.keep(record.decisions())


def a_calm_week(dagster: Dagster, feed: Feed, alarm: Alarm, record: Record) -> None:
    feed.days(7)
    [report] = dagster.tick("monitoring")
    assert report.success
    assert dagster.told("drift_report")["drifted"] == "none"
    alarm.sees("fraud_drifted_features", [0.0])
    assert not alarm.is_firing("FeaturesDrifted")
    assert dagster.tick("retraining") == []
    assert dagster.skipped == "Fine."


def drift_is_noticed(dagster: Dagster, feed: Feed, alarm: Alarm, story: Story) -> None:
    """Amounts double from one day to the next."""
    story.note("drift begins")
    while not dagster.tick("monitoring"):
        feed.days(1)
        assert feed.since(DRIFT_FROM) <= NOTICED_WITHIN
    drifted = dagster.told("drift_report")["drifted"].split(", ")
    assert "amount" in drifted
    assert all("amount" in name for name in drifted if name != SCORE), "nothing else changed"
    until(lambda: alarm.is_firing("FeaturesDrifted"), "the alert does not fire")
    story.note("alert")


def retraining_is_asked_for(dagster: Dagster) -> dg.ExecuteInProcessResult:
    """Once the scores have moved as well; what is asked for is run."""
    assert len(dagster.tick("monitoring")) == 1
    [retraining] = dagster.tick("retraining")
    assert "drifted" in retraining.dagster_run.tags["fraud/why"]
    return retraining


def a_bad_challenger_is_stopped(
    settings: Settings, dagster: Dagster, feed: Feed, record: Record, story: Story
) -> None:
    """The bank's file of older labels was joined to the wrong payments, until it is mended."""
    feed.days(5)
    dagster.nights(OPENING, feed.today - dt.timedelta(days=1), BEGIN)
    last = OPENING - dt.timedelta(days=1)
    dagster.ingest_labels(BEGIN, last, **misjoined(Lake(settings.lake_url), story.folder))
    retraining = retraining_is_asked_for(dagster)
    assert retraining.success
    story.note("bad challenger stopped")
    dagster.ingest_labels(BEGIN, last, kind="simulator")
    dagster.nights(OPENING, feed.today - dt.timedelta(days=1), BEGIN)
    verdict = Workbench(settings, CREDIT_CARD).take_decision().verdict
    assert not verdict.is_promoted
    assert "quality" in {gate.gate for gate in verdict.gates if not gate.passed}, verdict.reasons
    assert len(record.steps()) == 1, "it never came near a payment"


def misjoined(lake: Lake, folder: Path) -> dict[str, str]:
    """The frauds of the history as a file; those before the test days on the next payment."""
    events = lake.events(CREDIT_CARD, last=OPENING - dt.timedelta(days=1))
    labels = lake.labels(CREDIT_CARD)
    frauds = events["transaction_id"].isin(labels["transaction_id"][labels["is_fraud"]])
    is_old = events["event_time"] < midnight(OPENING - dt.timedelta(days=7))
    wrong = frauds.where(~is_old, frauds.shift(1, fill_value=False))
    rows = events.loc[wrong, ["transaction_id", "event_time", "amount_minor"]]
    path, mapping = folder / "labels.csv", folder / "labels.yaml"
    pd.DataFrame(
        {
            "id": rows["transaction_id"],
            "at": rows["event_time"].map(dt.datetime.isoformat),
            "usd": rows["amount_minor"] / 100,
            "fraud": 1,
        }
    ).to_csv(path, index=False)
    mapping.write_text(
        "transaction: {transaction_id: id, timestamp: at, amount: usd, user_id: {constant: u},\n"
        "  merchant_id: {constant: m}, merchant_category: {constant: fuel}}\n"
        "label: {is_fraud: fraud, report_delay: 3d}\n"
    )
    return {"kind": "file", "path": str(path), "mapping": str(mapping)}


def retraining_waits_for_the_truth(dagster: Dagster, feed: Feed) -> None:
    """A maturity and the days of validation and test: until then it would learn nothing new."""
    feed.days(WAITS_DAYS - 2)
    assert dagster.tick("retraining") == []
    assert "not before" in dagster.skipped
    feed.days(2)


def what_drift_did(dagster: Dagster, feed: Feed, record: Record, first: str) -> Measurement:
    """More than every second alert that was right is a false one by now."""
    feed.until(midnight(feed.today) + dt.timedelta(hours=1))
    [report] = dagster.tick("monitoring")
    assert report.success
    decisions, decayed = record.decisions(), record.quality(first)
    calm = precision(decisions[decisions["moment"] < midnight(DRIFT_FROM)])
    assert decayed.values["precision"] < 0.6 * calm
    assert decayed.decisions >= 5_000
    return decayed


def a_good_challenger_takes_over(dagster: Dagster, feed: Feed, record: Record, story: Story) -> str:
    dagster.nights(DRIFT_FROM, feed.today - dt.timedelta(days=1), BEGIN)
    [retraining] = dagster.tick("retraining")
    assert retraining.success
    version, stage, *_ = record.steps()[-1]
    assert stage == "shadow", dagster.told("champion")["reasons"]
    story.note("challenger in shadow")
    while record.steps()[-1][1] != "champion":
        until(lambda: record.is_served(feed.detector), "the service obeys no step")
        feed.days(1)
        feed.until(record.steps()[-1][3] + dt.timedelta(days=1, minutes=1))
        dagster.tick("live_gates")
        assert not dagster.skipped, dagster.skipped
        found = dagster.told("live_gates")
        assert found["action"] == "promoted", found["what"]
    assert [(stage, share) for _, stage, share, _ in record.steps()[1:]] == [
        ("shadow", 0.0),
        *(("canary", share) for share in (0.05, 0.25, 0.5)),
        ("champion", 0.0),
    ]
    assert {step[0] for step in record.steps()[1:]} == {version}
    until(lambda: record.is_served(feed.detector), "the service obeys no step")
    story.note("challenger takes over")
    return version


def two_weeks_later(dagster: Dagster, feed: Feed, record: Record, second: str) -> Measurement:
    feed.days(14)
    [report] = dagster.tick("monitoring")
    assert report.success
    recovered = record.quality(second)
    assert recovered.decisions >= 2_000
    dagster.tick("live_gates")
    return recovered


def precision(decisions: pd.DataFrame) -> float:
    """The share of fraud in what was not approved."""
    return float(decisions.loc[decisions["action"] != "approve", "is_fraud"].mean())
