"""Erasures: asked for here, carried out by whoever may change what was decided."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import Field

from bentos.fraud_detector.operations.desk import Work
from bentos.fraud_detector.operations.routing import Answer, Asked, Prose, Sent, StrictRoute
from fraud.domain.event import Identifier
from fraud.ledger.erasure_requests import receipt_of_request, request_erasure

router = APIRouter(route_class=StrictRoute, tags=["erasures"])


class ErasureSent(Sent):
    """Whose data is to be erased."""

    user_id: Identifier
    email: (
        Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[!-~]+@[!-~]+$")] | None
    ) = Field(default=None, description="As account openings know the person.")
    reason: Prose = Field(min_length=1, max_length=300)


class ErasureShown(Answer):
    """How far an erasure is."""

    request_id: str
    status: Literal["requested", "erased"]
    receipt: dict[str, Any] | None = Field(description="What was found and erased where.")


@router.post("/erasures", status_code=202)
async def request(asked: Asked, sent: ErasureSent) -> ErasureShown:
    """Ask for a person to be erased; `fraud erase --requested` does it, and leaves a receipt."""
    values = {"user_id": sent.user_id} | ({"email": sent.email} if sent.email else {})

    def work(at: Work) -> ErasureShown:
        protection = asked.desk.protection
        made = request_erasure(at.cursor, values, sent.reason, at.actor, at.now_us, protection)
        at.record("erasure.request", "erasure request", made, fields=sorted(values))
        return ErasureShown(request_id=made, status="requested", receipt=None)

    return await asked.run(work)


@router.get("/erasures/{request_id}")
async def show(asked: Asked, request_id: Annotated[str, Path(max_length=50)]) -> ErasureShown:
    """Show how far an erasure is, and its receipt."""

    def work(at: Work) -> ErasureShown:
        receipt = receipt_of_request(at.cursor, request_id)
        at.record("erasure.read", "erasure request", request_id)
        status: Literal["requested", "erased"] = "requested" if receipt is None else "erased"
        return ErasureShown(request_id=request_id, status=status, receipt=receipt)

    return await asked.run(work)
