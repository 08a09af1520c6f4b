"""Bodies that mean the same are the same body."""

import json

from bentos.fraud_detector.intake import accept, body_digest
from fraud.domain.event import TransactionBase
from fraud.types.credit_card import CreditCardTransaction

NOW_US = 1_775_000_000_000_000
BODY = {
    "transaction_id": "T1",
    "amount": 12.5,
    "user_id": "u",
    "merchant_id": "m",
    "merchant_category": "grocery",
}


class Later(CreditCardTransaction):
    """The fraud type of a later version."""

    shipping_country: str | None = None


def digest(**changes: object) -> bytes:
    return accept(json.loads(json.dumps(BODY | changes)), NOW_US).body_digest


def test_what_was_not_sent_and_what_is_null_are_one_body() -> None:
    assert digest() == digest(device_id=None, fraud_type="credit_card")
    assert digest() != digest(device_id="d")
    assert digest(amount=12) != digest()


def test_a_repetition_that_meets_a_later_version_is_still_the_same_body() -> None:
    def later(model: type[TransactionBase], **changes: object) -> bytes:
        return body_digest("credit_card", model.model_validate(BODY | changes))

    assert later(Later) == later(CreditCardTransaction) == digest()
    assert later(Later, shipping_country="US") != digest()
