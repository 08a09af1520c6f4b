"""Stripe's webhook on the running service, with stripe-mock as Stripe."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from bentos.connectors.stripe.checking import connector_of
from fraud.cli import app
from tests.bentos.connectors.stripe_objects import (
    SECRET,
    RecordingClient,
    a_dispute,
    an_event,
    signed,
)
from tests.bentos.fraud_detector.detector import Detector, running
from tests.bentos.fraud_detector.operations.office import a_rule, ok, soon
from tests.servers import temporary_run_dir

PATH = "/connectors/stripe/webhook"
CAPTURABLE = "payment_intent.amount_capturable_updated"


@pytest.fixture(scope="module")
def detector(new_ledger: Callable[[], str], stripe_mock: str) -> Iterator[Detector]:
    settings = {
        "stripe_api_base": stripe_mock,
        "stripe_api_key": "sk_test_123",
        "stripe_webhook_secret": SECRET,
    }
    with temporary_run_dir() as run_dir, running(run_dir, new_ledger(), "m-1", **settings) as one:
        yield one


@pytest.fixture
def stripe_calls(detector: Detector) -> RecordingClient:
    """What the service sends to Stripe from now on."""
    client = RecordingClient()
    detector.runtime.stripe = connector_of(detector.settings, client)
    return client


def deliver(detector: Detector, kind: str, about: dict[str, Any], **how: Any) -> httpx.Response:
    body, headers = signed(an_event(kind, about), **how)
    return httpx.post(f"{detector.url}{PATH}", content=body, headers=headers, timeout=30)


def test_an_authorised_payment_is_decided_and_settled(
    detector: Detector, stripe_calls: RecordingClient
) -> None:
    answer = deliver(detector, CAPTURABLE, {"id": "pi_first", "object": "payment_intent"})
    assert answer.status_code == 200, answer.text
    outcome = answer.json()["outcome"]
    [(decided_id, user, amount_minor)] = detector.rows(
        "SELECT d.decision_id, t.user_id, (t.amount * 100)::int FROM decisions d "
        "JOIN transactions t USING (transaction_id) WHERE t.transaction_id = 'pi_first'"
    )
    assert (str(decided_id), user, amount_minor) == (outcome["decision_id"], "cus_123", 1099)
    follows = {"approved": ["/capture"], "declined": ["/cancel"], "review": []}
    flagged = "payment_intents/pi_first"
    assert stripe_calls.posted() == [flagged] + [
        flagged + each for each in follows[outcome["status"]]
    ]


def test_an_event_that_comes_twice_is_decided_once(
    detector: Detector, stripe_calls: RecordingClient
) -> None:
    event = an_event(CAPTURABLE, {"id": "pi_twice", "object": "payment_intent"})
    body, headers = signed(event)
    answers = [
        httpx.post(f"{detector.url}{PATH}", content=body, headers=headers, timeout=30)
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["outcome"] == answers[1].json()["outcome"]
    found = detector.rows("SELECT count(*) FROM decisions WHERE transaction_id = 'pi_twice'")
    assert found == [(1,)]
    keys = [key for method, _, _, key in stripe_calls.sent if method == "post"]
    half = len(keys) // 2
    assert keys[:half] == keys[half:], "Stripe carries out what has the same key once"


def test_the_capture_that_follows_finds_the_same_decision(
    detector: Detector, stripe_calls: RecordingClient
) -> None:
    about = {"id": "pi_later", "object": "payment_intent"}
    first = deliver(detector, CAPTURABLE, about).json()
    second = deliver(detector, "payment_intent.succeeded", about).json()
    assert second["outcome"]["decision_id"] == first["outcome"]["decision_id"]


def test_a_dispute_becomes_a_chargeback_that_acts(
    detector: Detector, stripe_calls: RecordingClient
) -> None:
    deliver(detector, CAPTURABLE, {"id": "pi_disputed", "object": "payment_intent"})
    dispute = a_dispute("pi_disputed")
    answers = [deliver(detector, "charge.dispute.created", dispute).json() for _ in range(2)]
    assert [answer["result"] for answer in answers] == ["labelled", "repeated"]
    assert detector.rows(
        "SELECT is_fraud, source, extract(epoch FROM reported_at)::bigint FROM labels "
        "WHERE transaction_id = 'pi_disputed'"
    ) == [(True, "chargeback", dispute["created"])]


def test_an_early_fraud_warning_is_the_issuers_word(
    detector: Detector, stripe_calls: RecordingClient
) -> None:
    warning = {"id": "issfr_1", "payment_intent": "pi_warned", "created": 1_767_225_600}
    answer = deliver(detector, "radar.early_fraud_warning.created", warning)
    assert answer.json()["result"] == "labelled"
    assert detector.rows("SELECT source FROM labels WHERE transaction_id = 'pi_warned'") == [
        ("customer_report",)
    ]


def test_other_news_are_noted(detector: Detector, stripe_calls: RecordingClient) -> None:
    answer = deliver(detector, "payment_intent.created", {"id": "pi_new", "status": "x"})
    assert (answer.status_code, answer.json()["result"]) == (200, "noted")
    assert stripe_calls.sent == []


def test_every_event_leaves_an_audit_record(
    detector: Detector, stripe_calls: RecordingClient
) -> None:
    event = deliver(detector, "payment_intent.canceled", {"id": "pi_gone"}).json()["event"]
    assert detector.rows(
        f"SELECT actor, action, outcome FROM audit_log WHERE object_id = '{event}'"
    ) == [("stripe", "stripe_event", "success")]


def test_what_cannot_be_decided_is_left_to_people_and_not_sent_again(
    detector: Detector, stripe_calls: RecordingClient
) -> None:
    long_id = "pi_" + "x" * 60
    answer = deliver(detector, CAPTURABLE, {"id": long_id, "object": "payment_intent"})
    assert answer.status_code == 200
    assert answer.json()["outcome"]["reason"] == "not_scorable"
    assert "transaction_id" in answer.json()["outcome"]["problem"]
    assert stripe_calls.posted() == [f"payment_intents/{long_id}"]


def test_stripe_shall_come_again_when_its_api_is_away(
    detector: Detector, stripe_calls: RecordingClient
) -> None:
    stripe_calls.refusals = 100
    answer = deliver(detector, CAPTURABLE, {"id": "pi_limited", "object": "payment_intent"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "how", [{"secret": "whsec_of_somebody_else"}, {"age_s": 301}], ids=["wrong secret", "too old"]
)
def test_who_did_not_sign_it_now_is_refused(
    how: dict[str, Any], detector: Detector, stripe_calls: RecordingClient
) -> None:
    answer = deliver(detector, "charge.dispute.created", a_dispute("pi_forged"), **how)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Stripe-Signature")
    assert answer.json()["type"].endswith("invalid-signature")
    assert detector.rows("SELECT * FROM labels WHERE transaction_id = 'pi_forged'") == []


def test_a_body_altered_by_one_byte_is_refused(detector: Detector) -> None:
    body, headers = signed(an_event("charge.dispute.created", a_dispute("pi_altered")))
    altered = body.replace(b"pi_altered", b"pi_altereD")
    answer = httpx.post(f"{detector.url}{PATH}", content=altered, headers=headers, timeout=30)
    assert answer.status_code == 401


def test_no_signature_or_two_are_refused(detector: Detector) -> None:
    body, headers = signed(an_event("charge.dispute.created", a_dispute("pi_two")))
    signature = headers.pop("stripe-signature")
    for given in ([], [signature, signature]):
        sent = [*headers.items(), *(("stripe-signature", each) for each in given)]
        answer = httpx.post(f"{detector.url}{PATH}", content=body, headers=sent, timeout=30)
        assert answer.status_code == 401


def test_a_signed_body_that_is_no_event_is_malformed(detector: Detector) -> None:
    body, headers = signed({"object": "v2.core.event"})
    answer = httpx.post(f"{detector.url}{PATH}", content=body, headers=headers, timeout=30)
    assert answer.status_code == 400


def test_a_payment_is_checked_from_the_command_line(
    detector: Detector, stripe_calls: RecordingClient
) -> None:
    """With the settings of the running service, which its environment holds."""
    commands = ["stripe", "check", "pi_called", "--api", detector.url]
    outcomes = [CliRunner().invoke(app, commands) for _ in range(2)]
    assert [each.exit_code for each in outcomes] == [0, 0], outcomes[0].output
    first, again = (json.loads(each.stdout) for each in outcomes)
    assert first["payment_intent"] == "pi_called"
    assert first == again
    webhook = deliver(detector, CAPTURABLE, {"id": "pi_called", "object": "payment_intent"})
    assert webhook.json()["outcome"]["decision_id"] == first["decision_id"]


def test_rules_can_look_at_card_checks(detector: Detector) -> None:
    a_rule(detector, "CVC_FAILED", "cvc_check == 'fail' && three_d_secure == false", "active")
    soon(lambda: ok(detector.predict(cvc_check="fail"))["rules"] == ["CVC_FAILED"])
    assert ok(detector.predict(cvc_check="pass"))["rules"] == []
    assert ok(detector.predict(cvc_check="fail", three_d_secure=True))["rules"] == []
