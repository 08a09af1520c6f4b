"""Which of Stripe's news are labels."""

import pytest
import stripe

from bentos.connectors.stripe.labels import label_of
from fraud.domain.label import Label
from tests.bentos.connectors.stripe_objects import a_dispute, an_event

OPENED_S, TOLD_S = 1_767_225_600, 1_767_312_000


def label(kind: str, **about: object) -> Label | None:
    content = a_dispute("pi_1", created=OPENED_S) | about
    return label_of(stripe.Event.construct_from(an_event(kind, content, created=TOLD_S), "sk"))


@pytest.mark.parametrize(
    ("kind", "about", "is_fraud", "source", "reported_s"),
    [
        ("charge.dispute.created", {}, True, "chargeback", OPENED_S),
        (
            *("charge.dispute.created", {"status": "warning_needs_response"}),
            *(True, "customer_report", OPENED_S),
        ),
        ("charge.dispute.closed", {"status": "won"}, False, "chargeback", TOLD_S),
        ("radar.early_fraud_warning.created", {}, True, "customer_report", OPENED_S),
        ("review.closed", {"closed_reason": "refunded_as_fraud"}, True, "analyst", TOLD_S),
        ("review.closed", {"closed_reason": "approved"}, False, "analyst", TOLD_S),
        ("refund.created", {"reason": "fraudulent"}, True, "analyst", OPENED_S),
    ],
)
def test_news_that_are_labels(
    kind: str, about: dict[str, object], is_fraud: bool, source: str, reported_s: int
) -> None:
    found = label(kind, **about)
    assert found is not None
    assert (found.transaction_id, found.is_fraud, found.source) == ("pi_1", is_fraud, source)
    assert found.reported_at_us == reported_s * 1_000_000


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("charge.dispute.created", {"reason": "product_not_received"}),
        ("charge.dispute.closed", {"status": "lost"}),  # its opening said so already
        ("charge.dispute.closed", {"reason": "duplicate", "status": "won"}),
        ("charge.dispute.updated", {}),
        ("charge.dispute.created", {"payment_intent": None}),  # a charge without an intent
        ("charge.dispute.created", {"payment_intent": "pi_" + "x" * 48}),  # no transaction_id
        ("review.closed", {"closed_reason": "refunded"}),
        ("refund.created", {"reason": "requested_by_customer"}),
        ("payment_intent.created", {}),
    ],
)
def test_news_that_are_none(kind: str, about: dict[str, object]) -> None:
    assert label(kind, **about) is None
