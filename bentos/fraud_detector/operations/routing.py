"""What the routes of all operations share: strict bodies, who calls, paging, shapes."""

import datetime as dt
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, ConfigDict

from bentos.fraud_detector.entrances import CALL
from bentos.fraud_detector.guard import Call
from bentos.fraud_detector.intake import (
    DEFAULT_FRAUD_TYPE,
    parse_object,
    refuse_card_numbers,
)
from bentos.fraud_detector.operations.desk import OperationsDesk, Work
from fraud.domain.errors import InvalidField, NotFound
from fraud.domain.event import EPOCH
from fraud.domain.fraud_type import FraudType
from fraud.types.registry import fraud_type as declared

T = TypeVar("T")
Given = TypeVar("Given")

MOST_PER_PAGE = 500


class StrictRoute(APIRoute):
    """A route whose body is read as strictly as that of `/predict`, before FastAPI does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the check in front."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            call: Call = request.scope[CALL]
            if self.body_field is not None:
                refuse_card_numbers(parse_object(call.body))
            return await handle(request)

        return strict


class Sent(BaseModel):
    """Base of what is sent to us: nothing unknown, nothing converted, nothing infinite."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Answer(BaseModel):
    """Base of what we answer."""

    model_config = ConfigDict(frozen=True)


class Operation:
    """A request to operations: who asks, about which fraud type."""

    def __init__(self, desk: OperationsDesk, call: Call, kind: FraudType) -> None:
        self.desk = desk
        self.call = call
        self.kind = kind

    @property
    def fraud_type(self) -> str:
        """Name of the fraud type."""
        return self.kind.name

    async def run(self, work: Callable[[Work], T]) -> T:
        """Carry it out; see `OperationsDesk.run`."""
        return await self.desk.run(self.call, work)


def _operation(
    request: Request,
    fraud_type: Annotated[str, Query(max_length=50, description="Whose.")] = DEFAULT_FRAUD_TYPE,
) -> Operation:
    for name, value in request.query_params.multi_items():
        if not value.isprintable():
            what = "has characters that cannot be printed"
            raise InvalidField([(name, what, "Send printable text.")])
    try:
        kind = declared(fraud_type)
    except NotFound as error:
        raise InvalidField([("fraud_type", "is not a declared fraud type", error.remedy)]) from None
    return Operation(request.app.state.runtime.operations, request.scope[CALL], kind)


Asked = Annotated[Operation, Depends(_operation)]
Limit = Annotated[int, Query(ge=1, le=MOST_PER_PAGE, description="Most to answer.")]


def _no_control_characters(text: str) -> str:
    if not all(each.isprintable() or each == "\n" for each in text):
        raise ValueError("must not hold control characters")
    return text


Prose = Annotated[str, AfterValidator(_no_control_characters)]
"""Text that people read: printable, of several lines at most."""


def optional(change: Callable[[Given], T], value: Given | None) -> T | None:
    """What `change` makes of a value, or None of None."""
    return None if value is None else change(value)


def shown_time(time_us: int) -> dt.datetime:
    """Microseconds since 1970 as answers show them."""
    return EPOCH + dt.timedelta(microseconds=time_us)
