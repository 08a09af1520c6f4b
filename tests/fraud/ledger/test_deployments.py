import dataclasses
from typing import Any

import psycopg2.errors
import pytest

from fraud.domain.deployment import CANARY, CHAMPION, SHADOW, WITHDRAWN, Deployment
from fraud.ledger.deployments import (
    challengers,
    champions,
    current_deployment,
    deployments,
    in_service_at,
    record_deployment,
    take_step,
)
from fraud.ledger.pool import ConnectionPool
from tests.fraud.ledger.builders import NOON_US


def a_deployment(**changes: Any) -> Deployment:
    deployment = Deployment(
        fraud_type="credit_card",
        model_version="credit_card-1",
        bundle_path="bundles/credit_card-1",
        bundle_digest="a" * 64,
        promoted_by="pipeline",
        reason="highest average precision",
        promoted_at_us=NOON_US,
        mlflow_run_id="b" * 32,
    )
    return dataclasses.replace(deployment, **changes)


def test_nothing_serves_before_the_first_deployment(ledger_pool: ConnectionPool) -> None:
    with ledger_pool.transaction() as cursor:
        assert current_deployment(cursor, "account_opening") is None
        assert deployments(cursor, "account_opening") == []


def test_the_last_champion_serves(ledger_pool: ConnectionPool) -> None:
    versions = ["v1", "v2", "v1"]  # a roll back is a deployment of its own
    with ledger_pool.transaction() as cursor:
        numbers = [
            record_deployment(cursor, a_deployment(model_version=each, fraud_type="ach"))
            for each in versions
        ]
        record_deployment(cursor, a_deployment(fraud_type="ach", stage="shadow"))
        record_deployment(cursor, a_deployment(fraud_type="credit_card"))
    with ledger_pool.transaction() as cursor:
        current = current_deployment(cursor, "ach")
        history = deployments(cursor, "ach")
    expected = a_deployment(model_version="v1", fraud_type="ach")
    assert current == dataclasses.replace(expected, deployment_id=numbers[-1])
    assert [each.stage for each in history] == ["shadow", *["champion"] * 3]
    assert [each.model_version for each in history[1:]] == versions[::-1]


def test_a_step_is_read_as_it_was_taken(ledger_pool: ConnectionPool) -> None:
    gates = [{"gate": "quality", "passed": True, "value": 0.012, "limit": -0.01}]
    step = a_deployment(
        fraud_type="read", stage=CANARY, share=0.25, gates=tuple(gates), approved_by="second"
    )
    with ledger_pool.transaction() as cursor:
        taken = take_step(cursor, step)
    with ledger_pool.transaction() as cursor:
        assert deployments(cursor, "read") == [taken]
    assert taken == dataclasses.replace(step, deployment_id=taken.deployment_id)


def test_times_rise_with_numbers_where_the_clock_steps_back(ledger_pool: ConnectionPool) -> None:
    with ledger_pool.transaction() as cursor:
        first = take_step(cursor, a_deployment(fraud_type="clock"))
        second = take_step(cursor, a_deployment(fraud_type="clock", promoted_at_us=NOON_US - 9))
    assert second.promoted_at_us == first.promoted_at_us + 1


def test_the_last_step_says_who_challenges(ledger_pool: ConnectionPool) -> None:
    found = []
    with ledger_pool.transaction() as cursor:
        for stage in (CHAMPION, SHADOW, CANARY, WITHDRAWN, SHADOW, CHAMPION):
            take_step(cursor, a_deployment(fraud_type="steps", stage=stage))
            now = challengers(cursor).get("steps")
            found.append(now.stage if now else None)
        assert len(champions(cursor, "steps")) == 2
    assert found == [None, SHADOW, CANARY, None, SHADOW, None]


def test_who_answered_at_a_moment(ledger_pool: ConnectionPool) -> None:
    steps = [("v1", CHAMPION), ("v2", SHADOW), ("v2", CANARY), ("v2", CHAMPION), ("v1", CHAMPION)]
    with ledger_pool.transaction() as cursor:
        for place, (version, stage) in enumerate(steps):
            step = a_deployment(fraud_type="then", model_version=version, stage=stage)
            take_step(cursor, dataclasses.replace(step, promoted_at_us=NOON_US + 10 * place))

        def at(offset_us: int) -> list[tuple[str, str]]:
            found = in_service_at(cursor, NOON_US + offset_us, "then")
            return [(each.model_version, each.stage) for each in found]

        assert at(-1) == []
        assert at(0) == at(9) == [("v1", CHAMPION)]
        assert at(15) == [("v1", CHAMPION), ("v2", SHADOW)]
        assert at(29) == [("v1", CHAMPION), ("v2", CANARY)]
        assert at(30) == [("v2", CHAMPION)]
        assert at(10**9) == [("v1", CHAMPION)]
        assert {each.fraud_type for each in in_service_at(cursor, NOON_US + 10**9)} > {"then"}


def test_an_unknown_stage_is_refused(ledger_pool: ConnectionPool) -> None:
    with (
        pytest.raises(psycopg2.errors.CheckViolation),
        ledger_pool.transaction() as cursor,
    ):
        record_deployment(cursor, a_deployment(stage="understudy"))
