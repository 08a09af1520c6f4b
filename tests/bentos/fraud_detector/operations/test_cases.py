"""From an alert to a verdict to a label that acts, through the API."""

import uuid
from typing import Any

import numpy as np
import pytest

from fraud.domain.history import YEAR_S
from fraud.ledger.archive import decision_of
from fraud.ledger.pool import transaction
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.fraud_detector.detector import Detector, a_transaction
from tests.bentos.fraud_detector.operations.office import a_rule, get, ok, post, soon

AMOUNTS = (40.0, 900.0, 300.0, 0.0)


@pytest.fixture(scope="module")
def flagged(detector: Detector) -> list[dict[str, Any]]:
    """Four decisions that a rule flagged, and one that nobody did."""
    a_rule(detector, "FLAGGED", "user_id.startsWith('SUSPECT')", "active", "MEDIUM")
    soon(lambda: ok(detector.predict(user_id="SUSPECT_0"))["rules"] == ["FLAGGED"])
    detector.predict(amount=5000.0)
    return [ok(detector.predict(user_id=f"SUSPECT_{n}", amount=a)) for n, a in enumerate(AMOUNTS)]


def queue(detector: Detector, **parameters: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ok(get(detector, "/cases", **parameters))["cases"]
    return found


def test_the_queue_shows_what_is_most_at_stake_first(
    detector: Detector, flagged: list[dict[str, Any]]
) -> None:
    mine = [each["decision_id"] for each in flagged]
    shown = [each for each in queue(detector) if each["case_id"] in mine]
    assert [each["amount_minor"] for each in shown] == [90_000, 30_000, 4_000, 0]
    for each in shown:
        at_risk = round(each["fraud_probability"] * each["amount_minor"])
        assert each["money_at_risk_minor"] == at_risk
        assert (each["status"], each["alert_type"]) == ("open", "FLAGGED")
    assert 500_000 not in {each["amount_minor"] for each in queue(detector)}


def test_pages_of_the_queue_follow_each_other_without_gap(
    detector: Detector, flagged: list[dict[str, Any]]
) -> None:
    everything = [each["case_id"] for each in queue(detector)]
    paged: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = ok(get(detector, "/cases", limit=2, **after))
        paged += [each["case_id"] for each in page["cases"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert paged == everything
    assert len(paged) >= 5
    assert get(detector, "/cases", after="nonsense!").status_code == 422


def test_a_case_is_assigned_discussed_and_closed_and_becomes_a_label(detector: Detector) -> None:
    a_rule(detector, "ONCE", "user_id == 'VICTIM'", "active", "MEDIUM")
    soon(lambda: ok(detector.predict(user_id="VICTIM"))["rules"] == ["ONCE"])
    body = a_transaction(user_id="VICTIM")
    case_id = ok(detector.predict(body))["decision_id"]
    name = body["transaction_id"]

    assigned = ok(post(detector, f"/cases/{case_id}/assignment", {"assignee": "bob"}))
    assert (assigned["status"], assigned["assignee"]) == ("in_review", "bob")
    assert case_id in {each["case_id"] for each in queue(detector, status="in_review")}
    assert detector.rows(f"SELECT status FROM fraud_alerts WHERE transaction_id = '{name}'") == [
        ("in_review",)
    ]
    ok(post(detector, f"/cases/{case_id}/comments", {"text": "Called the holder."}, subject="bob"))
    closure = {"verdict": "fraud", "comment": "Never ordered it."}
    closed = ok(post(detector, f"/cases/{case_id}/closure", closure, subject="bob"))
    assert (closed["status"], closed["verdict"]) == ("closed", "fraud")
    assert [(each["by"], each["text"]) for each in closed["comments"]] == [
        ("bob", "Called the holder."),
        ("bob", "Never ordered it."),
    ]
    assert detector.rows(
        f"SELECT is_fraud, source FROM labels WHERE transaction_id = '{name}'"
    ) == [(True, "analyst")]
    again = post(detector, f"/cases/{case_id}/closure", closure)
    assert again.status_code == 422
    assert detector.rows(f"SELECT count(*) FROM labels WHERE transaction_id = '{name}'") == [(1,)]
    actions = detector.rows(
        "SELECT action FROM audit_log WHERE object_type = 'case' AND outcome = 'success'"
        f" AND object_id = '{case_id}' ORDER BY recorded_at, position"
    )
    assert [action for (action,) in actions if action != "case.read"] == [
        "case.assign",
        "case.comment",
        "case.close",
    ]
    # The verdict acts: the next payment of this user knows of a fraud.
    after = ok(detector.predict(user_id="VICTIM"))
    shown = ok(get(detector, f"/decisions/{after['decision_id']}"))
    features = {each["name"]: each["value"] for each in shown["features"]}
    assert features["user_seconds_since_latest_fraud"] < YEAR_S


def test_a_case_that_is_not_there_is_404(detector: Detector) -> None:
    for path in (f"/cases/{uuid.uuid4()}", "/cases/none"):
        assert get(detector, path).status_code == 404
    answer = post(detector, f"/cases/{uuid.uuid4()}/closure", {"verdict": "fraud"})
    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["/cases/a%0Ab", "/lists/%00", "/cases/%7F/closure"])
def test_a_path_with_control_characters_names_nothing(detector: Detector, path: str) -> None:
    answer = post(detector, path) if path.endswith("closure") else get(detector, path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "query", ["/decisions?user_id=%00", "/audit?actor=%0A", "/cases?assignee=%ED%A0%80%00"]
)
def test_a_query_that_cannot_be_printed_is_refused(detector: Detector, query: str) -> None:
    assert get(detector, query).status_code == 422


def test_labels_have_each_their_own_fate(detector: Detector) -> None:
    name = ok(detector.predict())["transaction_id"]
    label = {"transaction_id": name, "is_fraud": True, "source": "chargeback"}
    at = {"reported_at": "2026-01-05T10:00:00Z"}
    told = ok(
        post(
            detector,
            "/labels",
            {"labels": [label | at, label | at, label | at | {"is_fraud": False}]},
        )
    )["labels"]
    assert [each["status"] for each in told] == ["stored", "repeated", "refused"]
    assert told[0]["acted"]
    assert told[2]["error"]["status"] == 409
    late = post(detector, "/labels", {"labels": [label | {"reported_at": "2199-01-01T00:00:00Z"}]})
    assert late.status_code == 422
    assert "labels.0.reported_at" in late.text


def test_a_decision_shows_all_it_was_made_from(
    detector: Detector, flagged: list[dict[str, Any]]
) -> None:
    decided = flagged[1]
    shown = ok(get(detector, f"/decisions/{decided['decision_id']}"))
    by_transaction = ok(get(detector, f"/transactions/{decided['transaction_id']}/decision"))
    assert shown == by_transaction
    for name in ("fraud_probability", "risk_level", "rules", "reasons", "transaction_id"):
        assert shown[name] == decided[name]
    assert shown["fields"]["user_id"] == "SUSPECT_1"
    assert shown["versions"]["model"] == decided["model_version"]
    assert shown["versions"]["policy"] == decided["policy_version"]
    assert shown["versions"]["rules"] > 0
    with transaction(detector.ledger) as cursor:
        kept = decision_of(cursor, decided["transaction_id"])
    values = np.frombuffer(kept.feature_values, "<f8").tolist()
    read = [each["value"] for each in shown["features"]]
    assert np.array(read, np.float32).tolist() == values
    assert read == [float(str(np.float32(value))) for value in values]
    assert [each["name"] for each in shown["features"]] == list(CREDIT_CARD.feature_names)
    assert get(detector, f"/decisions/{uuid.uuid4()}").status_code == 404
    assert get(detector, "/decisions/1").status_code == 404


def test_decisions_are_found_by_time_risk_and_user(
    detector: Detector, flagged: list[dict[str, Any]]
) -> None:
    def found(**parameters: object) -> list[str]:
        page = ok(get(detector, "/decisions", **parameters))
        return [each["decision_id"] for each in page["decisions"]]

    ids = [each["decision_id"] for each in flagged]
    assert found(user_id="SUSPECT_2") == [ids[2]]
    assert found(transaction_id=flagged[3]["transaction_id"]) == [ids[3]]
    assert set(ids) <= set(found(risk_level="MEDIUM"))
    assert not set(ids) & set(found(risk_level="LOW"))
    since, until = flagged[1]["scored_at"], flagged[3]["scored_at"]
    assert found(since=since, until=until, risk_level="MEDIUM") == [ids[2], ids[1]]
    everything = found(limit=500)
    assert everything == sorted(everything, reverse=True)  # newest first: ids sort by time
    page = ok(get(detector, "/decisions", limit=3))
    rest = found(limit=500, after=page["next"])
    assert [each["decision_id"] for each in page["decisions"]] + rest == everything


def test_the_audit_log_is_found_paged_and_verified(detector: Detector) -> None:
    ok(post(detector, "/lists", {"name": "traced", "kind": "deny", "field": "user_id"}, "eve"))
    found = ok(get(detector, "/audit", actor="eve"))["records"]
    assert [(each["action"], each["object_id"]) for each in found] == [("list.create", "traced")]
    assert found[0]["origin"] == "127.0.0.1"
    page = ok(get(detector, "/audit", limit=4, until=found[0]["recorded_at"]))
    rest = ok(get(detector, "/audit", limit=4, until=found[0]["recorded_at"], after=page["next"]))
    places = [(each["recorded_at"], each["position"]) for each in page["records"] + rest["records"]]
    assert places == sorted(set(places), reverse=True)
    assert len(places) == 8
    checked = ok(post(detector, "/audit/verification"))
    assert checked["is_intact"], checked
    assert checked["records"] > 8
    assert get(detector, "/audit", after="x.y.z").status_code == 422


def test_an_altered_audit_log_is_found(detector: Detector) -> None:
    with transaction(detector.ledger) as cursor:
        cursor.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_is_append_only")
        cursor.execute(
            "UPDATE audit_log SET actor = 'nobody' WHERE position = 2 RETURNING chain, position"
        )
        (place,) = cursor.fetchall()
        cursor.execute("ALTER TABLE audit_log ENABLE TRIGGER audit_log_is_append_only")
    checked = ok(post(detector, "/audit/verification"))
    assert not checked["is_intact"]
    assert [(each["chain"], each["position"], each["kind"]) for each in checked["findings"]] == [
        (*place, "edited")
    ]
