"""What Stripe learns about a payment later, as labels.

event                            said by            verdict
charge.dispute.created           chargeback         fraud, where the reason is `fraudulent`
                                 customer_report    the same, where it is an inquiry only
charge.dispute.closed            chargeback         genuine, where such a dispute was won
radar.early_fraud_warning.*      customer_report    fraud: the issuer says so before any dispute
review.closed                    analyst            fraud if refunded as such, genuine if approved
refund.created                   analyst            fraud, where the reason is `fraudulent`

Disputes for other reasons (goods not received, subscription cancelled) say nothing about who
used the card, and become no label.
"""

from collections.abc import Callable, Mapping
from typing import Any

import stripe

from fraud.domain.label import Label, LabelSource

LONGEST_ID = 50
"""Characters of a transaction_id: a payment with a longer one was never decided."""

Node = Mapping[str, Any]
Finding = tuple[bool, LabelSource] | None


def label_of(event: stripe.Event) -> Label | None:
    """The label an event brings, or none.

    A label is reported when the object came to be, or, where it ended, when the event did: so
    the same news told twice is the same label.
    """
    read = _READERS.get(event.type)
    content: Node = event.data.object.to_dict()
    finding = read(content) if read else None
    payment = content.get("payment_intent")
    if finding is None or not isinstance(payment, str) or len(payment) > LONGEST_ID:
        return None
    is_fraud, source = finding
    reported_s = event.created if event.type in _ENDS else content["created"]
    return Label(payment, is_fraud, reported_s * 1_000_000, source)


def _dispute_opened(dispute: Node) -> Finding:
    if dispute["reason"] != "fraudulent":
        return None
    is_inquiry = str(dispute["status"]).startswith("warning_")
    return True, "customer_report" if is_inquiry else "chargeback"


def _dispute_closed(dispute: Node) -> Finding:
    is_won = dispute["reason"] == "fraudulent" and dispute["status"] == "won"
    return (False, "chargeback") if is_won else None


def _fraud_warning(warning: Node) -> Finding:
    return True, "customer_report"


def _review_closed(review: Node) -> Finding:
    verdicts = {"refunded_as_fraud": True, "approved": False}
    verdict = verdicts.get(review["closed_reason"])
    return None if verdict is None else (verdict, "analyst")


def _refunded(refund: Node) -> Finding:
    return (True, "analyst") if refund.get("reason") == "fraudulent" else None


_READERS: dict[str, Callable[[Node], Finding]] = {
    "charge.dispute.created": _dispute_opened,
    "charge.dispute.closed": _dispute_closed,
    "radar.early_fraud_warning.created": _fraud_warning,
    "radar.early_fraud_warning.updated": _fraud_warning,
    "review.closed": _review_closed,
    "refund.created": _refunded,
}
_ENDS = frozenset({"charge.dispute.closed", "review.closed"})
