"""The webhook Stripe calls: payments that can be decided on, and what became of older ones.

Stripe repeats an event until it gets a 2xx, in any order. That is harmless by construction: a
payment keeps its decision, every call to Stripe carries a key made of that decision, and the
same news is the same label. What can never succeed is answered with 200, so that it ends.
"""

import logging

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bentos.fraud_detector.entrances import CALL
from bentos.fraud_detector.guard import Call
from bentos.fraud_detector.problems import problem_of
from bentos.fraud_detector.runtime import Runtime
from fraud.domain.errors import FraudError, NotFound
from fraud.ledger.audit import AuditEntry

ACTOR = "stripe"

log = logging.getLogger("fraud.detector")


async def stripe_webhook(request: Request) -> Response:
    """Take in one event."""
    runtime: Runtime = request.app.state.runtime
    call: Call = request.scope[CALL]
    try:
        secret = runtime.settings.stripe_webhook_secret
        if secret is None or runtime.settings.stripe_api_key is None:
            raise NotFound(
                "The Stripe connector is off.",
                remedy="Set FRAUD_STRIPE_API_KEY and FRAUD_STRIPE_WEBHOOK_SECRET.",
            )
        from bentos.fraud_detector.stripe_events import taken_in, verified

        given = request.headers.getlist("stripe-signature")
        signature = given[0] if len(given) == 1 else None
        event = verified(call.body, signature, secret.get_secret_value())
        call = Call(ACTOR, call.origin)
        result = await taken_in(runtime, call, event)
    except FraudError as error:
        problem = problem_of(error)
        await runtime.refused(call, request.url.path, problem)
        return problem.response(request.url.path)
    body = {"event": event.id, **result}
    entry = AuditEntry(
        actor=ACTOR,
        action="stripe_event",
        outcome="success",
        origin=call.origin,
        object_type="event",
        object_id=event.id,
        detail={"type": event.type, **result},
    )
    if not await runtime.collector.record([entry]):
        log.warning("The audit record of Stripe's %s could not be kept", event.id)
    return Response(orjson.dumps(body), media_type="application/json")
