"""One service with a model for every fraud type, and a gateway in front of it."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.bentos.fraud_detector.detector import SCORING, Detector, a_token, promote_all, running
from tests.clients.gateway import Gateway, a_gateway
from tests.servers import temporary_run_dir

RATE, BURST = 25, 25
"""So few that a client in a hurry meets a real 429 within its first second."""


@pytest.fixture(scope="package")
def detector(new_ledger: Callable[[], str]) -> Iterator[Detector]:
    limits = {"rate_per_client": RATE, "burst_per_client": BURST}
    with (
        temporary_run_dir() as run_dir,
        running(run_dir, new_ledger(), **limits) as started,
    ):
        promote_all(started)
        yield started


@pytest.fixture(scope="package")
def gateway(detector: Detector) -> Iterator[Gateway]:
    with a_gateway(detector.url) as started:
        yield started


@pytest.fixture
def token(detector: Detector, request: pytest.FixtureRequest) -> str:
    """A token for scoring and labels, whose subject is this test alone."""
    return client_token(detector, request.node.name)


def client_token(detector: Detector, subject: str, **changes: object) -> str:
    return a_token(detector.settings, (*SCORING, "labels:write"), subject=subject[:50], **changes)


def expired_token(detector: Detector) -> str:
    return client_token(detector, "late", now_s=time.time() - 7200)
