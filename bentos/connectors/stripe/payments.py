"""A PaymentIntent as a card transaction.

One rule per field, all of them here; what is not known stays out rather than being guessed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import stripe

from bentos.connectors.stripe.currency import Exchange
from fraud.domain.errors import InvalidField
from fraud.domain.event import from_us

EXPAND = ("latest_charge", "payment_method")
"""What a PaymentIntent must be retrieved with."""

CATEGORY_UNKNOWN = "unknown"

_CARDS = ("card", "card_present", "interac_present")
_CHIP_READS = ("contact_emv", "contactless_emv")
_WORST_FIRST = ("fail", "unavailable", "unchecked", "pass")

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Merchant:
    """The Stripe account that takes the payments.

    Attributes:
        account_id: `acct_...`; the merchant where metadata names none.
        country: ISO 3166 alpha-2; cards of other countries are foreign.
    """

    account_id: str
    country: str


def transaction_of(
    intent: stripe.PaymentIntent, merchant: Merchant, exchange: Exchange
) -> dict[str, object]:
    """The body of `/predict` for a PaymentIntent that was retrieved with `EXPAND`.

    - The time is that of the latest charge, when the card was used; else that of the intent.
    - Who pays is the customer. A guest is known by the fingerprint of the card.
    - Merchant, category and device come from metadata (`merchant_id`, `category`, `device_id`);
      without, the merchant is the account the money is for, the category `unknown`.
    - Street and postal code checks become one, the worse of the two.

    Raises:
        InvalidField: nobody can be named as the payer, it is no card payment, or no exchange
            rate is known.
    """
    content = intent.to_dict()
    charge = _node(content.get("latest_charge"))
    kind, card = _card(content, charge)
    metadata = _node(content.get("metadata"))
    amount_minor = exchange.to_platform_minor(content["amount"], content["currency"])
    issued_in = card.get("country")
    found: dict[str, object | None] = {
        "fraud_type": "credit_card",
        "transaction_id": content["id"],
        "timestamp": _time(charge.get("created") or content["created"]),
        "amount": amount_minor / 100.0,
        "user_id": _payer(content, card),
        "merchant_id": metadata.get("merchant_id") or _beneficiary(content) or merchant.account_id,
        "merchant_category": metadata.get("category") or CATEGORY_UNKNOWN,
        "device_id": metadata.get("device_id"),
        "country": merchant.country,
        "foreign_transaction": None if issued_in is None else issued_in != merchant.country,
        "card_present": kind != "card",
        "used_chip": card.get("read_method") in _CHIP_READS if kind != "card" else False,
        **_checks(card),
    }
    return {name: value for name, value in found.items() if value is not None}


def _card(content: Node, charge: Node) -> tuple[str, Node]:
    """How the card was used, and what is known of it: of the charge, else of the method."""
    for details in (charge.get("payment_method_details"), content.get("payment_method")):
        known = _node(details)
        kind = known.get("type")
        if kind in _CARDS:
            return kind, _node(known.get(kind))
    what = "is not paid by a card yet"
    remedy = "Check it once a card is attached, best between authorisation and capture."
    raise InvalidField([("payment_method", what, remedy)])


def _payer(content: Node, card: Node) -> str:
    customer, fingerprint = _id(content.get("customer")), card.get("fingerprint")
    if customer is None and fingerprint is None:
        what = "is missing, and the card has no fingerprint"
        raise InvalidField([("customer", what, "Attach a Customer to the PaymentIntent.")])
    return customer or f"card_{fingerprint}"


def _beneficiary(content: Node) -> str | None:
    destination = _node(content.get("transfer_data")).get("destination")
    return _id(content.get("on_behalf_of")) or _id(destination)


def _checks(card: Node) -> dict[str, object | None]:
    checks = _node(card.get("checks"))
    secured = card.get("three_d_secure")
    return {
        "cvc_check": checks.get("cvc_check"),
        "address_check": _worst(
            (checks.get("address_line1_check"), checks.get("address_postal_code_check"))
        ),
        "three_d_secure": _node(secured).get("result") == "authenticated" if secured else None,
    }


def _worst(results: Iterable[str | None]) -> str | None:
    given = set(results)
    return next((result for result in _WORST_FIRST if result in given), None)


def _time(seconds: int) -> str:
    return from_us(seconds * 1_000_000).isoformat()


def _node(value: object) -> Node:
    """An expanded object; an id that was not expanded, or nothing, tells nothing."""
    return value if isinstance(value, Mapping) else {}


def _id(value: object) -> str | None:
    """The id of an object, expanded or not."""
    found = value.get("id") if isinstance(value, Mapping) else value
    return found if isinstance(found, str) and found else None
