"""ACH transfers: money moves between two bank accounts; fraud comes back as returns and claims.

A *credit* pushes money out of the originator's account, a *debit* pulls it into that account.
Either way the sender is the account money leaves and the receiver the one it reaches.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from fraud.domain.event import SENSITIVE, Identifier, Money, TransactionBase
from fraud.domain.features import Amount, AmountShare, Calendar, Category, Number
from fraud.domain.fraud_type import Entity, FraudType
from fraud.domain.history import (
    AmountMean,
    AmountRatio,
    AmountSum,
    AmountZScore,
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

SEC_CODES = ("PPD", "CCD", "WEB", "TEL", "CTX", "IAT", "ARC", "BOC", "POP", "RCK")
"""Standard Entry Class codes told apart by the model; others are accepted."""


@dataclass(frozen=True)
class ReturnCode:
    """Why the receiving bank sent an entry back.

    Attributes:
        text: its meaning, shortened.
        is_fraud: whether it says that the account holder did not authorise the entry.
    """

    text: str
    is_fraud: bool = False


RETURN_CODES = {
    "R01": ReturnCode("insufficient funds"),
    "R02": ReturnCode("account closed"),
    "R03": ReturnCode("no such account, or the name does not match"),
    "R04": ReturnCode("account number is not well formed"),
    "R05": ReturnCode("consumer debited under a corporate code without authorisation", True),
    "R06": ReturnCode("returned at the originating bank's request"),
    "R07": ReturnCode("authorisation revoked by the customer", True),
    "R08": ReturnCode("payment stopped"),
    "R09": ReturnCode("funds not collected yet"),
    "R10": ReturnCode("originator unknown to the customer, or not authorised", True),
    "R11": ReturnCode("entry not in accordance with the terms of the authorisation", True),
    "R12": ReturnCode("branch sold to another bank"),
    "R13": ReturnCode("receiving bank takes no part in the network"),
    "R14": ReturnCode("representative payee died or can no longer act"),
    "R15": ReturnCode("beneficiary or account holder died"),
    "R16": ReturnCode("account frozen, or entry returned on an authority's instruction"),
    "R17": ReturnCode("file record edit criteria"),
    "R18": ReturnCode("improper effective entry date"),
    "R19": ReturnCode("amount field error"),
    "R20": ReturnCode("account does not allow such entries"),
    "R21": ReturnCode("invalid company identification"),
    "R22": ReturnCode("invalid individual identification"),
    "R23": ReturnCode("credit refused by the receiver"),
    "R24": ReturnCode("duplicate entry"),
    "R25": ReturnCode("addenda error"),
    "R26": ReturnCode("mandatory field error"),
    "R27": ReturnCode("trace number error"),
    "R28": ReturnCode("routing number check digit error"),
    "R29": ReturnCode("corporate customer advises not authorised", True),
}
"""Return reason codes R01 to R29 and what they say about fraud.

