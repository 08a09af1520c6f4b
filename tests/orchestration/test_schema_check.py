"""The asset check that fails where a model was trained under other features than the code's."""

import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from bentos.scoring.bundle import MANIFEST_FILE
from fraud.catalogue import definition_of
from fraud.domain.fraud_type import FraudType
from fraud.domain.history import Count
from fraud.domain.windows import Window
from fraud.ledger.models import record_feature_schema
from fraud.ledger.pool import transaction
from fraud.settings import Settings, load_settings
from fraud.types.credit_card import CREDIT_CARD
from orchestration.assets.deploy import SCHEMA_IS_CURRENT
from orchestration.definitions import build_definitions
from tests.bentos.fraud_detector.detector import promote

TODAY = dt.date(2026, 3, 10)
COUNT_2H = Count(entity="user", window=Window("2h"))
OTHERS = (*CREDIT_CARD.features[1:], COUNT_2H)
TRAINED = dataclasses.replace(CREDIT_CARD, features=OTHERS, rules=())


@pytest.fixture
def ledger(new_ledger: Callable[[], str]) -> str:
    return new_ledger()


@pytest.fixture
def settings(tmp_path: Path, ledger: str) -> Settings:
    return load_settings(run_dir=tmp_path, history_days=30, database_url=ledger)


def checked(settings: Settings) -> dg.AssetCheckEvaluation:
    """The check of card payments, run by Dagster as the pipeline defines it."""
    name = "only_the_check"
    (key,) = (
        key
        for key in build_definitions(settings, TODAY).resolve_asset_graph().asset_check_keys
        if key.name == SCHEMA_IS_CURRENT and key.asset_key.path[0] == CREDIT_CARD.name
    )
    job = dg.define_asset_job(name, selection=dg.AssetSelection.checks(key))
    definitions = dg.Definitions.merge(
        build_definitions(settings, TODAY), dg.Definitions(jobs=[job])
    )
    result = definitions.resolve_job_def(name).execute_in_process()
    assert result.success
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def recorded(ledger: str, kind: FraudType) -> None:
    with transaction(ledger) as cursor:
        record_feature_schema(
            cursor, kind.schema_hash, kind.name, kind.feature_names, definition_of(kind)
        )


def test_a_model_of_these_features_passes(settings: Settings, ledger: str) -> None:
    promote(settings, ledger, "v1")
    evaluation = checked(settings)
    assert evaluation.passed
    assert evaluation.metadata["trained_schema"].value == CREDIT_CARD.schema_hash
    assert evaluation.metadata["differences"].value == ""


def test_a_model_of_other_features_fails_and_the_difference_is_shown(
    settings: Settings, ledger: str
) -> None:
    recorded(ledger, TRAINED)
    promote(settings, ledger, "v1", kind=TRAINED)
    evaluation = checked(settings)
    assert not evaluation.passed
    assert "user_count_2h" in str(evaluation.description)
    assert evaluation.metadata["trained_schema"].value == TRAINED.schema_hash
    assert evaluation.metadata["running_schema"].value == CREDIT_CARD.schema_hash
    assert evaluation.metadata["differences"].value == (
        "removed  user_count_2h: Events of the user in the last 2h.\n"
        "added    amount: The event's amount in major units."
    )


def test_a_model_of_the_same_names_but_another_meaning_fails(
    settings: Settings, ledger: str
) -> None:
    trained = dataclasses.replace(CREDIT_CARD, maturity="8d")
    recorded(ledger, trained)
    promote(settings, ledger, "v1", kind=trained)
    evaluation = checked(settings)
    assert not evaluation.passed
    assert evaluation.metadata["differences"].value == "contract maturity: 8d -> 7d"


def test_an_altered_bundle_fails(settings: Settings, ledger: str) -> None:
    folder = promote(settings, ledger, "v1")
    manifest = folder / MANIFEST_FILE
    manifest.write_bytes(manifest.read_bytes().replace(b'"v1"', b'"v2"'))
    evaluation = checked(settings)
    assert not evaluation.passed
    assert evaluation.metadata["trained_schema"].value == CREDIT_CARD.schema_hash


def test_where_nothing_serves_the_check_fails(settings: Settings) -> None:
    evaluation = checked(settings)
    assert not evaluation.passed
    assert evaluation.description == "Nothing was ever deployed."
