"""The client that connectors use, against the running service."""

import time
from collections.abc import Iterator

import pytest

from bentos.connectors.scoring_client import ATTEMPTS, ScoringClient
from fraud.domain.errors import (
    DuplicateConflict,
    Forbidden,
    InvalidField,
    RateLimited,
    Unauthenticated,
    UnavailableError,
)
from tests.bentos.fraud_detector.detector import Detector, a_token, a_transaction
from tests.fraud.run.free_ports import closed_port


@pytest.fixture
def client(detector: Detector) -> Iterator[ScoringClient]:
    token = a_token(detector.settings, ["fraud_detection", "labels:write"])
    with ScoringClient(detector.url, token) as one:
        yield one


def refuse(detector: Detector, monkeypatch: pytest.MonkeyPatch, times: int) -> list[float]:
    """Let the service answer its next requests with 429; the times at which it was asked."""
    asked: list[float] = []

    def admit(subject: str) -> None:
        asked.append(time.monotonic())
        if len(asked) <= times:
            raise RateLimited("Too often.", retry_after_s=1)

    monkeypatch.setattr(detector.runtime, "admit_subject", admit)
    return asked


def test_decisions_and_labels_come_back(client: ScoringClient) -> None:
    one, other = a_transaction(), a_transaction()
    decision = client.predict(one)
    assert decision["transaction_id"] == one["transaction_id"]
    assert [each["replayed"] for each in client.predict_batch([one, other])] == [True, False]
    label = {"transaction_id": one["transaction_id"], "is_fraud": True, "source": "chargeback"}
    [told] = client.tell("credit_card", [label])
    assert told["status"] == "stored"


def test_too_many_requests_are_waited_out_as_long_as_the_service_asks(
    detector: Detector, client: ScoringClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = refuse(detector, monkeypatch, times=1)
    assert client.predict(a_transaction())["decision_id"]
    first, second = asked
    assert second - first >= 1.0, "Retry-After said one second"


def test_a_limit_that_lasts_is_an_error(
    detector: Detector, client: ScoringClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bentos.connectors.scoring_client.LONGEST_PAUSE_S", 0.0)
    monkeypatch.setattr("bentos.connectors.scoring_client._backoff", lambda state: 0.0)
    asked = refuse(detector, monkeypatch, times=100)
    with pytest.raises(UnavailableError, match="Too often"):
        client.predict(a_transaction())
    assert len(asked) == ATTEMPTS


def test_a_service_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bentos.connectors.scoring_client._backoff", lambda state: 0.0)
    monkeypatch.setattr("bentos.connectors.scoring_client.LONGEST_PAUSE_S", 0.0)
    nobody = f"http://127.0.0.1:{closed_port()}"
    with ScoringClient(nobody, "t") as client, pytest.raises(UnavailableError, match="fraud run"):
        client.predict(a_transaction())


def test_refusals_are_errors_of_our_tree(detector: Detector, client: ScoringClient) -> None:
    known = a_transaction()
    client.predict(known)
    with pytest.raises(DuplicateConflict, match="was decided before with another body"):
        client.predict({**known, "amount": 99.0})
    with pytest.raises(InvalidField) as caught:
        client.predict(a_transaction(amount=-1.0))
    assert caught.value.field == "amount"
    with ScoringClient(detector.url, "nonsense") as other, pytest.raises(Unauthenticated):
        other.predict(known)
    unscoped = a_token(detector.settings, ["metrics"])
    with ScoringClient(detector.url, unscoped) as other, pytest.raises(Forbidden):
        other.predict(known)
