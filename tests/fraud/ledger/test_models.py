import datetime as dt

import pytest

from fraud.ledger.models import (
    ModelPerformance,
    feature_names,
    record_feature_schema,
    record_performance,
)
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD
from tests.fraud.ledger.builders import NOON_US


def test_performances_have_the_guides_columns(ledger_pool: ConnectionPool) -> None:
    performance = ModelPerformance(
        model_type="lightgbm",
        fraud_type="credit_card",
        accuracy=0.99123,
        roc_auc=0.88,
        training_date_us=NOON_US,
        model_version="credit_card-1",
        metrics={"cp100": 0.31},
    )
    with ledger_pool.transaction() as cursor:
        record_performance(cursor, [performance])
        cursor.execute(
            """
            SELECT model_type, fraud_type, accuracy::text, roc_auc::text, training_date, metrics
            FROM model_performance
            """
        )
        [row] = cursor.fetchall()
    trained = dt.datetime(2026, 9, 22, 12, 0, 0, 123457)  # noqa: DTZ001 - the column is naive
    assert row == ("lightgbm", "credit_card", "0.9912", "0.8800", trained, {"cp100": 0.31})


def test_stored_feature_values_stay_readable(ledger_pool: ConnectionPool) -> None:
    names = CREDIT_CARD.feature_names
    with ledger_pool.transaction() as cursor:
        for _ in range(2):  # every start of the service says it again
            record_feature_schema(cursor, CREDIT_CARD.schema_hash, "credit_card", names, {})
        assert feature_names(cursor, CREDIT_CARD.schema_hash) == list(names)
        assert feature_names(cursor, "never seen") is None


def test_a_metric_that_is_no_number_is_refused(ledger_pool: ConnectionPool) -> None:
    performance = ModelPerformance("x", "ach", 0.5, 0.5, NOON_US, metrics={"ap": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"), ledger_pool.transaction() as cursor:
        record_performance(cursor, [performance])
