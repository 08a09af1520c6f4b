"""The door: what a transaction may look like, and what becomes of it inside."""

import datetime as dt
from typing import Any

import pytest
from pydantic import ValidationError

from fraud.domain.errors import InvalidField
from fraud.domain.event import from_us, text_id, text_ids, to_event, to_us
from fraud.types.credit_card import CreditCardTransaction

NOW_US = to_us(dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC))


def a_body(**changes: Any) -> dict[str, Any]:
    return {
        "transaction_id": "TXN_1",
        "amount": 150.0,
        "user_id": "USER_1",
        "merchant_id": "MERCH_1",
        "merchant_category": "electronics",
        **changes,
    }


def an_event(**changes: Any) -> Any:
    return to_event("credit_card", CreditCardTransaction.model_validate(a_body(**changes)), NOW_US)


def test_the_least_body_of_the_guide_is_enough() -> None:
    event = an_event()
    assert (event.amount_minor, event.event_time_us) == (15_000, NOW_US)
    assert event.fields["distance_from_home_km"] is None
    assert "fraud_type" not in event.fields


@pytest.mark.parametrize(
    ("amount", "minor"), [(0, 0), (0.01, 1), (19.99, 1999), (1.1, 110), (99_999_999.99, 9999999999)]
)
def test_money_is_whole_minor_units_inside(amount: float, minor: int) -> None:
    assert an_event(amount=amount).amount_minor == minor


@pytest.mark.parametrize(
    ("stamp", "utc"),
    [
        ("2026-01-15T10:30:00Z", "2026-01-15T10:30:00+00:00"),
        ("2026-01-15T10:30:00", "2026-01-15T10:30:00+00:00"),
        ("2026-01-15T10:30:00+02:00", "2026-01-15T08:30:00+00:00"),
        ("2026-01-15T10:30:00.123456Z", "2026-01-15T10:30:00.123456+00:00"),
    ],
)
def test_timestamps_become_utc(stamp: str, utc: str) -> None:
    assert from_us(an_event(timestamp=stamp).event_time_us).isoformat() == utc


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", -0.01),
        ("amount", 1e8),
        ("amount", 10.005),
        ("amount", float("nan")),
        ("amount", float("inf")),
        ("amount", "150.00"),
        ("amount", True),
        ("transaction_id", ""),
        ("transaction_id", "x" * 51),
        ("transaction_id", "a b"),
        ("transaction_id", "a\nb"),
        ("user_id", 7),
        ("user_id", None),
        ("merchant_category", ""),
        ("distance_from_home_km", -1.0),
        ("distance_from_home_km", 40_000.0),
        ("foreign_transaction", "yes"),
        ("foreign_transaction", 1),
        ("country", "usa"),
        ("latitude", -90.5),
        ("longitude", 180.5),
        ("time_zone", "Mars/Base"),
        ("time_zone", "europe/paris"),
        ("time_zone", "localtime"),
        ("time_zone", ""),
        ("timestamp", "yesterday"),
        ("timestamp", 1_700_000_000),
        ("timestamp", "1999-12-31T23:59:59Z"),
        ("timestamp", "9999-12-31T23:59:59-10:00"),
        ("unheard_of", 1),
    ],
)
def test_bad_values_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        CreditCardTransaction.model_validate(a_body(**{field: value}))
    assert caught.value.errors()[0]["loc"][0] == field


@pytest.mark.parametrize("half", ["latitude", "longitude"])
def test_half_a_position_is_refused(half: str) -> None:
    with pytest.raises(ValidationError, match="together with latitude") as caught:
        CreditCardTransaction.model_validate(a_body(**{half: 1.0}))
    assert [error["loc"] for error in caught.value.errors()] == [("longitude",)]
    whole = an_event(latitude=-90.0, longitude=180.0, time_zone="Europe/Paris").fields
    assert (whole["latitude"], whole["longitude"]) == (-90.0, 180.0)


def test_an_event_may_not_come_from_the_future() -> None:
    with pytest.raises(InvalidField, match="future"):
        an_event(timestamp=from_us(NOW_US + 301_000_000).isoformat())
    assert an_event(timestamp=from_us(NOW_US + 299_000_000).isoformat()).event_time_us > NOW_US


def test_text_ids_are_stable() -> None:
    assert text_id("USER_1") == -4_587_428_082_567_688_376  # kept in every stored state
    assert text_id("USER_1") != text_id("USER_2")


def test_text_ids_of_many_are_those_of_each() -> None:
    texts = ["", "USER_1", "é", "x" * 50]
    assert text_ids(texts).tolist() == [text_id(each) for each in texts]
    assert text_ids([]).tolist() == []
