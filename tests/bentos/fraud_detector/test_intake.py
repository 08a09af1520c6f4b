"""Bodies that mean the same are the same body."""

import hashlib
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


def test_the_canonical_body_is_what_it_was_in_every_version_so_far() -> None:
    """Digests lie in ledgers: a repetition after an upgrade has to be one still."""
    canonical = (
        b'{"amount":1250,"fraud_type":"credit_card","merchant_category":"grocery",'
        b'"merchant_id":"m","timestamp":"2026-01-02T02:04:05.600000+00:00",'
        b'"transaction_id":"T1","user_id":"u"}'
    )
    assert digest(timestamp="2026-01-02T03:04:05.6+01:00") == hashlib.sha256(canonical).digest()
