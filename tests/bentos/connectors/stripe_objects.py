"""Stripe's objects, made by Stripe's library, and a client that remembers what was sent."""

import itertools
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import stripe

SECRET = "whsec_of_these_tests"

_numbers = itertools.count(1)


def a_card(**changes: object) -> dict[str, Any]:
    """What a charge says of the card that paid online."""
    card = {
        "country": "US",
        "fingerprint": "AOB934RVNwzk6xtn",
        "checks": {
            "cvc_check": "pass",
            "address_line1_check": "pass",
            "address_postal_code_check": "pass",
        },
        "three_d_secure": None,
    }
    return card | changes


def a_charge(kind: str = "card", **card: object) -> dict[str, Any]:
    details = {"type": kind, kind: a_card(**card)}
    return {
        "id": "ch_1",
        "object": "charge",
        "created": 1767225660,  # a minute after the intent
        "payment_method_details": details,
    }


def an_intent(intent_id: str = "pi_1", **changes: object) -> stripe.PaymentIntent:
    """A PaymentIntent of 10.99 USD that is authorised and waits for capture."""
    content = {
        "id": intent_id,
        "object": "payment_intent",
        "amount": 1099,
        "currency": "usd",
        "created": 1767225600,  # 2026-01-01T00:00:00Z
        "status": "requires_capture",
        "customer": "cus_123",
        "metadata": {},
        "latest_charge": a_charge(),
        "payment_method": None,
    }
    return stripe.PaymentIntent.construct_from({**content, **changes}, "sk_test_x")


def an_event(kind: str, about: Mapping[str, object], **changes: object) -> dict[str, Any]:
    """An event as Stripe's webhook sends it."""
    event = {
        "id": f"evt_{next(_numbers)}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(time.time()),
        "livemode": False,
        "type": kind,
        "data": {"object": dict(about)},
    }
    return event | changes


def a_dispute(payment_intent: str, **changes: object) -> dict[str, Any]:
    dispute = {
        "id": "dp_1",
        "object": "dispute",
        "payment_intent": payment_intent,
        "reason": "fraudulent",
        "status": "needs_response",
        "created": int(time.time()) - 60,
    }
    return dispute | changes


def signed(
    event: Mapping[str, object], *, secret: str = SECRET, age_s: int = 0
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a delivery."""
    body = json.dumps(event)
    header = stripe.WebhookSignature.generate_signature_header(
        body, secret, int(time.time()) - age_s
    )
    headers = {"content-type": "application/json; charset=utf-8", "stripe-signature": header}
    return body.encode(), headers


class RecordingClient(stripe.RequestsClient):
    """Sends requests like the library does, and remembers them.

    Attributes:
        refusals: how many of the next requests get a 429 instead.
    """

    def __init__(self) -> None:
        super().__init__(timeout=30)
        self.sent: list[tuple[str, str, dict[str, str], str | None]] = []
        self.refusals = 0

    def request(
        self, method: str, url: str, headers: Any, post_data: Any = None, **how: Any
    ) -> Any:
        path = url.split("/v1/", 1)[1].split("?")[0]
        keys = {name.lower(): value for name, value in headers.items()}
        self.sent.append((method, path, dict(parse_qsl(post_data)), keys.get("idempotency-key")))
        if self.refusals:
            self.refusals -= 1
            error = {"error": {"type": "invalid_request_error", "message": "Too many requests"}}
            return json.dumps(error), 429, {}
        return super().request(method, url, headers, post_data, **how)

    def posted(self) -> list[str]:
        """Paths of what was asked to be changed."""
        return [path for method, path, _, _ in self.sent if method == "post"]
