"""What the closed loop needs around it: days that pass, a feed, Dagster's hands, and a memory."""

import datetime as dt
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pandas as pd
import time_machine

from fraud.domain.event import from_us
from fraud.ledger.measurements import LIVE_QUALITY, Measurement, measurement_history
from fraud.ledger.pool import transaction
from fraud.settings import Settings
from fraud.types.credit_card import CREDIT_CARD
from orchestration.definitions import build_definitions, resources
from orchestration.partitions import range_tags
from orchestration.sources.simulator.credit_card import CreditCardSimulation, simulate_days
from tests.bentos.fraud_detector.detector import Detector, a_token
from tests.prometheus_server import ask

KIND = CREDIT_CARD.name
PARTS = 4
"""Portions in which a day's feed is sent; the clock stands at the end of each."""

PATIENCE_S = 120


def midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@dataclass
class Feed:
    """A simulated world whose payments and labels reach the service as they happen.

    Attributes:
        world: its parameters, drift and all.
        clock: of this process: the service's, Dagster's, ours.
        detector: the service.
        today: the day that has not been served yet.
        served: decisions so far, by day.
    """

    world: CreditCardSimulation
    clock: time_machine.Traveller
    detector: Detector
    today: dt.date
    served: dict[dt.date, int] = field(default_factory=dict)

    def days(self, count: int) -> None:
        """Let days pass; afterwards it is some seconds past a midnight."""
        for _ in range(count):
            self._day()

    def until(self, moment: dt.datetime) -> None:
        """Let time pass without a payment, if it is not that late yet."""
        self.clock.move_to(max(moment, dt.datetime.now(dt.UTC)))

    def since(self, day: dt.date) -> int:
        """Decisions on that day and later."""
        return sum(count for when, count in self.served.items() if when >= day)

    def _day(self) -> None:
        seen = simulate_days(self.world, self.today, self.today)
        payments, labels = seen.transactions, seen.labels
        begin = midnight(self.today)
        for part in range(PARTS):
            since, end = (begin + dt.timedelta(days=1) * n / PARTS for n in (part, part + 1))
            self.clock.move_to(end + dt.timedelta(seconds=part == PARTS - 1))
            reported, observed = labels["reported_at"], payments["observed_at"]
            self._tell(labels[(reported >= since) & (reported < end)])
            self._pay(payments[(observed >= since) & (observed < end)])
        self.served[self.today] = len(payments)
        self.today += dt.timedelta(days=1)

    def _pay(self, payments: pd.DataFrame) -> None:
        rows = payments.rename(columns={"event_time": "timestamp"}).drop(columns="observed_at")
        bodies = [_known(row) for row in rows.to_dict("records")]
        answer = self._post("/batch-predict", {"transactions": bodies})
        assert all("decision_id" in each for each in answer["predictions"])

    def _tell(self, labels: pd.DataFrame) -> None:
        if len(labels):
            answer = self._post(
                "/labels", {"labels": [_known(r) for r in labels.to_dict("records")]}
            )
            assert {each["status"] for each in answer["labels"]} == {"stored"}

    def _post(self, path: str, body: object) -> dict[str, Any]:
        scopes = ["fraud_detection", "labels:write"]
        answer = self.detector.client.post(
            path, json=body, headers=self.detector.headers(scopes), timeout=PATIENCE_S
        )
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content


def _known(row: Mapping[str, object]) -> dict[str, object]:
    """A row as JSON: without what it does not know, moments as text."""
    known = {name: value for name, value in row.items() if not pd.isna(value)}
    return {
        name: value.isoformat() if isinstance(value, dt.datetime) else value
        for name, value in known.items()
    }


