"""Account openings: somebody applies; fraud is an identity that is invented, stolen or mass-made.

It shows when first payments fail, when the real person complains, or to an analyst who sees
what applications have in common. No money moves yet: `amount` is a credit line, if any.
"""

from typing import Annotated, Literal

from pydantic import Field

from fraud.domain.event import SENSITIVE, Identifier, TimeZone, TransactionBase
from fraud.domain.features import Amount, Calendar, Category, Number
from fraud.domain.fraud_type import Entity, FraudType
from fraud.domain.history import (
    Changed,
    Count,
    CountRatio,
    DistinctCount,
    FraudLabels,
    LabelRisk,
    LifetimeCount,
    MaturedFraudShare,
    SecondsSince,
)
from fraud.domain.policy import Costs, Thresholds
from fraud.domain.rules import Condition, RiskLevel, Rule
from fraud.domain.windows import Window

CHANNELS = ("web", "mobile", "branch", "phone")

Email = Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[!-~]+@[!-~]+$")]
Domain = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[!-~]+$")]
CountryCode = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Channel = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[!-~]+$")]
Days = Annotated[float, Field(ge=0, le=40_000)]
Seconds = Annotated[float, Field(ge=0, le=10_000_000)]


class AccountApplication(TransactionBase):
    """An application for an account as it arrives.

    Identities go by pseudonyms (a keyed hash will do): equal people must have equal ones,
    and nothing else of them is looked at.
    """

    fraud_type: Literal["account_opening"] = "account_opening"
    email: Email = Field(
        description="As given; one person may come back with it.", json_schema_extra=SENSITIVE
    )
    ip_address: Identifier = Field(
        description="IPv4 or IPv6, where the application came from.", json_schema_extra=SENSITIVE
    )
    email_domain: Domain | None = Field(default=None, description="The part behind the @.")
    ip_network: Identifier | None = Field(
        default=None, description="E.g. the first three parts.", json_schema_extra=SENSITIVE
    )
    device_id: Identifier | None = Field(
        default=None, description="Fingerprint of the device.", json_schema_extra=SENSITIVE
    )
    phone_id: Identifier | None = Field(
        default=None, description="Pseudonym of the number.", json_schema_extra=SENSITIVE
    )
    identity_id: Identifier | None = Field(
        default=None,
        description="Pseudonym of the national identity or tax number.",
        json_schema_extra=SENSITIVE,
    )
    address_id: Identifier | None = Field(
        default=None, description="Pseudonym of the address.", json_schema_extra=SENSITIVE
    )
    channel: Channel | None = Field(default=None, description="E.g. 'web'; any is accepted.")
    ip_country: CountryCode | None = Field(default=None, description="ISO 3166 alpha-2.")
    ip_is_proxy: bool | None = Field(default=None, description="VPN, proxy or hosting network.")
    country_mismatch: bool | None = Field(
        default=None, description="The address lies in another country than the network address."
    )
    email_age_days: Days | None = Field(default=None, description="Since it was first seen.")
    age_years: Annotated[float, Field(ge=0, le=150)] | None = None
    seconds_to_complete: Seconds | None = Field(default=None, description="To fill the form in.")
    time_zone: TimeZone | None = Field(default=None, description="IANA name; else UTC.")


HOUR, DAY, WEEK = Window("1h"), Window("1d"), Window("7d")
MONTH, QUARTER = Window("30d"), Window("90d")
MATURITY = "30d"

