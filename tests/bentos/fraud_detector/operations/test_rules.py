"""Rules and policy through the API, in effect on a service that goes on serving."""

from typing import Any

import pytest

from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.fraud_detector.detector import Detector, a_transaction
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

RULE = {"code": "R", "text": "x", "level": "HIGH", "expression": "amount > 1"}
THRESHOLDS = {"review": 0.1, "block": 0.5, "critical": 1.0}


def predict(detector: Detector, **fields: object) -> dict[str, Any]:
    answer: dict[str, Any] = ok(detector.predict(**fields))
    return answer


def stored(detector: Detector, body: dict[str, Any]) -> tuple[Any, ...]:
    (row,) = detector.rows(
        "SELECT rules_version, lists_version, shadow_rules FROM decisions"
        f" WHERE decision_id = '{body['decision_id']}'"
    )
    return row


def test_a_draft_does_nothing_shadow_is_recorded_active_acts(detector: Detector) -> None:
    version = a_rule(detector, "BIG", "amount > 700")
    detector.look()
    draft = predict(detector, amount=701.0)
    assert (draft["risk_level"], draft["rules"]) == ("LOW", [])
    assert stored(detector, draft)[2] == []

    move(detector, "BIG", version, "shadow")
    soon(lambda: stored(detector, predict(detector, amount=701.0))[2] == ["BIG"])
    shadow = predict(detector, amount=701.0)
    assert (shadow["risk_level"], shadow["rules"]) == ("LOW", [])

    move(detector, "BIG", version, "active")
    soon(lambda: predict(detector, amount=701.0)["rules"] == ["BIG"])
    active = predict(detector, amount=701.0)
    assert (active["risk_level"], active["recommended_action"]) == ("HIGH", "block")
    assert active["reasons"][0] | {"text": ""} == {
        "code": "BIG", "text": "", "feature": "amount", "value": 701.0, "contribution": 0.0,
    }  # fmt: skip
    assert predict(detector, amount=700.0)["rules"] == []

    move(detector, "BIG", version, "retired")
    soon(lambda: predict(detector, amount=701.0)["rules"] == [])


def test_while_rules_change_every_transaction_is_decided_by_one_of_them(
    detector: Detector,
) -> None:
    version = a_rule(detector, "EVERYTHING", "amount >= 0", "active")
    seen: dict[int, set[object]] = {}
    for n in range(10):
        move(detector, "EVERYTHING", version, "shadow" if n % 2 == 0 else "active")
        for _ in range(10):
            body = predict(detector)
            rules_version, _, shadow = stored(detector, body)
            seen.setdefault(rules_version, set()).add((tuple(body["rules"]), tuple(shadow)))
    move(detector, "EVERYTHING", version, "retired")
    assert all(len(outcomes) == 1 for outcomes in seen.values()), seen
    soon(lambda: predict(detector)["rules"] == [])


def test_a_policy_counts_once_activated_and_the_models_own_comes_back(detector: Detector) -> None:
    before = predict(detector)
    strict = {"review": 0.000001, "block": 0.9, "critical": 0.99}
    made = ok(post(detector, "/policy", {"thresholds": strict, "reason": "Busy season."}))
    detector.look()
    assert predict(detector)["policy_version"] == before["policy_version"]
    shown = ok(get(detector, "/policy"))
    assert (shown["source"], shown["version"]) == ("model", before["policy_version"])

    ok(post(detector, f"/policy/{made['version']}/activation"))
    soon(lambda: predict(detector)["policy_version"] == made["version"])
    assert predict(detector)["risk_level"] == "MEDIUM"
    assert ok(get(detector, "/policy"))["version"] == made["version"]

    ok(post(detector, "/policy/model/activation"))
    soon(lambda: predict(detector)["policy_version"] == before["policy_version"])
    assert post(detector, "/policy/none/activation").status_code == 404