@dataclass
class Dagster:
    """The platform's jobs and sensors, evaluated and run on an instance that keeps record."""

    settings: Settings
    instance: dg.DagsterInstance
    today: dt.date
    skipped: str = ""

    def __post_init__(self) -> None:
        kinds = {KIND: CREDIT_CARD}
        self.definitions = build_definitions(self.settings, self.today, types=kinds)

    def run(self, job: str, **options: Any) -> dg.ExecuteInProcessResult:
        """Run a job here and now."""
        return self.definitions.resolve_job_def(f"{KIND}_{job}").execute_in_process(
            instance=self.instance, raise_on_error=False, **options
        )

    def ingest_labels(self, first: dt.date, last: dt.date, **source: str) -> None:
        """Replace the labels of some days by those of a source."""
        done = self.run(
            "daily_ingest",
            asset_selection=[dg.AssetKey([KIND, "labels"])],
            tags=range_tags(first, last),
            run_config={"resources": {"source": {"config": source}}},
        )
        assert done.success

    def nights(self, first: dt.date, last: dt.date, history: dt.date) -> None:
        """The nightly ingest of some days, caught up with in one run."""
        state = f"{KIND}__online_state"
        whole = {"config": {"first": history.isoformat()}}
        tags = range_tags(first, last)
        assert self.run("daily_ingest", tags=tags, run_config={"ops": {state: whole}}).success

    def tick(self, sensor: str) -> list[dg.ExecuteInProcessResult]:
        """Evaluate a sensor as the daemon does, and run what it requests; the runs."""
        repository = self.definitions.get_repository_def()
        definition = repository.get_sensor_def(f"{KIND}_{sensor}_sensor")
        with dg.build_sensor_context(
            self.instance, repository_def=repository, resources=resources(self.settings)
        ) as context:
            found = definition.evaluate_tick(context)
        for event in found.asset_events:
            self.instance.report_runless_asset_event(event)
        self.skipped = "" if found.asset_events else found.skip_message or ""
        return [self.run(sensor, tags=dict(each.tags)) for each in found.run_requests or []]

    def told(self, asset: str) -> Mapping[str, Any]:
        """The metadata of an asset's last materialisation."""
        event = self.instance.get_latest_materialization_event(dg.AssetKey([KIND, asset]))
        assert event is not None
        assert event.asset_materialization is not None
        return {name: each.value for name, each in event.asset_materialization.metadata.items()}


@dataclass
class Record:
    """What the ledger remembers."""

    url: str

    def quality(self, version: str) -> Measurement:
        with transaction(self.url) as cursor:
            found = measurement_history(cursor, KIND, LIVE_QUALITY, limit=20)
        return next(each for each in found if each.model_version == version)

    def steps(self) -> list[tuple[str, str, float, dt.datetime]]:
        """Who was put where, and when, oldest first."""
        with transaction(self.url) as cursor:
            cursor.execute(
                "SELECT model_version, stage, share, promoted_at FROM deployments "
                "WHERE fraud_type = %s ORDER BY id",
                (KIND,),
            )
            return list(cursor.fetchall())

    def is_served(self, detector: Detector) -> bool:
        """Whether the running service has taken over what the last step says."""
        found = detector.client.get("/health").json()["champions"][KIND]
        beside = found.get("challenger", {})
        version, stage, *_ = self.steps()[-1]
        now = (found["model_version"], "champion") if stage == "champion" else None
        return (version, stage) in (now, (beside.get("model_version"), beside.get("stage")))

    def decisions(self) -> pd.DataFrame:
        """`seq, moment, action, model_version, is_fraud` of each decision, in order."""
        with transaction(self.url) as cursor:
            cursor.execute(
                "SELECT t.seq, d.action, d.model_version, coalesce(l.is_fraud, false) "
                "FROM decisions d JOIN transactions t USING (transaction_id) LEFT JOIN LATERAL "
                "(SELECT bool_or(is_fraud) AS is_fraud FROM labels "
                "WHERE labels.transaction_id = d.transaction_id) l ON true ORDER BY t.seq"
            )
            rows = cursor.fetchall()
        found = pd.DataFrame(rows, columns=["seq", "action", "model_version", "is_fraud"])
        return found.assign(moment=found["seq"].map(from_us))


@dataclass
class Story:
    """What happened when, in a folder of its own."""

    folder: Path
    moments: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def note(self, what: str) -> None:
        self.moments[what] = dt.datetime.now(dt.UTC).isoformat()

    def keep(self, decisions: pd.DataFrame) -> None:
        decisions.to_csv(self.folder / "decisions.csv", index=False)
        (self.folder / "story.json").write_text(json.dumps(self.moments, indent=2))


@dataclass
class Alarm:
    """Alerts of a Prometheus that watches the service, under the rules as they are shipped."""

    url: str

    def is_firing(self, alert: str) -> bool:
        answer = httpx.get(f"{self.url}/api/v1/alerts", timeout=30).json()
        return any(
            each["labels"]["alertname"] == alert
            and each["labels"].get("fraud_type") == KIND
            and each["state"] == "firing"
            for each in answer["data"]["alerts"]
        )

    def sees(self, query: str, values: Sequence[float]) -> None:
        """Wait until a query finds this."""
        until(lambda: ask(self.url, query) == list(values), f"{query}: {ask(self.url, query)}")


def metrics_token(detector: Detector) -> str:
    return a_token(detector.settings, ["metrics"], subject="prometheus", lifetime_s=200 * 24 * 3600)
