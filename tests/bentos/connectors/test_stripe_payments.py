"""A PaymentIntent as a transaction: amounts, cards, names."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.connectors.stripe.currency import THREE_DECIMAL, ZERO_DECIMAL, Exchange
from bentos.connectors.stripe.payments import Merchant, transaction_of
from bentos.fraud_detector.intake import accept
from fraud.domain.errors import InvalidField, SettingsError
from tests.bentos.connectors.stripe_objects import a_card, a_charge, an_intent

NOW_US = 1_767_312_000_000_000  # 2026-01-02, a day after the intents
MERCHANT = Merchant("acct_1", "US")
USD = Exchange("usd", {"eur": Decimal("1.10"), "jpy": Decimal("0.0067"), "kwd": Decimal("3.25")})


def mapped(**changes: object) -> dict[str, Any]:
    return transaction_of(an_intent(**changes), MERCHANT, USD)


def test_an_authorised_payment_becomes_a_card_transaction() -> None:
    metadata = {"merchant_id": "MERCH_001", "category": "electronics", "device_id": "dev_1"}
    assert mapped(metadata=metadata) == {
        "fraud_type": "credit_card",
        "transaction_id": "pi_1",
        "timestamp": "2026-01-01T00:01:00+00:00",  # of the charge, not of the intent
        "amount": 10.99,
        "user_id": "cus_123",
        "merchant_id": "MERCH_001",
        "merchant_category": "electronics",
        "device_id": "dev_1",
        "country": "US",
        "foreign_transaction": False,
        "card_present": False,
        "used_chip": False,
        "cvc_check": "pass",
        "address_check": "pass",
    }


def test_what_is_mapped_is_accepted_as_it_is() -> None:
    event = accept(mapped(), NOW_US).event
    assert (event.amount_minor, event.fields["user_id"]) == (1099, "cus_123")
    assert event.fields["cvc_check"] == "pass"


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        (1099, "usd", 1099),
        (1000, "eur", 1100),
        (500, "jpy", 335),  # 500 yen at 0.67 cents
        (1990, "kwd", 647),  # 1.990 dinar at 3.25 dollars: 6.4675, rounded once
    ],
)
def test_amounts_are_counted_in_minor_units_of_the_platform(
    amount: int, currency: str, minor: int
) -> None:
    assert USD.to_platform_minor(amount, currency) == minor


@given(st.integers(0, 9_999_999_999))
def test_the_platforms_own_currency_is_exact_whatever_its_decimals(amount: int) -> None:
    assert Exchange("usd").to_platform_minor(amount, "usd") == amount
    assert Exchange("jpy").to_platform_minor(amount, "jpy") == amount * 100
    assert Exchange("kwd").to_platform_minor(amount * 10, "kwd") == amount


def test_currencies_of_no_known_rate_are_refused() -> None:
    with pytest.raises(InvalidField, match="'sek', and the platform counts in 'usd'"):
        mapped(currency="sek")


def test_no_currency_has_two_kinds_of_decimals() -> None:
    assert not ZERO_DECIMAL & THREE_DECIMAL
    assert not {"isk", "ugx", "huf", "twd"} & (ZERO_DECIMAL | THREE_DECIMAL)  # two at Stripe


@pytest.mark.parametrize("rates", ["eur", "eur=", "eur=0", "eur=-1", "euro=1", "eur=nan"])
def test_a_rate_that_is_none_names_itself(rates: str) -> None:
    with pytest.raises(SettingsError, match="FRAUD_EXCHANGE_RATES has 'eur"):
        Exchange.parse("usd", rates)


def test_rates_are_read_from_settings() -> None:
    assert Exchange.parse("usd", " EUR=1.10, jpy=0.0067,").rates == {
        "eur": Decimal("1.10"),
        "jpy": Decimal("0.0067"),
    }


def test_a_chip_read_at_a_terminal() -> None:
    charge = a_charge("card_present", read_method="contact_emv", checks=None)
    transaction = mapped(latest_charge=charge)
    assert (transaction["card_present"], transaction["used_chip"]) == (True, True)
    assert "cvc_check" not in transaction


def test_a_stripe_read_at_a_terminal_is_no_chip() -> None:
    charge = a_charge("card_present", read_method="magnetic_stripe_track2")
    assert mapped(latest_charge=charge)["used_chip"] is False


def test_a_card_of_another_country_is_foreign_and_an_unknown_one_is_not_guessed() -> None:
    assert mapped(latest_charge=a_charge(country="FR"))["foreign_transaction"] is True
    assert "foreign_transaction" not in mapped(latest_charge=a_charge(country=None))


def test_the_worse_of_two_address_checks_counts() -> None:
    checks = {"address_line1_check": "pass", "address_postal_code_check": "fail"}
    assert mapped(latest_charge=a_charge(checks=checks))["address_check"] == "fail"


@pytest.mark.parametrize(
    ("result", "told"),
    [("authenticated", True), ("failed", False), ("attempt_acknowledged", False)],
)
def test_only_an_authenticated_cardholder_counts_as_secured(result: str, told: bool) -> None:
    charge = a_charge(three_d_secure={"result": result})
    assert mapped(latest_charge=charge)["three_d_secure"] is told


def test_before_confirmation_the_payment_method_tells_of_the_card() -> None:
    method = {
        "id": "pm_1",
        "object": "payment_method",
        "type": "card",
        "card": a_card(country="DE"),
    }
    transaction = mapped(latest_charge=None, payment_method=method)
    assert transaction["timestamp"] == "2026-01-01T00:00:00+00:00"
    assert transaction["foreign_transaction"] is True


def test_a_guest_is_known_by_the_card() -> None:
    assert mapped(customer=None)["user_id"] == "card_AOB934RVNwzk6xtn"


def test_the_account_the_money_is_for_is_the_merchant() -> None:
    assert mapped()["merchant_id"] == "acct_1"
    assert mapped(transfer_data={"destination": "acct_2"})["merchant_id"] == "acct_2"
    assert mapped(on_behalf_of="acct_3")["merchant_id"] == "acct_3"
    assert mapped()["merchant_category"] == "unknown"


def test_somebody_must_pay() -> None:
    with pytest.raises(InvalidField, match="Attach a Customer"):
        mapped(customer=None, latest_charge=a_charge(fingerprint=None))


@pytest.mark.parametrize("charge", [None, "ch_not_expanded", a_charge("us_bank_account")])
def test_what_is_not_paid_by_card_is_refused(charge: object) -> None:
    with pytest.raises(InvalidField, match="is not paid by a card yet"):
        mapped(latest_charge=charge)
