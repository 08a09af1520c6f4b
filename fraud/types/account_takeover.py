"""Account takeovers: logins and sensitive changes; fraud is somebody else using the account.

Every attempt is an event, also one that fails. Nothing is paid, so there is no amount unless
the caller states what the account gives access to.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from fraud.domain.event import (
    SENSITIVE,
    Identifier,
    Latitude,
    Longitude,
    TimeZone,
    TogetherWith,
    TransactionBase,
)
from fraud.domain.features import Calendar, Category, Number
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
from fraud.domain.places import DistanceSinceLast, SpeedSinceLast
from fraud.domain.policy import Costs, Thresholds
from fraud.domain.rules import Condition, RiskLevel, Rule
from fraud.domain.windows import Window

ACTIONS = (
    "login",
    "password_change",
    "password_reset",
    "email_change",
    "phone_change",
    "address_change",
    "mfa_change",
    "payee_added",
)

ActionName = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[!-~]+$")]
CountryCode = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


class AccountAccess(TransactionBase):
    """An attempt to log in, or to change something that guards an account."""

    fraud_type: Literal["account_takeover"] = "account_takeover"
    user_id: Identifier = Field(description="Whose account it is.")
    action: ActionName = Field(description="E.g. 'login' or 'email_change'; any is accepted.")
    succeeded: bool = Field(description="False where the credentials were refused.")
    failure_id: Identifier | None = Field(
        default=None,
        description="A name of this attempt alone, e.g. its transaction_id, if it failed: "
        "failed attempts are counted by it. Null if it succeeded.",
    )
    ip_address: Identifier | None = Field(
        default=None, description="IPv4 or IPv6.", json_schema_extra=SENSITIVE
    )
    ip_network: Identifier | None = Field(
        default=None, description="E.g. the first three parts.", json_schema_extra=SENSITIVE
    )
    ip_is_proxy: bool | None = Field(default=None, description="VPN, proxy or hosting network.")
    device_id: Identifier | None = Field(
        default=None, description="Fingerprint of the device.", json_schema_extra=SENSITIVE
    )
    mfa_passed: bool | None = Field(default=None, description="A second factor was given.")
    country: CountryCode | None = Field(default=None, description="ISO 3166 alpha-2, of the place.")
    latitude: Latitude | None = Field(default=None, description="Degrees north of the device.")
    longitude: Annotated[Longitude | None, AfterValidator(TogetherWith("latitude"))] = Field(
        default=None, validate_default=True, description="Degrees east; with latitude only."
    )
    time_zone: TimeZone | None = Field(default=None, description="IANA name of the user's; or UTC.")


HOUR, DAY, WEEK, MONTH = Window("1h"), Window("1d"), Window("7d"), Window("30d")
MATURITY = "10d"

ACCOUNT_TAKEOVER = FraudType(
    name="account_takeover",
    title="Account takeovers",
    transaction=AccountAccess,
    subject="user_id",
    entities=(
        Entity("user", ("user_id",)),
        Entity("device", ("device_id",)),
        Entity("ip", ("ip_address",)),
        Entity("network", ("ip_network",)),
        Entity("user_device", ("user_id", "device_id")),
        Entity("user_network", ("user_id", "ip_network")),
        Entity("user_action", ("user_id", "action")),
    ),
    features=(
        Number(field="succeeded", default=-1.0),
        Number(field="ip_is_proxy", default=-1.0),
        Number(field="mfa_passed", default=-1.0),
        Category(field="action", values=ACTIONS),
        Calendar(part="hour", field="time_zone"),
        Calendar(part="weekday", field="time_zone"),
        Calendar(part="is_night", field="time_zone"),
        Count(entity="user", window=HOUR),
        Count(entity="user", window=DAY),
        Count(entity="user", window=MONTH),
        CountRatio(entity="user", window=DAY, longer=MONTH),
        DistinctCount(entity="user", of="failure_id", window=HOUR),
        DistinctCount(entity="user", of="failure_id", window=DAY),
        DistinctCount(entity="user", of="action", window=HOUR),
        DistinctCount(entity="user", of="device_id", window=DAY),
        DistinctCount(entity="user", of="device_id", window=MONTH),
        DistinctCount(entity="user", of="ip_network", window=DAY),
        DistinctCount(entity="user", of="country", window=MONTH),
        Changed(entity="user", of="country"),
        Changed(entity="user", of="device_id"),
        Changed(entity="user", of="ip_network"),
        DistanceSinceLast(entity="user"),
        SpeedSinceLast(entity="user"),
        SecondsSince(entity="user", moment="last"),
        LifetimeCount(entity="user"),
        FraudLabels(entity="user", window=MONTH),
        SecondsSince(entity="user", moment="latest_fraud"),
        LifetimeCount(entity="device"),
        DistinctCount(entity="device", of="user_id", window=HOUR),
        DistinctCount(entity="device", of="user_id", window=WEEK),
        DistinctCount(entity="device", of="failure_id", window=HOUR),
        FraudLabels(entity="device", window=MONTH),
        Count(entity="ip", window=HOUR),
        DistinctCount(entity="ip", of="user_id", window=HOUR),
        DistinctCount(entity="ip", of="user_id", window=DAY),
        DistinctCount(entity="ip", of="failure_id", window=HOUR),
        FraudLabels(entity="ip", window=MONTH),
        Count(entity="network", window=HOUR),
        Count(entity="network", window=DAY),
        CountRatio(entity="network", window=HOUR, longer=DAY),
        LifetimeCount(entity="network"),
        DistinctCount(entity="network", of="user_id", window=HOUR),
        DistinctCount(entity="network", of="failure_id", window=HOUR),
        FraudLabels(entity="network", window=WEEK),
        LabelRisk(entity="network", window=MONTH, delay=MATURITY),
        MaturedFraudShare(entity="network", k=5),
        LifetimeCount(entity="user_device"),
        SecondsSince(entity="user_device", moment="first"),
        LifetimeCount(entity="user_network"),
        SecondsSince(entity="user_network", moment="last"),
        LifetimeCount(entity="user_action"),
        SecondsSince(entity="user_action", moment="last"),
    ),
    rules=(
        Rule(
            code="CREDENTIAL_STUFFING",
            text="One network tries many accounts within an hour, and most attempts fail.",
            level=RiskLevel.HIGH,
            conditions=(
                Condition("network_distinct_user_id_1h", ">=", 25),
                Condition("network_distinct_failure_id_1h", ">=", 20),
            ),
        ),
        Rule(
            code="IMPOSSIBLE_TRAVEL",
            text="Faster than an airliner, from a device this user never had.",
            level=RiskLevel.MEDIUM,
            conditions=(
                Condition("user_kmh_since_last", ">=", 1_000),
                Condition("user_km_since_last", ">=", 500),
                Condition("user_device_count", "==", 0),
            ),
        ),
        Rule(
            code="GUESSED_PASSWORD",
            text="It succeeds after many failures, from a device this user never had.",
            level=RiskLevel.MEDIUM,
            conditions=(
                Condition("succeeded", "==", 1),
                Condition("user_distinct_failure_id_1h", ">=", 5),
                Condition("user_device_count", "==", 0),
            ),
        ),
    ),
    # No amount to take a share of: what a lost account costs, and a locked-out customer.
    costs=Costs(review_minor=400, false_block_minor=700, missed_fraud_minor=25_000),
    fallback_thresholds=Thresholds(review=0.3, block=0.8, critical=0.95),
    maturity=MATURITY,
    on_failure="rules_only",
)