Fraud are those of Nacha's *unauthorized return rate* (Nacha Operating Rules, section on ACH
Network risk and enforcement: R05, R07, R10, R11, R29; R51 lies beyond this list), which may
not exceed 0.5 % of an originator's debits in 60 days. The administrative ones (R02 to R04),
want of funds (R01, R09) and errors of form say that an entry failed, not that somebody lied:
they are reports of genuine entries. A credit that was talked out of its sender has no code of
its own: that comes as a customer's report, or as R06 after one.
"""

SecCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Balance = Annotated[float, Field(ge=-99_999_999.99, le=99_999_999.99)]


class AchTransfer(TransactionBase):
    """An ACH entry as it is originated."""

    fraud_type: Literal["ach"] = "ach"
    amount: Money = Field(description="Major units of the platform's currency.")
    user_id: Identifier = Field(description="The customer who originates the entry.")
    sender_id: Identifier = Field(
        description="The account that money leaves.", json_schema_extra=SENSITIVE
    )
    receiver_id: Identifier = Field(
        description="The account that money reaches.", json_schema_extra=SENSITIVE
    )
    sec_code: SecCode = Field(description="Standard Entry Class, e.g. 'WEB'; any is accepted.")
    direction: Literal["debit", "credit"] = Field(description="Pulled or pushed.")
    same_day: bool | None = None
    sender_balance: Balance | None = Field(default=None, description="Before the entry, if known.")
    receiver_balance: Balance | None = Field(default=None, description="Likewise.")
    device_id: Identifier | None = Field(
        default=None, description="Where it was entered online.", json_schema_extra=SENSITIVE
    )


HOUR, DAY, WEEK, MONTH = Window("1h"), Window("1d"), Window("7d"), Window("30d")
MATURITY = "14d"
THRESHOLDS = Thresholds(review=0.3, block=0.7, critical=0.95)
"""What banks start with; a policy of their own replaces them (docs/rules.md)."""

ACH = FraudType(
    name="ach",
    title="ACH transfers",
    transaction=AchTransfer,
    subject="user_id",
    entities=(
        Entity("user", ("user_id",)),
        Entity("sender", ("sender_id",)),
        Entity("receiver", ("receiver_id",)),
        Entity("sender_receiver", ("sender_id", "receiver_id")),
        Entity("user_device", ("user_id", "device_id")),
    ),
    features=(
        Amount(),
        AmountShare(field="sender_balance"),
        Number(field="same_day", default=-1.0),
        Number(field="sender_balance", default=0.0, unit="major units"),
        Number(field="receiver_balance", default=0.0, unit="major units"),
        Category(field="sec_code", values=SEC_CODES),
        Category(field="direction", values=("debit", "credit")),
        Calendar(part="hour"),
        Calendar(part="weekday"),
        Calendar(part="is_night"),
        Count(entity="user", window=HOUR),
        Count(entity="user", window=DAY),
        Count(entity="user", window=WEEK),
        Count(entity="user", window=MONTH),
        CountRatio(entity="user", window=DAY, longer=MONTH),
        AmountSum(entity="user", window=DAY),
        AmountMean(entity="user", window=MONTH),
        AmountRatio(entity="user", window=MONTH),
        AmountZScore(entity="user", window=MONTH),
        DistinctCount(entity="user", of="sender_id", window=DAY),
        DistinctCount(entity="user", of="sender_id", window=WEEK),
        DistinctCount(entity="user", of="receiver_id", window=DAY),
        DistinctCount(entity="user", of="receiver_id", window=WEEK),
        SecondsSince(entity="user", moment="first"),
        SecondsSince(entity="user", moment="last"),
        FraudLabels(entity="user", window=MONTH),
        LabelRisk(entity="user", window=MONTH, delay=MATURITY),
        MaturedFraudShare(entity="user", k=10),
        SecondsSince(entity="user", moment="latest_fraud"),
        Count(entity="sender", window=DAY),
        AmountSum(entity="sender", window=WEEK),
        DistinctCount(entity="sender", of="receiver_id", window=WEEK),
        FraudLabels(entity="sender", window=MONTH),
        LifetimeCount(entity="sender"),
        Count(entity="receiver", window=DAY),
        Count(entity="receiver", window=WEEK),
        AmountSum(entity="receiver", window=WEEK),
        DistinctCount(entity="receiver", of="sender_id", window=DAY),
        DistinctCount(entity="receiver", of="sender_id", window=WEEK),
        FraudLabels(entity="receiver", window=MONTH),
        SecondsSince(entity="receiver", moment="first"),
        SecondsSince(entity="receiver", moment="latest_fraud"),
        LifetimeCount(entity="receiver"),
        LifetimeCount(entity="sender_receiver"),
        AmountRatio(entity="sender_receiver", window=MONTH),
        SecondsSince(entity="sender_receiver", moment="last"),
        LifetimeCount(entity="user_device"),
    ),
    rules=(
        Rule(
            code="ACCOUNT_DRAINED",
            text="Most of the balance goes, on the same day, to an account never paid before.",
            level=RiskLevel.HIGH,
            conditions=(
                Condition("amount_share_of_sender_balance", ">=", 0.9),
                Condition("same_day", "==", 1),
                Condition("sender_receiver_count", "==", 0),
                Condition("amount", ">=", 1_000),
            ),
        ),
        Rule(
            code="MANY_NEW_DEBITS",
            text="One originator pulls from many accounts within a day, and has had returns.",
            level=RiskLevel.MEDIUM,
            conditions=(
                Condition("user_distinct_sender_id_1d", ">=", 5),
                Condition("user_fraud_labels_30d", ">=", 2),
            ),
        ),
        Rule(
            code="KNOWN_MULE",
            text="The receiving account took money that was reported as stolen.",
            level=RiskLevel.MEDIUM,
            conditions=(Condition("receiver_fraud_labels_30d", ">=", 1),),
        ),
    ),
    costs=Costs(
        review_minor=500, false_block_share=0.01, false_block_minor=1_000, missed_fraud_minor=2_500
    ),
    fallback_thresholds=THRESHOLDS,
    thresholds=THRESHOLDS,
    # Consumers may claim for 60 days. Most do within two weeks; who comes later still turns the
    # label of a transaction that had counted as genuine.
    maturity=MATURITY,
    on_failure="rules_only",
)
