"""What becomes of an event of Stripe's: a decision that is carried out, a label, or a note.

Only a service whose connector is on imports this, and with it Stripe's library.
"""

import asyncio
import json

import stripe

from bentos.connectors.stripe.checking import Outcome, Payment, StripeConnector, connector_of
from bentos.connectors.stripe.labels import label_of
from bentos.fraud_detector.engine import clock_us
from bentos.fraud_detector.guard import Call
from bentos.fraud_detector.intake import accept
from bentos.fraud_detector.operations.labels import tell
from bentos.fraud_detector.operations.routing import Operation
from bentos.fraud_detector.runtime import Runtime
from bentos.scoring.scorer import ScoreRequest
from fraud.domain.decision import reply
from fraud.domain.errors import (
    FraudError,
    InputError,
    InvalidSignature,
    MalformedInput,
    UnavailableError,
)
from fraud.domain.label import Label
from fraud.types.registry import fraud_type

FRAUD_TYPE = "credit_card"
TOLERANCE_S = 300
"""Age of a signature at most: Stripe's own default."""

DECIDED_ON = frozenset({"payment_intent.amount_capturable_updated", "payment_intent.succeeded"})
"""The payment is authorised and all checks are known; money moved in the second case only."""


def verified(body: bytes, signature: str | None, secret: str) -> stripe.Event:
    """The event of a body that Stripe signed with our secret within the last minutes.

    Args:
        body: as it came.
        signature: the header Stripe-Signature; None where there is not exactly one.
        secret: of the webhook's endpoint.

    Raises:
        InvalidSignature: Stripe did not sign it, or long ago.
        MalformedInput: what it signed is not an event.
    """
    try:
        event: stripe.Event = stripe.Webhook.construct_event(body, signature, secret, TOLERANCE_S)
        return event
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        raise InvalidSignature(
            f"The header Stripe-Signature does not fit the body, or is older than {TOLERANCE_S} s.",
            remedy="Compare FRAUD_STRIPE_WEBHOOK_SECRET with the endpoint's, and check the clock.",
        ) from None
    except (json.JSONDecodeError, ValueError, KeyError):
        raise MalformedInput("The body is no event of Stripe's.", remedy="Send it as is.") from None


async def taken_in(runtime: Runtime, call: Call, event: stripe.Event) -> dict[str, object]:
    """What became of an event.

    Raises:
        UnavailableError: Stripe shall send it again.
    """
    if event.type in DECIDED_ON:
        outcome = await _decide(runtime, call, event.data.object.id)
        return {"result": outcome.status, "outcome": outcome.body()}
    label = label_of(event)
    if label is None:
        return {"result": "noted"}
    return await _label(runtime, call, label)


async def _decide(runtime: Runtime, call: Call, intent_id: str) -> Outcome:
    connector = _connector(runtime)
    payment = await asyncio.to_thread(connector.look_up, intent_id)
    try:
        verdict = await _predict(runtime, call, payment)
    except InputError as error:
        return await asyncio.to_thread(connector.set_aside, payment, error)
    return await asyncio.to_thread(connector.settle, payment, verdict)


async def _predict(runtime: Runtime, call: Call, payment: Payment) -> dict[str, object]:
    if payment.problem is not None:
        raise payment.problem
    accepted = accept(payment.transaction, clock_us())
    request = ScoreRequest(accepted.event, accepted.body_digest, call.actor, call.origin)
    [answer] = await runtime.collector.submit([request])
    if isinstance(answer, FraudError):
        raise answer
    runtime.metrics.decided([(answer, accepted.event.amount_minor)])
    return reply(answer)


async def _label(runtime: Runtime, call: Call, label: Label) -> dict[str, object]:
    operation = Operation(runtime.operations, call, fraud_type(FRAUD_TYPE))
    [told] = await tell(operation, FRAUD_TYPE, [label])
    if isinstance(told, UnavailableError):
        raise told
    about: dict[str, object] = {"transaction_id": label.transaction_id, "is_fraud": label.is_fraud}
    if isinstance(told, FraudError):
        return {"result": "refused", **about, "problem": str(told)}
    return {"result": "repeated" if told.is_repeated else "labelled", **about}


def _connector(runtime: Runtime) -> StripeConnector:
    """The connector of this process, made when the first event comes."""
    if runtime.stripe is None:
        runtime.stripe = connector_of(runtime.settings)
    return runtime.stripe
