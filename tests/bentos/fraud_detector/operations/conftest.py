"""A running service whose model finds everything harmless: what it blocks, somebody else did."""

from collections.abc import Callable, Iterator

import pytest

from bentos.scoring.manifest import Calibration
from tests.bentos.fraud_detector.detector import Detector, promote, running
from tests.servers import temporary_run_dir

HARMLESS = Calibration(a=1e-9, b=-5.0, squeeze=1e-6)
"""Probability 0.0067, whatever the event."""


@pytest.fixture(scope="module")
def detector(new_ledger: Callable[[], str]) -> Iterator[Detector]:
    with temporary_run_dir() as run_dir, running(run_dir, new_ledger()) as started:
        promote(started.settings, started.ledger, "calm-1", calibration=HARMLESS)
        started.look()
        yield started
