"""What Dagster is told, without running any of it."""

import dataclasses
import datetime as dt
from pathlib import Path

import dagster as dg
import pytest

from fraud.settings import Settings, load_settings
from fraud.types.credit_card import CREDIT_CARD
from fraud.types.registry import fraud_types
from orchestration.assets.train import spans_of
from orchestration.automation import jobs
from orchestration.definitions import build_definitions
from orchestration.history import widen_history
from orchestration.training.candidates import CANDIDATES

TODAY = dt.date(2026, 3, 10)
STAGES = {
    "ingest",
    "labels",
    "features",
    "training",
    "evaluation",
    "deployment",
    "monitoring",
    "platform",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(run_dir=tmp_path, history_days=30)


@pytest.fixture
def definitions(settings: Settings) -> dg.Definitions:
    return build_definitions(settings, TODAY)


def test_every_definition_can_be_loaded(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)
    names = {job.name for job in definitions.resolve_all_job_defs()}
    for fraud_type in fraud_types():
        assert {f"{fraud_type}_pipeline", f"{fraud_type}_retraining"} <= names


def test_nothing_is_opened_by_loading_them(definitions: dg.Definitions, settings: Settings) -> None:
    dg.Definitions.validate_loadable(definitions)
    made = {path.name for path in settings.run_dir.rglob("*") if path.is_file()}
    assert made == {"history.json"}, "no database, no log, no model"


def test_every_asset_has_a_stage_and_says_what_it_means(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    assert {node.group_name for node in nodes} == STAGES
    for node in nodes:
        # One bold sentence first: it is all that a narrow list shows.
        assert node.description, node.key
        assert node.description.startswith("**"), node.key
        assert node.key.path[0] in {*fraud_types(), "platform"}
    assert {name for node in nodes for name in node.key.path} >= set(CANDIDATES)


def test_what_must_hold_before_a_model_serves_is_blocking(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    checks = {
        (key.asset_key.path[-1], key.name): graph.get_check_spec(key).blocking
        for key in graph.asset_check_keys
    }
    blocking = {key for key, is_blocking in checks.items() if is_blocking}
    assert blocking == {
        ("transactions", "no_rows_lost"),
        ("labels", "no_labels_lost"),
        ("training_frame", "no_nan"),
        ("training_frame", "labels_known_at_cutoff"),
        *((name, "labels_in_time") for name in CANDIDATES),
        ("champion", "onnx_parity"),
        ("champion", "scores_sane"),
    }
    assert {("deployed_bundle", "served_schema_is_current")} <= set(checks)


def test_a_model_is_deployed_only_after_its_states_are_there(definitions: dg.Definitions) -> None:
    node = definitions.resolve_asset_graph().get(dg.AssetKey(["credit_card", "deployed_bundle"]))
    parents = {key.path[-1] for key in node.parent_keys}
    assert parents == {"champion", "online_state"}


def test_jobs_and_schedules(definitions: dg.Definitions) -> None:
    def assets_of(name: str) -> set[str]:
        keys = definitions.resolve_job_def(name).asset_layer.executable_asset_keys
        return {key.path[-1] for key in keys}

    everything = assets_of("credit_card_pipeline")
    assert everything >= {"transactions", "champion", "drift_report", *CANDIDATES}
    assert assets_of("credit_card_daily_ingest") == {"transactions", "labels", "online_state"}
    assert assets_of("credit_card_retraining") == {
        *("training_frame", "champion", "deployed_bundle", *CANDIDATES)
    }
    live = {"drift_report", "live_quality"}
    assert assets_of("credit_card_monitoring") == live
    assert assets_of("credit_card_live_quality") == {"live_quality"}
    review = {"training_frame", "performance_review", "fraud_patterns", *live}
    assert assets_of("credit_card_weekly_review") == review
    assert assets_of("platform_compliance_report") == {"audit_check", "compliance_report"}
    schedules = {one.name: one for one in definitions.schedules or ()}
    monthly = schedules["credit_card_monthly_retraining_schedule"]
    assert isinstance(monthly, dg.ScheduleDefinition)
    assert monthly.cron_schedule == "0 3 1 * *"
    quarterly = schedules["compliance_report_schedule"]
    assert isinstance(quarterly, dg.ScheduleDefinition)
    assert quarterly.cron_schedule == "0 8 1 1,4,7,10 *"
    sensors = {one.name for one in definitions.sensors or ()}
    assert "run_failure_notification" in sensors
    assert sensors >= {
        f"credit_card_{what}_sensor" for what in ("monitoring", "label_maturity", "retraining")
    }


def test_the_nightly_schedule_asks_for_the_day_that_has_just_ended(
    definitions: dg.Definitions,
) -> None:
    schedule = definitions.resolve_schedule_def("credit_card_daily_ingest_schedule")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=dt.datetime(2026, 3, 9, 0, 30, tzinfo=dt.UTC),
            repository_def=definitions.get_repository_def(),
        )
        evaluated = schedule.evaluate_tick(context)
    (request,) = evaluated.run_requests or []
    assert request.partition_key == "2026-03-08"


def test_partitions_begin_where_the_history_does(settings: Settings) -> None:
    def first_partition() -> str:
        loaded = build_definitions(settings, TODAY)
        node = loaded.resolve_asset_graph().get(dg.AssetKey(["credit_card", "transactions"]))
        assert node.partitions_def is not None
        return str(node.partitions_def.get_first_partition_key())

    assert first_partition() == "2026-02-08"
    widen_history(settings, CREDIT_CARD, dt.date(2018, 4, 1))
    assert first_partition() == "2018-04-01"


def test_every_fraud_type_gets_assets_jobs_and_partitions_of_its_own(settings: Settings) -> None:
    own = dataclasses.replace(CREDIT_CARD, name="vouchers", title="Vouchers")
    types = {**fraud_types(), "vouchers": own}
    loaded = build_definitions(settings, TODAY, types=types)
    dg.Definitions.validate_loadable(loaded)
    graph = loaded.resolve_asset_graph()
    by_type = {
        name: {key.path[1] for key in graph.get_all_asset_keys() if key.path[0] == name}
        for name in types
    }
    for name, kind in types.items():
        assert by_type[name] == by_type["credit_card"]
        assert set(jobs(kind)) == {
            *("pipeline", "daily_ingest", "retraining", "promotion", "review", "monitoring"),
            "live_quality",
        }
        assert graph.get(dg.AssetKey([name, "transactions"])).partitions_def is not None


@pytest.mark.parametrize("days", [40, 45, 60, 90, 150, 183, 400])
def test_spans_leave_most_of_a_frame_to_training(days: int) -> None:
    spans, maturity = spans_of(days), 7
    for_training = days - spans.warm_up - spans.validation - spans.test - 2 * maturity
    # At 40 days ten remain; below, there is nothing to learn from.
    assert for_training >= min(days * 0.2, days / 4)
    assert spans.validation == spans.test <= 14
