"""The catalogue of features: its page is current, and a diff says what became different."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from fraud.catalogue import Schema, definition_of, differences, page, schema_of
from fraud.domain.features import Number
from fraud.domain.fraud_type import Entity, FraudType
from fraud.domain.history import Count
from fraud.domain.windows import Window
from fraud.types.credit_card import CREDIT_CARD
from fraud.types.registry import fraud_types

PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"
COUNT_2H = Count(entity="user", window=Window("2h"))


def changed(**changes: Any) -> FraudType:
    return dataclasses.replace(CREDIT_CARD, **changes)


def diff(new: FraudType, old: FraudType = CREDIT_CARD) -> list[str]:
    return differences(schema_of(old), schema_of(new))


def test_the_page_is_current() -> None:
    """If this fails, run: fraud features docs --write."""
    assert PAGE.read_text(encoding="utf-8") == page(fraud_types().values())


def test_the_page_has_a_row_for_every_feature_of_every_type() -> None:
    text = page([CREDIT_CARD, changed(name="other", features=(COUNT_2H,), rules=())])
    for feature in CREDIT_CARD.features:
        assert text.count(f"| `{feature.name}` | {feature.description} |") == 1
    assert (
        "| `user_count_2h` | Events of the user in the last 2h. | user | float32 | 0 | events |"
    ) in text
    assert "| `device_seconds_since_first` |" in text
    assert "31622400 | s |" in text, "a default is shown in full"


@pytest.mark.parametrize("kind", fraud_types().values(), ids=list(fraud_types()))
def test_every_feature_says_what_it_is(kind: FraudType) -> None:
    for name, entry in definition_of(kind)["features"].items():
        assert entry["description"].endswith("."), name
        assert "the entity" not in entry["description"], name
        assert entry["unit"], name


def test_equal_schemas_do_not_differ() -> None:
    assert diff(changed(title="Cards")) == []


def test_added_and_removed_features_are_named_with_what_they_mean() -> None:
    without = tuple(each for each in CREDIT_CARD.features if each.name != "user_km_since_last")
    assert diff(changed(features=(*without, COUNT_2H))) == [
        "removed  user_km_since_last: Distance from where the user was last observed.",
        "added    user_count_2h: Events of the user in the last 2h.",
    ]


def test_a_changed_feature_says_what_changed() -> None:
    def other(feature: Any) -> Any:
        is_it = isinstance(feature, Number) and feature.field == "card_present"
        return dataclasses.replace(feature, default=0.5) if is_it else feature

    assert diff(changed(features=tuple(map(other, CREDIT_CARD.features)))) == [
        "changed  card_present: default -1.0 -> 0.5"
    ]


def test_the_order_of_features_is_part_of_a_schema() -> None:
    first, second, *rest = CREDIT_CARD.features
    assert diff(changed(features=(second, first, *rest))) == [
        "moved    features stand in another order"
    ]


def test_what_all_features_share_is_compared_too() -> None:
    entities = (*CREDIT_CARD.entities, Entity("country", ("country",)))
    assert diff(changed(maturity="8d", entities=entities)) == [
        "contract maturity: 7d -> 8d",
        "contract entities.country: none -> country",
    ]


def test_where_only_names_are_known_that_is_said() -> None:
    old = Schema("old.json", "0123", ("user_count_9h", *CREDIT_CARD.feature_names))
    assert differences(old, schema_of(CREDIT_CARD)) == [
        "removed  user_count_9h",
        "unknown  of old.json only the names of the features are kept",
    ]
