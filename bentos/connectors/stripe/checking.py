"""A payment is decided, and Stripe is told: cancel, leave for review, or capture.

Money moves on a decision that a model took part in, never on a degraded one: that is left for
people, unless the settings say otherwise.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import stripe

from bentos.connectors.stripe.currency import Exchange
from bentos.connectors.stripe.gateway import StripeGateway
from bentos.connectors.stripe.payments import transaction_of
from fraud.domain.errors import DuplicateConflict, InputError, InvalidField, SettingsError
from fraud.settings import Settings

Status = Literal["approved", "review", "declined"]
Verdict = Mapping[str, Any]
"""The reply of `/predict`."""

CANCELABLE = frozenset(
    {"requires_payment_method", "requires_confirmation", "requires_action", "requires_capture"}
)
_STATUSES: dict[str, Status] = {"approve": "approved", "review": "review", "block": "declined"}
_REASONS = {"approve": "low_risk", "review": "moderate_risk", "block": "fraud_detected"}


@dataclass(frozen=True)
class Payment:
    """A PaymentIntent on its way.

    Attributes:
        intent_id: its id at Stripe, and the transaction_id here.
        status: at Stripe, when it was looked at.
        metadata: likewise.
        transaction: the body of `/predict`; None where it cannot be one.
        problem: why not.
    """

    intent_id: str
    status: str
    metadata: Mapping[str, str]
    transaction: Mapping[str, object] | None
    problem: InputError | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a payment.

    Attributes:
        payment_intent: its id.
        status: what the caller should go by.
        reason: why, a stable code.
        decision_id: of the decision behind it, "" where there is none.
        done: what was done at Stripe now, in order: flagged, canceled, captured.
        problem: why it could not be decided, "" where it was.
    """

    payment_intent: str
    status: Status
    reason: str
    decision_id: str = ""
    done: tuple[str, ...] = ()
    problem: str = ""

    def body(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class StripePolicy:
    """What may be done without asking anybody.

    Attributes:
        captures: approved payments that wait for it are captured.
        acts_on_degraded: decisions without a model are carried out like any other.
    """

    captures: bool = True
    acts_on_degraded: bool = False


class StripeConnector:
    """Between Stripe and the scoring path.

    Args:
        gateway: the Stripe account.
        exchange: between currencies.
        policy: what may be done.
    """

    def __init__(self, gateway: StripeGateway, exchange: Exchange, policy: StripePolicy) -> None:
        self._gateway = gateway
        self._exchange = exchange
        self._policy = policy

    def look_up(self, intent_id: str) -> Payment:
        """A payment as Stripe has it now.

        Raises:
            NotFound: Stripe has none of this id.
            PartnerUnavailable: Stripe does not answer.
            SettingsError: the key is not accepted.
        """
        intent = self._gateway.payment(intent_id)
        metadata = intent.metadata.to_dict() if intent.metadata else {}
        transaction, problem = None, None
        try:
            transaction = transaction_of(intent, self._gateway.merchant, self._exchange)
        except InvalidField as error:
            problem = error
        return Payment(intent.id, intent.status, metadata, transaction, problem)

    def settle(self, payment: Payment, verdict: Verdict) -> Outcome:
        """Carry a decision out; doing it again changes nothing.

        Raises:
            PartnerUnavailable: Stripe does not answer; what was done stays done.
            RefusedByPartner: the payment has moved on meanwhile.
        """
        action, reason = verdict["recommended_action"], _REASONS[verdict["recommended_action"]]
        if verdict["degraded"] and not self._policy.acts_on_degraded:
            action, reason = "review", "degraded"
        if action == "block" and payment.status not in CANCELABLE | {"canceled"}:
            reason = "too_late_to_cancel"
        decision_id = verdict["decision_id"]
        done = self._flag(
            payment,
            decision_id,
            fraud_action=action,
            fraud_reason=reason,
            fraud_risk_level=verdict["risk_level"],
        )
        if action == "block" and payment.status in CANCELABLE:
            self._gateway.cancel(payment.intent_id, f"{decision_id}-cancel")
            done += ("canceled",)
        if self._may_capture(payment, action):
            self._gateway.capture(payment.intent_id, f"{decision_id}-capture")
            done += ("captured",)
        return Outcome(payment.intent_id, _STATUSES[action], reason, decision_id, done)

    def set_aside(self, payment: Payment, problem: InputError) -> Outcome:
        """Leave a payment that cannot be decided for people: it is flagged, and nothing moves.

        Raises:
            PartnerUnavailable: Stripe does not answer.
        """
        is_changed = isinstance(problem, DuplicateConflict)
        reason = "changed_since_decided" if is_changed else "not_scorable"
        done = self._flag(
            payment, f"{payment.intent_id}-{reason}", fraud_action="review", fraud_reason=reason
        )
        return Outcome(payment.intent_id, "review", reason, done=done, problem=str(problem))

    def _may_capture(self, payment: Payment, action: str) -> bool:
        is_held = payment.status == "requires_capture"
        return action == "approve" and is_held and self._policy.captures

    def _flag(self, payment: Payment, decision: str, **metadata: str) -> tuple[str, ...]:
        wanted = {"fraud_decision": decision, **metadata}
        if wanted.items() <= payment.metadata.items():
            return ()
        self._gateway.flag(payment.intent_id, wanted, f"{decision}-{metadata['fraud_reason']}")
        return ("flagged",)


def check_payment(
    intent_id: str, connector: StripeConnector, predict: Callable[[Mapping[str, object]], Verdict]
) -> Outcome:
    """Decide on a PaymentIntent and carry the decision out: the call-in of a checkout.

    Args:
        intent_id: `pi_...`, confirmed and waiting for capture, or not yet confirmed.
        connector: the Stripe account.
        predict: gives the decision on a transaction, e.g. `ScoringClient.predict`.

    Raises:
        NotFound: Stripe has none of this id.
        UnavailableError: Stripe or the platform does not answer; nothing is captured.
        RefusedByPartner: the payment has moved on meanwhile.
    """
    payment = connector.look_up(intent_id)
    if payment.transaction is None:
        assert payment.problem is not None
        return connector.set_aside(payment, payment.problem)
    try:
        verdict = predict(payment.transaction)
    except InputError as error:
        return connector.set_aside(payment, error)
    return connector.settle(payment, verdict)


def connector_of(
    settings: Settings, http_client: stripe.HTTPClient | None = None
) -> StripeConnector:
    """The connector the settings describe.

    Raises:
        SettingsError: there is no key, or an exchange rate cannot be read.
    """
    if settings.stripe_api_key is None:
        raise SettingsError(
            "There is no key for Stripe.",
            remedy="Set FRAUD_STRIPE_API_KEY, best to a restricted key for PaymentIntents.",
            field="stripe_api_key",
        )
    key = settings.stripe_api_key.get_secret_value()
    return StripeConnector(
        StripeGateway(key, settings.stripe_api_base, http_client),
        Exchange.parse(settings.currency, settings.exchange_rates),
        StripePolicy(settings.stripe_captures, settings.stripe_acts_on_degraded),
    )
