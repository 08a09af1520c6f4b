"""Every declared fraud type is scored by the one `/predict`, over HTTP and into the ledger."""

from collections.abc import Callable, Iterator

import pytest

from fraud.types.registry import fraud_types
from tests.bentos.fraud_detector.detector import LEAST, Detector, a_body, promote_all, running
from tests.servers import temporary_run_dir

EVERY_TYPE = pytest.mark.parametrize("name", sorted(fraud_types()))


@pytest.fixture(scope="module")
def detector(new_ledger: Callable[[], str]) -> Iterator[Detector]:
    with temporary_run_dir() as run_dir, running(run_dir, new_ledger()) as started:
        promote_all(started)
        yield started


@EVERY_TYPE
def test_a_transaction_is_scored_by_its_own_model(detector: Detector, name: str) -> None:
    answer = detector.predict(a_body(name, f"{name}-first"))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["fraud_type"], body["model_version"]) == (name, f"{name}-1")
    assert not body["degraded"]
    stored = detector.rows(
        "SELECT t.amount::float8, length(d.feature_values) FROM decisions d"
        f" JOIN transactions t USING (transaction_id) WHERE transaction_id = '{name}-first'"
    )
    assert stored == [(LEAST[name].get("amount", 0.0), 8 * len(fraud_types()[name].feature_names))]


@EVERY_TYPE
def test_a_second_event_sees_the_first(detector: Detector, name: str) -> None:
    for number in (1, 2):
        detector.predict(a_body(name, f"{name}-again-{number}"))
    keys = detector.rows(f"SELECT key FROM entity_state WHERE fraud_type = '{name}'")
    subject = fraud_types()[name].subject
    protection = detector.runtime.engine.protection
    stored = protection.stored(name, subject, str(LEAST[name][subject]))
    assert any(stored in key for (key,) in keys)
    sent = detector.rows(f"SELECT key FROM outbox WHERE payload->>'fraud_type' = '{name}'")
    assert {key for (key,) in sent} == {stored}


@EVERY_TYPE
def test_each_required_field_is_asked_for_by_name(detector: Detector, name: str) -> None:
    for field in LEAST[name]:
        body = a_body(name, f"{name}-without")
        del body[field]
        answer = detector.predict(body)
        assert answer.status_code == 422
        assert [each["field"] for each in answer.json()["errors"]] == [field]


def test_a_batch_may_mix_them(detector: Detector) -> None:
    bodies = [a_body(name, f"{name}-mixed") for name in LEAST]
    answer = detector.client.post("/batch-predict", json={"transactions": bodies})
    assert answer.status_code == 200
    predictions = answer.json()["predictions"]
    assert [each["model_version"] for each in predictions] == [f"{name}-1" for name in LEAST]


def test_health_names_a_champion_for_each(detector: Detector) -> None:
    shown = detector.client.get("/health").text
    assert all(f"{name}-1" in shown for name in fraud_types())


def test_the_least_bodies_are_of_all_types() -> None:
    assert set(LEAST) == set(fraud_types())
