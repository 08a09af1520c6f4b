"""A real Kafka for tests: one broker per run, fresh topics per test.

Fixtures:
    kafka_classpath: what a broker of a test's own is started with; see `new_broker`.
    kafka: the run's broker; `kafka.address` is its bootstrap server.
    new_topic: makes another empty topic on it and returns its name.
    new_broker: starts another broker, alone or joining one, and ends it with the test.
"""

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from fraud.domain.errors import SettingsError
from fraud.run.kafka.broker import Broker
from fraud.run.kafka.fetching import classpath
from tests.conftest import MISSING_SERVER
from tests.fraud.run.free_ports import free_port
from tests.turns import taking_turns

_numbers = itertools.count(1)


@contextmanager
def a_broker(
    path: str,
    joins: Broker | None = None,
    properties: Mapping[str, str] | None = None,
    *,
    port: int | None = None,
    controller_port: int | None = None,
) -> Iterator[Broker]:
    """A broker, on free ports unless they are given, that is gone afterwards in any case."""
    folder = Path(tempfile.mkdtemp(prefix="fraud-kafka-"))
    ports = port or free_port(), controller_port or free_port()
    broker = Broker(folder, path, *ports, joins=joins, properties=properties)
    try:
        broker.start()
        yield broker
    finally:
        broker.discard()


def make_topic(address: str, name: str, partitions: int = 4, replicas: int = 1) -> str:
    """An empty topic on the broker at an address."""
    admin = AdminClient({"bootstrap.servers": address})
    for made in admin.create_topics([NewTopic(name, partitions, replicas)]).values():
        made.result()
    return name


@pytest.fixture(scope="session")
def kafka_classpath() -> str:
    try:
        with taking_turns("maven"):
            return classpath(Path(sys.prefix) / "kafka")
    except SettingsError as error:
        pytest.skip(f"{MISSING_SERVER} Kafka - {error}")


@pytest.fixture(scope="session")
def kafka(kafka_classpath: str) -> Iterator[Broker]:
    with a_broker(kafka_classpath) as broker:
        yield broker


@pytest.fixture
def new_topic(kafka: Broker) -> Callable[..., str]:
    def make(partitions: int = 4) -> str:
        return make_topic(kafka.address, f"topic-{next(_numbers)}", partitions)

    return make


@pytest.fixture
def new_broker(kafka_classpath: str) -> Iterator[Callable[..., Broker]]:
    """`new_broker(joins=None, properties=None)`."""
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(a_broker(kafka_classpath, **how))
