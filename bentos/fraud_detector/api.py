"""The HTTP API: translates between bodies and the scoring path, and nothing else.

`/predict` and `/batch-predict` are plain Starlette routes: FastAPI's own parsing takes the
last of two equal keys, accepts NaN and answers in another shape than RFC 9457.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from bentos.fraud_detector.engine import clock_us
from bentos.fraud_detector.entrances import CALL, Door
from bentos.fraud_detector.guard import Call, Guard
from bentos.fraud_detector.health import health
from bentos.fraud_detector.intake import (
    Accepted,
    Refused,
    accept,
    accept_batch,
    parse_object,
    sent_id,
)
from bentos.fraud_detector.metrics import MEDIA_TYPE as METRICS_MEDIA_TYPE
from bentos.fraud_detector.openapi import openapi
from bentos.fraud_detector.operations.routers import OPERATIONS
from bentos.fraud_detector.problems import Problem, internal_error, printable, problem_of
from bentos.fraud_detector.runtime import Runtime
from bentos.fraud_detector.stripe_webhook import stripe_webhook
from bentos.scoring.scorer import ScoreRequest
from fraud.domain.decision import Decision, reply_json
from fraud.domain.errors import FraudError

JSON = "application/json"

log = logging.getLogger("fraud.detector")

ScoringRoute = Callable[[Runtime, Call], Awaitable[Response]]


def create_app() -> FastAPI:
    """The application; it answers once `state.runtime` is set."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    for path, route in SCORING_ROUTES.items():
        app.router.add_route(path, _endpoint(route), methods=["POST"])
    app.router.add_route("/health", show_health, methods=["GET"])
    app.router.add_route("/metrics", show_metrics, methods=["GET"])
    app.router.add_route("/openapi.json", show_openapi, methods=["GET"])
    app.router.add_route("/connectors/stripe/webhook", stripe_webhook, methods=["POST"])
    for router in OPERATIONS:
        app.router.routes.extend(router.routes)  # as they are: a test looks at every route
    app.add_exception_handler(FraudError, _on_fraud_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    return app


def doors(app: FastAPI, guard: Guard) -> dict[str, Door]:
    """A way to each scoring route that leads past the application.

    What lies between the guard and a route (BentoML's and FastAPI's stacks, two routers) does
    nothing for these, at a tenth of the CPU that a request takes of the event loop.
    """
    shortcuts = {"/predict": PredictShortcut(lambda: runtime_of(app))}
    return {
        path: Door(guard, _behind_door(app, route), shortcuts.get(path))
        for path, route in SCORING_ROUTES.items()
    }


async def predict(runtime: Runtime, call: Call) -> Response:
    """Decide on one transaction."""
    started_s = time.perf_counter()
    transaction_id: str | None = None
    try:
        content = parse_object(call.body)
        transaction_id = sent_id(content)
        accepted = accept(content, clock_us())
        [answer] = await runtime.collector.submit([_score_request(accepted, call)])
        if isinstance(answer, FraudError):
            raise answer
    except FraudError as error:
        return await _refused(runtime, call, error, transaction_id)
    return _decided(runtime, answer, accepted, started_s)


class PredictShortcut:
    """`/predict` without a task: what it says of a good request is the same.

    Args:
        runtime: gives the parts of this process, once it has started.
    """

    def __init__(self, runtime: Callable[[], Runtime]) -> None:
        self._runtime = runtime

    def read(self, body: bytes) -> tuple[Accepted, float]:
        """The transaction, and when its reading began.

        Raises:
            FraudError: it cannot be scored.
        """
        started_s = time.perf_counter()
        return accept(parse_object(body), clock_us()), started_s

    def begin(
        self, call: Call, content: tuple[Accepted, float], answer: Callable[[Response], None]
    ) -> None:
        """Have the transaction decided on with the next batch.

        Raises:
            FraudError: too many wait, or the service is closing.
        """
        runtime, (accepted, started_s) = self._runtime(), content

        def done(found: Decision | FraudError) -> None:
            if isinstance(found, FraudError):
                refusing = asyncio.ensure_future(refuse(found))
                _refusals.add(refusing)
                refusing.add_done_callback(_refusals.discard)
                return
            try:
                response = _decided(runtime, found, accepted, started_s)
            except Exception:
                log.exception("An answer broke")
                response = internal_error().response("/predict")
            answer(response)

        async def refuse(error: FraudError) -> None:
            transaction_id = accepted.event.transaction_id
            try:
                response = await _refused(runtime, call, error, transaction_id)
            except Exception:
                log.exception("A refusal broke")
                response = internal_error().response("/predict")
            answer(response)

        runtime.collector.begin(_score_request(accepted, call), done)


_refusals: set[asyncio.Future[None]] = set()
"""Under way; the event loop itself holds them weakly."""


async def _refused(
    runtime: Runtime, call: Call, error: FraudError, transaction_id: str | None
) -> Response:
    problem = problem_of(error)
    await runtime.refused(call, "/predict", problem, transaction_id)
    return problem.response("/predict")


def _decided(runtime: Runtime, answer: Decision, accepted: Accepted, started_s: float) -> Response:
    runtime.answered(answer, accepted.event.amount_minor, time.perf_counter() - started_s)
    return _Found(reply_json(answer, orjson.dumps))


async def batch_predict(runtime: Runtime, call: Call) -> Response:
    """Decide on up to 1,000 transactions; each gets its decision or its own error."""
    started_s = time.perf_counter()
    try:
        # Thousands of fields take milliseconds: in a thread, other requests go on meanwhile.
        items = await asyncio.to_thread(_read_batch, call.body)
        fine = [item for item in items if isinstance(item, Accepted)]
        answers = await runtime.collector.submit([_score_request(item, call) for item in fine])
    except FraudError as error:
        problem = problem_of(error)
        await runtime.refused(call, "/batch-predict", problem)
        return problem.response("/batch-predict")
    outcomes = _outcomes(items, answers)
    refusals = [
        (outcome, item.transaction_id if isinstance(item, Refused) else item.event.transaction_id)
        for item, outcome in zip(items, outcomes, strict=True)
        if isinstance(outcome, Problem)
    ]
    if refusals:
        await runtime.refused_all(call, "/batch-predict", refusals)
    predictions: list[dict[str, object] | orjson.Fragment] = []
    decided: list[tuple[Decision, int]] = []
    for item, outcome in zip(items, outcomes, strict=True):
        if isinstance(outcome, Problem):
            predictions.append({"transaction_id": _id_of(item), "error": outcome.body()})
            continue
        assert isinstance(item, Accepted)
        decided.append((outcome, item.event.amount_minor))
        predictions.append(orjson.Fragment(reply_json(outcome, orjson.dumps)))
    runtime.metrics.decided(decided)
    for fraud_type in {item.event.fraud_type for item in fine}:
        runtime.metrics.took(fraud_type, [time.perf_counter() - started_s])
    return _Found(orjson.dumps({"predictions": predictions}))


async def show_health(request: Request) -> Response:
    """Whether predictions can be answered."""
    status, body = health(runtime_of(request.app))
    headers = {"retry-after": "1"} if status == 503 else None
    return Response(orjson.dumps(body), status, headers, media_type=JSON)


async def show_metrics(request: Request) -> Response:
    """What Prometheus scrapes."""
    runtime = runtime_of(request.app)
    runtime.count()
    text = await asyncio.to_thread(runtime.metrics.exposition, runtime.ledger_metrics)
    return Response(text, media_type=METRICS_MEDIA_TYPE)


async def show_openapi(request: Request) -> Response:
    """The description of this API, OpenAPI 3.1."""
    return Response(openapi(), media_type=JSON)


def runtime_of(app: ASGIApp) -> Runtime:
    """The parts of this process."""
    assert isinstance(app, FastAPI)
    runtime: Runtime = app.state.runtime
    return runtime


SCORING_ROUTES: Mapping[str, ScoringRoute] = {"/predict": predict, "/batch-predict": batch_predict}


class _Found(Response):
    """A JSON answer with status 200; its headers are written down, not worked out."""

    def __init__(self, body: bytes) -> None:
        self.status_code = 200
        self.body = body
        self.background = None
        self.raw_headers = [
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", JSON.encode()),
        ]


def _endpoint(route: ScoringRoute) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await route(runtime_of(request.app), request.scope[CALL])

    return endpoint


def _behind_door(app: FastAPI, route: ScoringRoute) -> Callable[[Call], Awaitable[Response]]:
    return lambda call: route(runtime_of(app), call)


def _read_batch(body: bytes) -> list[Accepted | Refused]:
    return accept_batch(parse_object(body), clock_us())


def _score_request(accepted: Accepted, call: Call) -> ScoreRequest:
    return ScoreRequest(accepted.event, accepted.body_digest, call.actor, call.origin)


def _outcomes(
    items: Sequence[Accepted | Refused], answers: Sequence[Decision | FraudError]
) -> list[Decision | Problem]:
    """A decision or a problem per item, in the order of the items."""
    remaining = iter(answers)
    outcomes: list[Decision | Problem] = []
    for item in items:
        found = item.error if isinstance(item, Refused) else next(remaining)
        outcomes.append(problem_of(found) if isinstance(found, FraudError) else found)
    return outcomes


def _id_of(item: Accepted | Refused) -> str | None:
    """The id as it can be answered: a refused one may hold half a surrogate pair."""
    if isinstance(item, Accepted):
        return item.event.transaction_id
    return None if item.transaction_id is None else printable(item.transaction_id, 50)


async def _on_fraud_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FraudError)
    problem = problem_of(error)
    await runtime_of(request.app).refused(request.scope[CALL], request.url.path, problem)
    return problem.response(request.url.path)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    slugs = {404: "not-found", 405: "method-not-allowed"}
    if error.status_code not in slugs:
        return internal_error().response(request.url.path)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    problem = Problem(slugs[error.status_code], str(error.detail), headers=headers)
    return problem.response(request.url.path)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = tuple(
        (".".join(map(str, each["loc"][1:])), str(each["msg"]), "Correct it and send it again.")
        for each in error.errors()
    )
    problem = Problem("invalid-field", "The request has fields that cannot be used.", errors)
    await runtime_of(request.app).refused(request.scope[CALL], request.url.path, problem)
    return problem.response(request.url.path)