ACCOUNT_OPENING = FraudType(
    name="account_opening",
    title="Account openings",
    transaction=AccountApplication,
    subject="email",
    entities=(
        Entity("email", ("email",)),
        Entity("domain", ("email_domain",)),
        Entity("ip", ("ip_address",)),
        Entity("network", ("ip_network",)),
        Entity("device", ("device_id",)),
        Entity("phone", ("phone_id",)),
        Entity("identity", ("identity_id",)),
        Entity("address", ("address_id",)),
    ),
    features=(
        Amount(),
        Number(field="ip_is_proxy", default=-1.0),
        Number(field="country_mismatch", default=-1.0),
        Number(field="email_age_days", default=-1.0),
        Number(field="age_years", default=-1.0),
        Number(field="seconds_to_complete", default=-1.0),
        Category(field="channel", values=CHANNELS),
        Calendar(part="hour", field="time_zone"),
        Calendar(part="weekday", field="time_zone"),
        Calendar(part="is_night", field="time_zone"),
        LifetimeCount(entity="email"),
        Count(entity="email", window=DAY),
        SecondsSince(entity="email", moment="first"),
        DistinctCount(entity="email", of="ip_address", window=MONTH),
        DistinctCount(entity="email", of="identity_id", window=QUARTER),
        MaturedFraudShare(entity="email", k=5),
        FraudLabels(entity="email", window=QUARTER),
        SecondsSince(entity="email", moment="latest_fraud"),
        Count(entity="domain", window=HOUR),
        Count(entity="domain", window=WEEK),
        CountRatio(entity="domain", window=DAY, longer=MONTH),
        LifetimeCount(entity="domain"),
        LabelRisk(entity="domain", window=MONTH, delay=MATURITY),
        LifetimeCount(entity="ip"),
        Count(entity="ip", window=HOUR),
        Count(entity="ip", window=DAY),
        Count(entity="ip", window=MONTH),
        DistinctCount(entity="ip", of="email", window=DAY),
        DistinctCount(entity="ip", of="email", window=MONTH),
        DistinctCount(entity="ip", of="device_id", window=WEEK),
        SecondsSince(entity="ip", moment="last"),
        MaturedFraudShare(entity="ip", k=5),
        FraudLabels(entity="ip", window=QUARTER),
        SecondsSince(entity="ip", moment="latest_fraud"),
        Count(entity="network", window=HOUR),
        Count(entity="network", window=DAY),
        Count(entity="network", window=MONTH),
        FraudLabels(entity="network", window=MONTH),
        Count(entity="device", window=HOUR),
        Count(entity="device", window=MONTH),
        LifetimeCount(entity="device"),
        DistinctCount(entity="device", of="email", window=DAY),
        DistinctCount(entity="device", of="identity_id", window=MONTH),
        FraudLabels(entity="device", window=QUARTER),
        LifetimeCount(entity="phone"),
        DistinctCount(entity="phone", of="identity_id", window=QUARTER),
        FraudLabels(entity="phone", window=QUARTER),
        LifetimeCount(entity="identity"),
        Count(entity="identity", window=MONTH),
        DistinctCount(entity="identity", of="address_id", window=QUARTER),
        DistinctCount(entity="identity", of="phone_id", window=QUARTER),
        DistinctCount(entity="identity", of="email", window=QUARTER),
        Changed(entity="identity", of="address_id"),
        LifetimeCount(entity="address"),
        Count(entity="address", window=MONTH),
        DistinctCount(entity="address", of="identity_id", window=QUARTER),
        DistinctCount(entity="address", of="phone_id", window=QUARTER),
        FraudLabels(entity="address", window=QUARTER),
        SecondsSince(entity="address", moment="latest_fraud"),
    ),
    rules=(
        Rule(
            code="MANY_FROM_ONE_DEVICE",
            text="One device has applied under many names within a day.",
            level=RiskLevel.HIGH,
            conditions=(Condition("device_distinct_email_1d", ">=", 4),),
        ),
        Rule(
            code="CROWDED_ADDRESS",
            text="Many identities have applied from one address within three months.",
            level=RiskLevel.MEDIUM,
            conditions=(Condition("address_distinct_identity_id_90d", ">=", 6),),
        ),
        Rule(
            code="IDENTITY_UNDER_MANY_NAMES",
            text="One identity has applied with several addresses and phones.",
            level=RiskLevel.MEDIUM,
            conditions=(
                Condition("identity_distinct_address_id_90d", ">=", 3),
                Condition("identity_distinct_phone_id_90d", ">=", 3),
            ),
        ),
    ),
    # No amount to take a share of: what a bad account loses and a good customer is worth.
    costs=Costs(
        review_minor=800,
        false_block_minor=12_000,
        missed_fraud_minor=60_000,
        daily_reviews=60,
    ),
    fallback_thresholds=Thresholds(review=0.3, block=0.8, critical=0.95),
    maturity=MATURITY,
    on_failure="rules_only",
)
