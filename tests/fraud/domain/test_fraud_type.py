"""What the declaration of a fraud type must agree on with itself."""

import dataclasses
from typing import Any, Literal

import numpy as np
import pytest

from feature_store.inputs import AMOUNT, ColumnInputs
from fraud.domain.errors import ContractError
from fraud.domain.event import Identifier, TransactionBase, to_event
from fraud.domain.features import AmountShare, Number
from fraud.domain.fraud_type import Entity, FraudType
from fraud.domain.history import Count, DistinctCount
from fraud.domain.places import SpeedSinceLast
from fraud.domain.policy import Costs, Thresholds
from fraud.domain.windows import Window


class Visit(TransactionBase):
    """Something without an amount."""

    fraud_type: Literal["visit"] = "visit"
    visitor_id: Identifier
    page: str | None = None
    seconds: float | None = None


class Presuming(Visit):
    """A field that is something even where nobody said so."""

    is_returning: bool = False


def a_type(**changes: Any) -> FraudType:
    given = FraudType(
        name="visit",
        title="Visits",
        transaction=Visit,
        subject="visitor_id",
        entities=(Entity("visitor", ("visitor_id",)),),
        features=(Number(field="seconds"), Count(entity="visitor", window=Window("1d"))),
        rules=(),
        costs=Costs(),
        fallback_thresholds=Thresholds(0.2, 0.5, 0.9),
        maturity="7d",
        on_failure="rules_only",
    )
    return dataclasses.replace(given, **changes)


def test_an_event_without_an_amount_risks_nothing() -> None:
    event = to_event("visit", Visit(transaction_id="V1", visitor_id="A"), 1_800_000_000_000_000)
    assert event.amount_minor == 0
    assert a_type().feature_names == ("seconds", "visitor_count_1d")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"transaction": Presuming}, "is_returning has the default False"),
        ({"subject": "page"}, "the subject 'page' is not an entity by itself"),
        (
            {"subject": "page", "entities": (Entity("visitor", ("page",)),)},
            "the subject 'page' may be missing",
        ),
        (
            {"entities": (Entity("visitor", ("visitor_id",)), Entity("stay", ("seconds",)))},
            "'seconds' identifies an entity, but is not a text field",
        ),
        ({"features": (Number(field="minutes"),)}, "reads the field 'minutes'"),
        (
            {"features": (DistinctCount(entity="visitor", of="paeg", window=Window("1d")),)},
            "reads the field 'paeg'",
        ),
        ({"features": (SpeedSinceLast(entity="visitor"),)}, "reads the field 'latitude'"),
        ({"features": (Number(field="seconds", default=0.1),)}, "0.1 of seconds is no float32"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(
    changes: dict[str, Any], what: str
) -> None:
    with pytest.raises(ContractError, match=what):
        a_type(**changes)


def test_a_share_of_a_balance_is_of_a_positive_one() -> None:
    balance = np.array([100.0, 50.0, 0.0, -20.0, np.nan])
    amount = np.full(5, 25_00)
    inputs = ColumnInputs({AMOUNT: amount}, {"balance": balance}, {}, {}, {})
    found = AmountShare(field="balance").finish(inputs)
    assert found.tolist() == [0.25, 0.5, -1.0, -1.0, -1.0]
