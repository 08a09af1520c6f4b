"""Lists through the API, in effect on a service that goes on serving."""

import datetime as dt
import time

import pytest

from tests.bentos.fraud_detector.detector import Detector
from tests.bentos.fraud_detector.operations.office import (
    a_list,
    a_rule,
    get,
    move,
    ok,
    post,
    put_on,
    soon,
)
from tests.bentos.fraud_detector.operations.test_rules import predict, stored


def test_a_denied_user_is_blocked_within_a_second_and_freed_again(detector: Detector) -> None:
    a_list(detector, "bad_users", "deny")
    free = predict(detector, user_id="MALLORY")
    assert free["risk_level"] == "LOW"
    put_on(detector, "bad_users", "MALLORY")
    soon(lambda: predict(detector, user_id="MALLORY")["risk_level"] == "CRITICAL")
    blocked = predict(detector, user_id="MALLORY")
    assert blocked["recommended_action"] == "block"
    assert blocked["rules"] == ["DENY_LIST"]
    assert blocked["reasons"][0]["code"] == "DENY_LIST"
    assert stored(detector, blocked)[1] > stored(detector, free)[1]
    assert predict(detector, user_id="ALICE")["risk_level"] == "LOW"
    removal = {"values": ["MALLORY", "NOBODY"], "reason": "Mistaken."}
    assert ok(post(detector, "/lists/bad_users/removals", removal))["changed"] == 1
    soon(lambda: predict(detector, user_id="MALLORY")["risk_level"] == "LOW")


def test_an_allow_list_yields_to_a_deny_list_and_beats_rules(detector: Detector) -> None:
    a_list(detector, "friends", "allow")
    a_list(detector, "bad_shops", "deny", "merchant_id")
    version = a_rule(detector, "ANY_CENT", "amount > 0", "active")
    put_on(detector, "friends", "BOB")
    put_on(detector, "bad_shops", "SHADY")
    soon(
        lambda: predict(detector, user_id="BOB", merchant_id="SHADY")["rules"][:1] == ["DENY_LIST"]
    )
    answers = [
        predict(detector, user_id=user, merchant_id=shop)
        for user in ("BOB", "EVE")
        for shop in ("FINE", "SHADY")
    ]
    levels = [each["risk_level"] for each in answers]
    assert levels == ["LOW", "CRITICAL", "HIGH", "CRITICAL"]
    assert answers[1]["rules"] == ["DENY_LIST", "ALLOW_LIST", "ANY_CENT"]
    move(detector, "ANY_CENT", version, "retired")


def test_an_entry_that_expires_ends_by_itself(detector: Detector) -> None:
    a_list(detector, "for_a_moment", "deny", "device_id")
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    put_on(detector, "for_a_moment", "D9", expires_at=until.isoformat())
    soon(lambda: predict(detector, device_id="D9")["risk_level"] == "CRITICAL")
    time.sleep(max(0.0, (until - dt.datetime.now(dt.UTC)).total_seconds()))
    assert predict(detector, device_id="D9")["risk_level"] == "LOW"


def test_a_list_shows_who_put_what_on_it_page_by_page(detector: Detector) -> None:
    a_list(detector, "long", "reference")
    put_on(detector, "long", *(f"U{n}" for n in range(5)))
    first = ok(get(detector, "/lists/long", limit=3))
    second = ok(get(detector, "/lists/long", limit=3, after=first["next"]))
    values = [each["value"] for page in (first, second) for each in page["entries"]]
    assert values == ["U0", "U1", "U2", "U3", "U4"]
    assert second["next"] is None
    assert first["entries"][0]["added_by"] == "ann"
    assert first["about"]["entry_count"] == 5
    assert "long" in {each["name"] for each in ok(get(detector, "/lists"))["lists"]}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/lists", {"name": "x", "kind": "deny", "field": "amount"}, 422),
        ("/lists", {"name": "No", "kind": "deny", "field": "user_id"}, 422),
        ("/lists", {"name": "x", "kind": "block", "field": "user_id"}, 422),
        ("/lists/none/entries", {"entries": [{"value": "U", "reason": "x"}]}, 404),
        ("/lists/none/entries", {"entries": []}, 422),
        (
            "/lists/none/entries",
            {"entries": [{"value": "U", "reason": "x", "expires_at": "2020-01-01T00:00:00Z"}]},
            422,
        ),
        ("/lists/none/removals", {"values": ["U"], "reason": "x"}, 404),
    ],
)
def test_what_cannot_be_listed_is_refused(
    detector: Detector, path: str, body: object, status: int
) -> None:
    assert post(detector, path, body).status_code == status
