"""A running service for the tests of this folder."""

from collections.abc import Callable, Iterator

import pytest

from tests.bentos.fraud_detector.detector import Detector, running
from tests.servers import temporary_run_dir


@pytest.fixture(scope="module")
def detector(new_ledger: Callable[[], str]) -> Iterator[Detector]:
    with temporary_run_dir() as run_dir, running(run_dir, new_ledger(), "model-1") as started:
        yield started
