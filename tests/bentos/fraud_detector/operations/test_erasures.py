from orchestration.erasure import erase_requested
from tests.bentos.fraud_detector.detector import Detector
from tests.bentos.fraud_detector.operations.office import get, ok, post


def test_a_request_waits_sealed_and_gets_its_receipt(detector: Detector) -> None:
    ok(detector.predict(user_id="FORGET-ME", device_id="FORGET-MY-DEVICE"))
    sent = {"user_id": "FORGET-ME", "email": "forget@example.org", "reason": "asked"}
    answer = post(detector, "/erasures", sent)
    assert answer.status_code == 202, answer.text
    asked = answer.json()
    assert (asked["status"], asked["receipt"]) == ("requested", None)
    [(kept,)] = detector.rows("SELECT r::text FROM erasure_requests r")
    assert "FORGET-ME" not in kept
    assert "forget@example.org" not in kept
    path = f"/erasures/{asked['request_id']}"
    assert ok(get(detector, path))["status"] == "requested"
    [receipt] = erase_requested(detector.settings)
    assert receipt["by"] == "ann"
    shown = ok(get(detector, path))
    assert (shown["status"], shown["receipt"]) == ("erased", receipt)
    assert erase_requested(detector.settings) == []
    assert detector.rows("SELECT count(*) FROM transactions WHERE user_id = 'FORGET-ME'") == [(0,)]
    assert detector.rows("SELECT sealed FROM erasure_requests") == [(None,)]


def test_an_unknown_request_is_not_found(detector: Detector) -> None:
    assert get(detector, "/erasures/nothing").status_code == 404
