"""A stream of a test's own, on the run's broker."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fraud.run.kafka.broker import Broker
from fraud.settings import Settings
from tests.bentos.fraud_detector.detector import promote
from tests.bentos.stream.streams import Stream, settings_for
from tests.kafka import make_topic
from tests.servers import temporary_run_dir


@pytest.fixture(scope="module")
def bundles() -> Iterator[Path]:
    """A run folder whose bundles and keys the streams of a module share."""
    with temporary_run_dir() as folder:
        yield folder


@pytest.fixture
def stream(
    bundles: Path, new_ledger: Callable[[], str], kafka: Broker, new_topic: Callable[..., str]
) -> Stream:
    topic = new_topic(partitions=4)
    make_topic(kafka.address, f"{topic}.dlq", partitions=1)
    settings: Settings = settings_for(bundles, new_ledger(), kafka.address, topic)
    promote(settings, settings.database_url, "v1")
    return Stream(settings, topic, f"{topic}.dlq")
