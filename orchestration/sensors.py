"""What asks for runs by need: enough new decisions, enough new labels, a model in decline."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from bentos.scoring.model import ScoringModel
from fraud.domain.event import from_us, to_us
from fraud.domain.fraud_type import FraudType
from fraud.ledger.measurements import (
    DRIFT,
    LIVE_QUALITY,
    RETRAINING,
    Measurement,
    newest_measurements,
    record_measurements,
)
from fraud.ledger.statement import Cursor
from fraud.settings import Settings
from orchestration.notify import notify
from orchestration.resources import LedgerResource
from orchestration.retraining import needs_retraining
from orchestration.serving import running_model

EVERY_DECISIONS = 5_000
"""A drift report follows so many decisions, at the latest."""

LEAST_DECISIONS = 500
LONGEST = dt.timedelta(days=1)
"""Fewer decisions wait a day for theirs."""

EVERY_LABELS = 200
LOOK_EVERY_S = 60

Found = dg.RunRequest | dg.SkipReason

_NEW_DECISIONS = """
SELECT count(*) FROM (
    SELECT 1 FROM decisions WHERE fraud_type = %s AND scored_at > %s LIMIT %s
) AS found
"""
_NEW_LABELS = """
SELECT count(*) FROM (
    SELECT 1 FROM labels WHERE fraud_type = %s AND received_at > %s LIMIT %s
) AS found
"""


def sensors(
    fraud_type: FraudType, of_type: dict[str, UnresolvedAssetJobDefinition]
) -> Sequence[dg.SensorDefinition]:
    """The sensors of a fraud type; all are switched off until somebody switches them on."""
    name = fraud_type.name

    @dg.sensor(
        name=f"{name}_monitoring_sensor",
        job=of_type["monitoring"],
        minimum_interval_seconds=LOOK_EVERY_S,
        description=f"A drift report every {EVERY_DECISIONS:,} decisions, or every day.",
    )
    def monitoring(ledger: LedgerResource) -> Found:
        now = dt.datetime.now(dt.UTC)
        with ledger.pool() as pool, pool.transaction() as cursor:
            since = _measured_at(cursor, name, DRIFT)
            new = _count(cursor, _NEW_DECISIONS, name, since, EVERY_DECISIONS)
        is_due = new >= EVERY_DECISIONS or (new >= LEAST_DECISIONS and now - since >= LONGEST)
        return _asked(is_due, since, now, f"{new:,} decisions since the last drift report.")

    @dg.sensor(
        name=f"{name}_label_maturity_sensor",
        job=of_type["live_quality"],
        minimum_interval_seconds=LOOK_EVERY_S,
        description=f"Live quality is measured again after {EVERY_LABELS:,} labels.",
    )
    def label_maturity(ledger: LedgerResource) -> Found:
        now = dt.datetime.now(dt.UTC)
        with ledger.pool() as pool, pool.transaction() as cursor:
            since = _measured_at(cursor, name, LIVE_QUALITY)
            new = _count(cursor, _NEW_LABELS, name, since, EVERY_LABELS)
        return _asked(new >= EVERY_LABELS, since, now, f"{new:,} labels since it was measured.")

    @dg.sensor(
        name=f"{name}_retraining_sensor",
        job=of_type["retraining"],
        minimum_interval_seconds=LOOK_EVERY_S,
        description="Retraining when features or score drifted or live quality fell; after each "
        "request it waits twice as long, until a new champion serves, and for drift alone until "
        "the truth about newer days is known.",
    )
    def retraining(ledger: LedgerResource, settings: dg.ResourceParam[Settings]) -> Found:
        return ask_for_retraining(ledger, settings, fraud_type, dt.datetime.now(dt.UTC))

    return monitoring, label_maturity, retraining


def ask_for_retraining(
    ledger: LedgerResource, settings: Settings, fraud_type: FraudType, now: dt.datetime
) -> Found:
    """A request of retraining where the champion needs it and it was not just asked for."""
    with ledger.pool() as pool:
        model = running_model(pool, settings, fraud_type)
        promised = model.manifest.metrics.get("test", {}) if model else {}
        with pool.transaction() as cursor:
            found = needs_retraining(
                cursor, fraud_type.name, promised, judged_after(model, fraud_type)
            )
            if found is None:
                return dg.SkipReason("No model serves.")
            if not found.is_due(now):
                waits = f" It was asked for; not before {found.not_before}."
                return dg.SkipReason(" ".join(found.reasons) + waits if found.reasons else "Fine.")
            request = Measurement(
                fraud_type.name,
                RETRAINING,
                to_us(now),
                {"attempt": found.attempt + 1},
                model.version if model else None,
            )
            record_measurements(cursor, [request])
    why = " ".join(found.reasons)
    notify(settings, f"{fraud_type.title}: retraining was asked for", why)
    return dg.RunRequest(
        run_key=f"{fraud_type.name}-{to_us(now)}",
        tags={"fraud/why": why[:200], "fraud/attempt": str(found.attempt + 1)},
    )


def judged_after(model: ScoringModel | None, fraud_type: FraudType) -> dt.timedelta:
    """How old an event is once training chooses and reports by such events alone.

    It has to mature, and the days of validation and test, as many as the champion's, lie between.
    """
    maturity = dt.timedelta(microseconds=fraud_type.maturity_us)
    if model is None:
        return maturity
    spans = model.manifest.data_window
    return maturity + (spans.test.end - spans.validation.start)


def failure_sensor() -> dg.SensorDefinition:
    """Tells people of every run that failed."""

    @dg.run_failure_sensor(
        name="run_failure_notification",
        monitor_all_code_locations=False,
        description="Tells webhook, Slack or e-mail of every run that failed.",
    )
    def tell(context: dg.RunFailureSensorContext, settings: dg.ResourceParam[Settings]) -> None:
        run = context.dagster_run
        notify(settings, f"{run.job_name} failed", f"{context.failure_event.message} {run.run_id}")

    return tell


def _measured_at(cursor: Cursor, fraud_type: str, name: str) -> dt.datetime:
    found = newest_measurements(cursor, [fraud_type], [name])
    return from_us(found[-1].taken_at_us if found else 0)


def _count(cursor: Cursor, query: str, fraud_type: str, since: dt.datetime, most: int) -> int:
    cursor.execute(query, (fraud_type, since, most))
    [(count,)] = cursor.fetchall()
    return int(count)


def _asked(is_due: bool, since: dt.datetime, now: dt.datetime, why: str) -> Found:
    """A run at most once an hour for the same state of affairs, lest a failing one repeat."""
    if not is_due:
        return dg.SkipReason(why)
    return dg.RunRequest(run_key=f"{since:%Y%m%dT%H%M%S}-{now:%Y%m%dT%H}", tags={"fraud/why": why})
