"""The BentoML service: one class that holds a worker's parts and serves our HTTP API.

BentoML packs, starts and supervises; the routes are ours (docs/adr/0002). The guard is added
as a middleware, so that it stands before BentoML's pages as well, and stands before the scoring
routes, to which connections lead directly.
"""

import logging
import sys

import bentoml

from bentos.fraud_detector import connection
from bentos.fraud_detector.api import create_app, doors
from bentos.fraud_detector.entrances import GuardMiddleware
from bentos.fraud_detector.guard import Desk, Guard
from bentos.fraud_detector.health import is_ready
from bentos.fraud_detector.metrics import process_metrics
from bentos.fraud_detector.runtime import Runtime
from fraud.security.masking import install_masking
from fraud.settings import load_settings

BENTO_NAME = "fraud_detector"
REQUEST_TIMEOUT_S = 30
"""BentoML's own, behind our deadlines; it also bounds how long its timers stay in the heap."""

SWITCH_INTERVAL_S = 0.001
"""How long the event loop may keep the scoring thread from the interpreter, and vice versa."""


def _desk() -> Desk:
    desk: Desk = api.state.runtime
    return desk


install_masking()
api = create_app()
guard = Guard(_desk)
connection.install(doors(api, guard))


@bentoml.asgi_app(api, path="/")
@bentoml.service(
    name=BENTO_NAME,
    workers=1,  # `fraud serve` sets the number from the settings
    traffic={"timeout": REQUEST_TIMEOUT_S},
    metrics={"enabled": False, "namespace": "bentoml_service"},  # see metrics.py
    logging={"access": {"enabled": False}},
)
class FraudDetector:
    """Scores transactions over HTTP."""

    def __init__(self) -> None:
        settings = load_settings()
        logging.getLogger("fraud").setLevel(settings.log_level)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self.runtime = Runtime(settings, process_metrics())
        api.state.runtime = self.runtime

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Load the champions; requests are accepted after this."""
        self.runtime.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """Answer what waits, then end."""
        await self.runtime.close()

    def __is_alive__(self) -> bool:
        return self.runtime.is_alive

    def __is_ready__(self) -> bool:
        return is_ready(self.runtime)


# mypy ignores what class decorators return.
FraudDetector.add_asgi_middleware(GuardMiddleware, guard=guard)  # type: ignore[attr-defined]
