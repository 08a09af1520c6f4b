"""What Stripe is asked for, by stripe-mock, and what its refusals mean to us."""

from typing import Any

import pytest

from bentos.connectors.stripe.checking import (
    StripeConnector,
    StripePolicy,
    check_payment,
    connector_of,
)
from bentos.connectors.stripe.currency import Exchange
from bentos.connectors.stripe.gateway import StripeGateway
from fraud.domain.errors import (
    DuplicateConflict,
    LedgerUnavailable,
    NotFound,
    PartnerUnavailable,
    RefusedByPartner,
    SettingsError,
)
from fraud.settings import load_settings
from tests.bentos.connectors.stripe_objects import RecordingClient
from tests.fraud.run.free_ports import closed_port

KEY = "sk_test_123"


def a_verdict(action: str = "approve", **changes: object) -> dict[str, Any]:
    levels = {"approve": "LOW", "review": "MEDIUM", "block": "HIGH"}
    verdict = {
        "decision_id": "d-1",
        "recommended_action": action,
        "risk_level": levels[action],
        "degraded": False,
    }
    return verdict | changes


@pytest.fixture
def client() -> RecordingClient:
    return RecordingClient()


def connector(url: str, client: RecordingClient, **policy: bool) -> StripeConnector:
    return StripeConnector(StripeGateway(KEY, url, client), Exchange("usd"), StripePolicy(**policy))


def test_an_approved_payment_is_captured(stripe_mock: str, client: RecordingClient) -> None:
    asked: list[object] = []

    def predict(transaction: object) -> dict[str, Any]:
        asked.append(transaction)
        return a_verdict()

    outcome = check_payment("pi_9", connector(stripe_mock, client), predict)
    assert (outcome.status, outcome.reason, outcome.done) == (
        *("approved", "low_risk"),
        ("flagged", "captured"),
    )
    [transaction] = asked
    assert transaction["transaction_id"] == "pi_9"  # type: ignore[index]
    assert client.sent[0][:2] == ("get", "payment_intents/pi_9")
    assert client.posted() == ["payment_intents/pi_9", "payment_intents/pi_9/capture"]
    assert [key for method, _, _, key in client.sent if method == "post"] == [
        "d-1-low_risk",
        "d-1-capture",
    ]


def test_a_blocked_payment_is_canceled_as_fraudulent(
    stripe_mock: str, client: RecordingClient
) -> None:
    outcome = check_payment("pi_9", connector(stripe_mock, client), lambda _: a_verdict("block"))
    assert (outcome.status, outcome.reason) == ("declined", "fraud_detected")
    method, path, data, key = client.sent[-1]
    assert (method, path, key) == ("post", "payment_intents/pi_9/cancel", "d-1-cancel")
    assert data == {"cancellation_reason": "fraudulent"}


def test_a_payment_under_review_is_flagged_and_left_alone(
    stripe_mock: str, client: RecordingClient
) -> None:
    outcome = check_payment("pi_9", connector(stripe_mock, client), lambda _: a_verdict("review"))
    assert (outcome.status, outcome.done) == ("review", ("flagged",))
    assert client.sent[-1][2] == {
        "metadata[fraud_decision]": "d-1",
        "metadata[fraud_action]": "review",
        "metadata[fraud_reason]": "moderate_risk",
        "metadata[fraud_risk_level]": "MEDIUM",
    }


@pytest.mark.parametrize("action", ["approve", "block"])
def test_a_degraded_decision_moves_no_money(
    action: str, stripe_mock: str, client: RecordingClient
) -> None:
    degraded = a_verdict(action, degraded=True)
    outcome = check_payment("pi_9", connector(stripe_mock, client), lambda _: degraded)
    assert (outcome.status, outcome.reason) == ("review", "degraded")
    assert client.posted() == ["payment_intents/pi_9"]


def test_unless_the_policy_says_so(stripe_mock: str, client: RecordingClient) -> None:
    degraded = a_verdict("block", degraded=True)
    acting = connector(stripe_mock, client, acts_on_degraded=True)
    assert check_payment("pi_9", acting, lambda _: degraded).done == ("flagged", "canceled")


def test_a_merchant_may_capture_alone(stripe_mock: str, client: RecordingClient) -> None:
    outcome = check_payment(
        "pi_9", connector(stripe_mock, client, captures=False), lambda _: a_verdict()
    )
    assert (outcome.status, outcome.done) == ("approved", ("flagged",))


def test_a_payment_that_changed_since_it_was_decided_is_left_to_people(
    stripe_mock: str, client: RecordingClient
) -> None:
    def predict(transaction: object) -> dict[str, Any]:
        raise DuplicateConflict("pi_9 was decided before with another body.")

    outcome = check_payment("pi_9", connector(stripe_mock, client), predict)
    assert (outcome.status, outcome.reason) == ("review", "changed_since_decided")
    assert client.posted() == ["payment_intents/pi_9"]


def test_without_a_decision_nothing_moves(stripe_mock: str, client: RecordingClient) -> None:
    def predict(transaction: object) -> dict[str, Any]:
        raise LedgerUnavailable("away")

    with pytest.raises(LedgerUnavailable):
        check_payment("pi_9", connector(stripe_mock, client), predict)
    assert client.posted() == []


def test_rate_limits_are_waited_out(stripe_mock: str, client: RecordingClient) -> None:
    client.refusals = 2
    assert connector(stripe_mock, client).look_up("pi_9").status == "requires_capture"
    assert [path for _, path, _, _ in client.sent].count("payment_intents/pi_9") == 3


def test_a_limit_that_lasts_is_an_error_to_come_back_from(
    stripe_mock: str, client: RecordingClient
) -> None:
    client.refusals = 100
    with pytest.raises(PartnerUnavailable, match="RateLimitError"):
        connector(stripe_mock, client).look_up("pi_9")


def test_stripe_away_is_an_error_to_come_back_from(client: RecordingClient) -> None:
    with pytest.raises(PartnerUnavailable, match="nothing is done twice"):
        connector(f"http://127.0.0.1:{closed_port()}", client).look_up("pi_9")


def test_a_request_stripe_refuses_says_why(stripe_mock: str, client: RecordingClient) -> None:
    gateway = StripeGateway(KEY, stripe_mock, client)
    with pytest.raises(RefusedByPartner, match="Request validation error"):
        gateway.flag("pi_9", "not an object", "k")  # type: ignore[arg-type]


def test_a_key_that_is_none_names_the_setting(stripe_mock: str, client: RecordingClient) -> None:
    gateway = StripeGateway("nonsense", stripe_mock, client)
    with pytest.raises(SettingsError, match="FRAUD_STRIPE_API_KEY"):
        gateway.payment("pi_9")


def test_an_unknown_payment_is_not_found(client: RecordingClient) -> None:
    client.request = lambda *_, **__: (  # type: ignore[method-assign]
        '{"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No"}}',
        *(404, {}),
    )
    with pytest.raises(NotFound, match="no such payment"):
        connector("http://127.0.0.1", client).look_up("pi_9")


def test_without_a_key_the_connector_is_off() -> None:
    with pytest.raises(SettingsError, match="FRAUD_STRIPE_API_KEY"):
        connector_of(load_settings())