@pytest.mark.parametrize(
    ("expression", "problem", "remedy"),
    [
        ("user_cont_1h > 3", "line 1, column 1", "user_count_1h"),
        ("amount > 1 &&\n user_id > 3", "line 2, column 10", "docs/rules.md"),
        ("[1, 2, 3].all(x, x > 0)", "line 1, column 1", "docs/rules.md"),
        ("user_id.matches('(a*)*b')", "cannot be called", "docs/rules.md"),
        ("amount > 1 " * 60, "660 characters", "500"),
        ("lists.nobody_made && amount > 1", "undeclared reference", "lists"),
    ],
)
def test_an_expression_that_cannot_serve_is_refused_where_it_is_wrong(
    detector: Detector, expression: str, problem: str, remedy: str
) -> None:
    body = RULE | {"code": "WRONG", "expression": expression}
    answer = post(detector, "/rules", body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    error = answer.json()["errors"][0]
    assert error["field"] == "expression"
    assert problem in error["problem"]
    assert remedy in error["remedy"]
    assert ok(get(detector, "/rules", code="WRONG"))["rules"] == []


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/rules", RULE | {"code": "lower"}, "code"),
        ("/rules", RULE | {"code": "DENY_LIST"}, "code"),
        ("/rules", RULE | {"level": "LOW"}, "level"),
        ("/rules", RULE | {"text": "x\u0000"}, "text"),
        ("/rules", RULE | {"author": "me"}, "author"),
        ("/rules/R/1/state", {"state": "draft"}, "state"),
        ("/policy", {"thresholds": THRESHOLDS | {"review": 0.9}, "reason": "x"}, "thresholds"),
        ("/policy", {"thresholds": THRESHOLDS | {"review": "0.1"}, "reason": "x"}, "review"),
        ("/policy", {"thresholds": THRESHOLDS | {"critical": 1.1}, "reason": "x"}, "critical"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(
    detector: Detector, path: str, body: object, field: str
) -> None:
    answer = post(detector, path, body)
    assert answer.status_code == 422, answer.text
    assert field in answer.json()["errors"][0]["field"]


def test_bodies_are_read_as_strictly_as_those_of_predict(detector: Detector) -> None:
    for content in (b'{"state": "active", "state": "retired"}', b'{"state": NaN}', b"{"):
        answer = detector.client.post(
            "/rules/R/1/state",
            content=content,
            headers=detector.headers(["rules:write"]) | {"content-type": "application/json"},
        )
        assert answer.status_code == 400, answer.text


def past(detector: Detector) -> list[dict[str, Any]]:
    """Decisions whose amounts and labels are known; the last ones of the service."""
    made = []
    for n in range(30):
        body = a_transaction(amount=float(100 * n), user_id=f"PAST_{n}")
        made.append(body | ok(detector.predict(body)))
    labels = [
        {"transaction_id": each["transaction_id"], "is_fraud": n % 3 == 0, "source": "chargeback"}
        for n, each in enumerate(made)
        if n % 2 == 0
    ]
    ok(post(detector, "/labels", {"labels": labels}))
    return made


def test_a_backtest_equals_a_recomputation_by_hand(detector: Detector) -> None:
    watched = (15, 18, 21, 24, 27)
    a_list(detector, "watched", "reference")
    put_on(detector, "watched", *(f"PAST_{n}" for n in watched))
    decided = past(detector)
    version = a_rule(detector, "OVER", "amount > 1600 && lists.watched || amount == 200")
    found = ok(post(detector, f"/rules/OVER/{version}/backtest", last=30))
    hits = [2, 18, 21, 24, 27]
    raised = [n for n in hits if decided[n]["risk_level"] in ("LOW", "MEDIUM")]
    missed = [n for n in (18, 24) if decided[n]["risk_level"] == "LOW"]
    assert found | {"oldest": None} == {
        "decisions": 30, "oldest": None, "skipped": 0,
        "hits": 5, "hit_share": 5 / 30, "hit_amount_minor": (2 + 18 + 21 + 24 + 27) * 100_00,
        "raised": len(raised), "raised_amount_minor": sum(raised) * 100_00,
        "labelled": 3, "fraud_hits": 2, "fraud_amount_minor": (18 + 24) * 100_00,
        "missed_fraud_hits": len(missed), "missed_fraud_amount_minor": sum(missed) * 100_00,
        "precision": 2 / 3,
    }  # fmt: skip


def test_changes_name_who_made_them_in_the_audit_log(detector: Detector) -> None:
    version = a_rule(detector, "AUDITED", "amount > 1", "shadow")
    found = detector.rows(
        "SELECT actor, action, object_id, outcome FROM audit_log"
        " WHERE object_type = 'rule' AND object_id LIKE 'AUDITED/%' ORDER BY recorded_at"
    )
    assert found == [
        ("ann", "rule.draft", f"AUDITED/{version}", "success"),
        ("ann", "rule.state", f"AUDITED/{version}", "success"),
    ]


def test_the_built_in_rules_serve_as_version_1(detector: Detector) -> None:
    shown = {each["code"]: each for each in ok(get(detector, "/rules", state="active"))["rules"]}
    for rule in CREDIT_CARD.rules:
        assert shown[rule.code]["version"] == 1
        assert shown[rule.code]["expression"] == rule.expression
        assert shown[rule.code]["created_by"] == "platform"


def test_an_unknown_fraud_type_is_refused(detector: Detector) -> None:
    answer = get(detector, "/rules", fraud_type="tax")
    assert answer.status_code == 422
    assert "credit_card" in answer.text
