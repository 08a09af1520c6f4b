"""A fraud type with features of every family, whatever the platform's own types declare.

The contract promises more than card payments need: anybody may declare a type.
"""

from dataclasses import replace

from fraud.domain.features import Calendar, Feature
from fraud.domain.history import (
    AmountMean,
    AmountSum,
    AmountZScore,
    Changed,
    DistinctCount,
    FraudLabels,
    LabelRisk,
    LifetimeCount,
    MaturedFraudShare,
    SecondsSince,
)
from fraud.domain.outcomes import FraudRun
from fraud.domain.places import SpeedSinceLast
from fraud.domain.windows import Window
from fraud.types.credit_card import CREDIT_CARD

DAY, WEEK, MONTH = Window("1d"), Window("7d"), Window("30d")

BEYOND_CARDS: tuple[Feature, ...] = (
    Calendar(part="weekday", field="time_zone"),
    Calendar(part="is_weekend", field="time_zone"),
    Calendar(part="is_night", field="time_zone"),
    AmountSum(entity="user", window=DAY),
    AmountMean(entity="user", window=DAY),
    AmountZScore(entity="user", window=MONTH),
    DistinctCount(entity="user", of="device_id", window=WEEK),
    Changed(entity="user", of="country"),
    SpeedSinceLast(entity="user"),
    LifetimeCount(entity="user"),
    FraudLabels(entity="user", window=MONTH),
    MaturedFraudShare(entity="user", k=5),
    LabelRisk(entity="merchant", window=WEEK, delay="7d"),
    MaturedFraudShare(entity="merchant", k=1),
    FraudRun(entity="merchant"),
    SecondsSince(entity="merchant", moment="fraud_run"),
    SecondsSince(entity="user_merchant", moment="last"),
    SecondsSince(entity="user_device", moment="first"),
    LifetimeCount(entity="device"),
)

SPECIMEN = replace(
    CREDIT_CARD,
    name="specimen",
    title="Every family of features",
    features=(*CREDIT_CARD.features, *BEYOND_CARDS),
)
