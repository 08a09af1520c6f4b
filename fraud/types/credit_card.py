"""Card payments: a user pays a merchant; fraud comes back as chargebacks days later."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from fraud.domain.event import (
    SENSITIVE,
    Identifier,
    Latitude,
    Longitude,
    Money,
    TimeZone,
    TogetherWith,
    TransactionBase,
)
from fraud.domain.features import Amount, AmountRoundness, Calendar, Category, Number
from fraud.domain.fraud_type import Entity, FraudType
from fraud.domain.history import (
    AmountMean,
    AmountMeanRatio,
    AmountRatio,
    Count,
    DistinctCount,
    FraudLabels,
    LabelRisk,
    LifetimeCount,
    MaturedFraudShare,
    SecondsSince,
)
from fraud.domain.outcomes import (
    AmountAboveGenuine,
    AttackOdds,
    FraudRunAmount,
    UnmaturedAmountAboveGenuine,
)
from fraud.domain.places import DistanceSinceLast
from fraud.domain.policy import Costs, Thresholds
from fraud.domain.rules import Condition, RiskLevel, Rule
from fraud.domain.windows import Window

CATEGORIES = (
    "grocery",
    "restaurant",
    "fuel",
    "electronics",
    "clothing",
    "travel",
    "entertainment",
    "health",
    "home",
    "online_retail",
    "digital_goods",
    "cash_advance",
)

CategoryName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[!-~]+$")]
Distance = Annotated[float, Field(ge=0, le=20_038)]
CountryCode = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
CardCheck = Literal["pass", "fail", "unavailable", "unchecked"]


class CreditCardTransaction(TransactionBase):
    """A card payment as it arrives."""

    fraud_type: Literal["credit_card"] = "credit_card"
    amount: Money = Field(description="Major units of the platform's currency.")
    user_id: Identifier = Field(description="The cardholder.")
    merchant_id: Identifier = Field(description="The merchant or terminal.")
    merchant_category: CategoryName = Field(description="E.g. 'electronics'; any is accepted.")
    distance_from_home_km: Distance | None = Field(
        default=None, description="Cardholder's home to merchant, at most half the equator."
    )
    foreign_transaction: bool | None = None
    card_present: bool | None = None
    used_chip: bool | None = None
    device_id: Identifier | None = Field(
        default=None, description="Where no card is present.", json_schema_extra=SENSITIVE
    )
    cvc_check: CardCheck | None = Field(
        default=None, description="What the issuer said to the security code; for rules."
    )
    address_check: CardCheck | None = Field(
        default=None, description="What it said to street and postal code, the worse; for rules."
    )
    three_d_secure: bool | None = Field(
        default=None, description="The cardholder was authenticated by 3-D Secure; for rules."
    )
    country: CountryCode | None = Field(default=None, description="ISO 3166 alpha-2, merchant's.")
    latitude: Latitude | None = Field(
        default=None, description="Degrees north of the terminal, or of the device if online."
    )
    longitude: Annotated[Longitude | None, AfterValidator(TogetherWith("latitude"))] = Field(
        default=None, validate_default=True, description="Degrees east; with latitude only."
    )
    time_zone: TimeZone | None = Field(
        default=None, description="IANA name of the cardholder's, e.g. 'Europe/Paris'; else UTC."
    )


HOUR, DAY, WEEK, MONTH = Window("1h"), Window("1d"), Window("7d"), Window("30d")
BASELINE = Window("60d", delay="14d")
MATURITY = "7d"

CREDIT_CARD = FraudType(
    name="credit_card",
    title="Card payments",
    transaction=CreditCardTransaction,
    subject="user_id",
    entities=(
        Entity("user", ("user_id",)),
        Entity("merchant", ("merchant_id",)),
        Entity("user_merchant", ("user_id", "merchant_id")),
        Entity("user_device", ("user_id", "device_id")),
        Entity("device", ("device_id",)),
    ),
    features=(
        Amount(),
        AmountRoundness(),
        Number(field="distance_from_home_km", default=-1.0, unit="km"),
        Number(field="foreign_transaction", default=-1.0),
        Number(field="card_present", default=-1.0),
        Number(field="used_chip", default=-1.0),
        Category(field="merchant_category", values=CATEGORIES),
        Calendar(part="hour", field="time_zone"),
        Count(entity="user", window=HOUR),
        Count(entity="user", window=DAY),
        Count(entity="user", window=MONTH),
        AmountMean(entity="user", window=MONTH),
        AmountRatio(entity="user", window=MONTH),
        AmountRatio(entity="user", window=BASELINE),
        AmountMeanRatio(entity="user", window=WEEK, baseline=BASELINE),
        DistinctCount(entity="user", of="merchant_id", window=DAY),
        SecondsSince(entity="user", moment="last"),
        DistanceSinceLast(entity="user"),
        SecondsSince(entity="user", moment="latest_fraud"),
        AmountAboveGenuine(entity="user"),
        UnmaturedAmountAboveGenuine(entity="user"),
        Count(entity="merchant", window=MONTH),
        AmountMean(entity="merchant", window=MONTH),
        AmountRatio(entity="merchant", window=MONTH),
        FraudLabels(entity="merchant", window=WEEK),
        LabelRisk(entity="merchant", window=MONTH, delay=MATURITY),
        MaturedFraudShare(entity="merchant", k=3),
        SecondsSince(entity="merchant", moment="latest_fraud"),
        SecondsSince(entity="merchant", moment="earliest_fraud"),
        SecondsSince(entity="merchant", moment="genuine"),
        FraudRunAmount(entity="merchant"),
        AttackOdds(entity="merchant"),
        LifetimeCount(entity="user_merchant"),
        LifetimeCount(entity="user_device"),
        SecondsSince(entity="device", moment="first"),
        DistinctCount(entity="device", of="user_id", window=WEEK),
    ),
    rules=(
        Rule(
            code="CARD_TESTING",
            text="Many payments by one card within an hour, to many merchants.",
            level=RiskLevel.HIGH,
            conditions=(
                Condition("user_count_1h", ">=", 12),
                Condition("user_distinct_merchant_id_1d", ">=", 8),
            ),
        ),
        Rule(
            code="AMOUNT_FAR_ABOVE_HABIT",
            text="A large amount, twenty times what this card usually pays.",
            level=RiskLevel.MEDIUM,
            conditions=(
                Condition("amount", ">=", 500),
                Condition("user_amount_ratio_30d", ">=", 20),
            ),
        ),
        Rule(
            code="MERCHANT_UNDER_ATTACK",
            text="The last matured payments at this merchant were all fraud.",
            level=RiskLevel.MEDIUM,
            conditions=(Condition("merchant_matured_fraud_share_3", ">=", 1),),
        ),
    ),
    costs=Costs(),
    fallback_thresholds=Thresholds(review=0.3, block=0.7, critical=0.95),
    maturity=MATURITY,
    on_failure="rules_only",
)
