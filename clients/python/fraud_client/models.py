# Written by clients/generate.py: do not edit.

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias

from typing_extensions import TypedDict


class AccountAccess(TypedDict):
    """
    An attempt to log in, or to change something that guards an account.
    """

    transaction_id: str
    timestamp: NotRequired[str | None]
    amount: NotRequired[float]
    fraud_type: Literal['account_takeover']
    user_id: str
    action: str
    succeeded: bool
    failure_id: NotRequired[str | None]
    ip_address: NotRequired[str | None]
    ip_network: NotRequired[str | None]
    ip_is_proxy: NotRequired[bool | None]
    device_id: NotRequired[str | None]
    mfa_passed: NotRequired[bool | None]
    country: NotRequired[str | None]
    latitude: NotRequired[float | None]
    longitude: NotRequired[float | None]
    time_zone: NotRequired[str | None]


class AccountApplication(TypedDict):
    """
    An application for an account as it arrives.

    Identities go by pseudonyms (a keyed hash will do): equal people must have equal ones,
    and nothing else of them is looked at.
    """

    transaction_id: str
    timestamp: NotRequired[str | None]
    amount: NotRequired[float]
    fraud_type: Literal['account_opening']
    email: str
    ip_address: str
    email_domain: NotRequired[str | None]
    ip_network: NotRequired[str | None]
    device_id: NotRequired[str | None]
    phone_id: NotRequired[str | None]
    identity_id: NotRequired[str | None]
    address_id: NotRequired[str | None]
    channel: NotRequired[str | None]
    ip_country: NotRequired[str | None]
    ip_is_proxy: NotRequired[bool | None]
    country_mismatch: NotRequired[bool | None]
    email_age_days: NotRequired[float | None]
    age_years: NotRequired[float | None]
    seconds_to_complete: NotRequired[float | None]
    time_zone: NotRequired[str | None]


class AchTransfer(TypedDict):
    """
    An ACH entry as it is originated.
    """

    transaction_id: str
    timestamp: NotRequired[str | None]
    amount: float
    fraud_type: Literal['ach']
    user_id: str
    sender_id: str
    receiver_id: str
    sec_code: str
    direction: Literal['debit', 'credit']
    same_day: NotRequired[bool | None]
    sender_balance: NotRequired[float | None]
    receiver_balance: NotRequired[float | None]
    device_id: NotRequired[str | None]


class CreditCardTransaction(TypedDict):
    """
    A card payment as it arrives.
    """

    transaction_id: str
    timestamp: NotRequired[str | None]
    amount: float
    fraud_type: NotRequired[Literal['credit_card']]
    user_id: str
    merchant_id: str
    merchant_category: str
    distance_from_home_km: NotRequired[float | None]
    foreign_transaction: NotRequired[bool | None]
    card_present: NotRequired[bool | None]
    used_chip: NotRequired[bool | None]
    device_id: NotRequired[str | None]
    cvc_check: NotRequired[Literal['pass', 'fail', 'unavailable', 'unchecked'] | None]
    address_check: NotRequired[Literal['pass', 'fail', 'unavailable', 'unchecked'] | None]
    three_d_secure: NotRequired[bool | None]
    country: NotRequired[str | None]
    latitude: NotRequired[float | None]
    longitude: NotRequired[float | None]
    time_zone: NotRequired[str | None]


class Reason(TypedDict, closed=True):
    code: str
    text: str
    feature: str
    value: float
    contribution: float


class Decision(TypedDict):
    transaction_id: str
    decision_id: str
    fraud_type: str
    fraud_probability: float
    risk_level: Literal['LOW', 'MEDIUM', 'HIGH', 'CRITICAL']
    recommended_action: Literal['approve', 'review', 'block']
    reasons: list[Reason]
    rules: list[str]
    model_version: str
    policy_version: str
    degraded: bool
    scored_at: str
    replayed: bool


class Database(TypedDict):
    status: Literal['ok', 'unavailable']
    latency_ms: float
    checked_at: str
    problem: NotRequired[str]


class Journal(TypedDict):
    decisions: int
    bytes: int
    breaker: Literal['closed', 'half_open', 'open']
    problem: NotRequired[str]


class Champions(TypedDict):
    model_version: str | None
    promoted_at: str | None
    status: Literal['ok', 'stale', 'refused', 'missing']
    problem: NotRequired[str]


class Schema(TypedDict):
    ledger: str | None
    ledger_expected: str
    features: dict[str, str]


class Health(TypedDict):
    status: Literal['ok', 'degraded', 'unavailable']
    database: Database
    journal: Journal
    champions: dict[str, Champions]
    schema: Schema
    version: str


class LabelSent(TypedDict):
    """
    A verdict about a transaction.
    """

    transaction_id: str
    is_fraud: bool
    source: Literal['chargeback', 'customer_report', 'analyst', 'return']
    reported_at: NotRequired[str | None]


class LabelTold(TypedDict):
    """
    What became of a label.
    """

    transaction_id: str
    status: Literal['stored', 'repeated', 'refused']
    reported_at: str
    acted: NotRequired[bool]
    error: NotRequired[dict[str, Any] | None]


class LabelsSent(TypedDict):
    """
    Verdicts, in the order they became known.
    """

    labels: list[LabelSent]


class LabelsTold(TypedDict):
    """
    What became of labels, in the order they were sent.
    """

    labels: list[LabelTold]


class Error(TypedDict):
    field: str
    problem: str
    remedy: str


class Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: str
    instance: NotRequired[str]
    errors: NotRequired[list[Error]]


Transaction: TypeAlias = AccountApplication | AccountAccess | AchTransfer | CreditCardTransaction


class ItemProblem(TypedDict):
    transaction_id: str | None
    error: Problem
