"""A world for stream workers: a ledger with a champion, topics, producers and readers."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from prometheus_client import CollectorRegistry

from bentos.stream.messages import headers_of
from bentos.stream.running import work_until
from bentos.stream.stream_metrics import StreamMetrics
from fraud.ledger.pool import transaction
from fraud.run.programs import absolute_paths, tool
from fraud.settings import Settings, load_settings

DEADLINE_S = 120.0
"""Generous: what is waited for takes a second on a machine that does nothing else."""


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_S:g} s for {what}, in vain"
        time.sleep(0.05)


@dataclass
class Read:
    """A message as a reader of a topic saw it."""

    key: bytes | None
    value: bytes | None
    headers: dict[str, str]


@dataclass
class Stream:
    """Topics of a test, and the ledger behind their workers."""

    settings: Settings
    topic: str
    dlq: str

    def send(
        self,
        bodies: Sequence[Mapping[str, object] | bytes],
        *,
        key: str | None = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Messages keyed by their user, unless a key is given; None for none."""
        producer = Producer({"bootstrap.servers": self.settings.kafka_servers, "acks": "all"})
        for body in bodies:
            own = body.get("user_id", "") if isinstance(body, Mapping) else "poison"
            producer.produce(
                self.topic,
                key=own if key == "" else key,
                value=body if isinstance(body, bytes) else json.dumps(body),
                headers=headers,
            )
        assert producer.flush(60) == 0

    def read(self, topic: str) -> list[Read]:
        """All that a topic holds now."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.settings.kafka_servers,
                "group.id": "reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        numbers = set(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        found = []
        while numbers:
            message = consumer.poll(30)
            assert message is not None, f"{topic} cannot be read"
            if message.error() is None:
                headers = {name: value.decode() for name, value in headers_of(message)}
                found.append(Read(message.key(), message.value(), headers))
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF
                numbers.discard(message.partition())
        consumer.close()
        return found

    def committed(self) -> int:
        """Messages of the topic that the group is done with."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.settings.kafka_servers,
                "group.id": self.settings.kafka_group,  # which it never joins
            }
        )
        numbers = consumer.list_topics(self.topic, timeout=30).topics[self.topic].partitions
        try:
            found = consumer.committed([TopicPartition(self.topic, n) for n in numbers], timeout=30)
        except KafkaException:  # the coordinator of a first group takes a moment
            return 0
        finally:
            consumer.close()
        return sum(max(each.offset, 0) for each in found)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with transaction(self.settings.database_url) as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def decided(self) -> dict[str, int]:
        """How many decisions each transaction has."""
        return dict(self.rows("SELECT transaction_id, count(*) FROM decisions GROUP BY 1"))

    @contextmanager
    def worker(self, **changes: object) -> Iterator[CollectorRegistry]:
        """A worker in a thread of ours; its metrics. It ends in order."""
        registry, over = CollectorRegistry(), threading.Event()
        failures: list[BaseException] = []

        def run() -> None:
            try:
                work_until(over, self.settings.replaced(**changes), StreamMetrics(registry))
            except BaseException as error:  # noqa: BLE001 - told to the test below
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield registry
        finally:
            over.set()
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
            assert not failures, failures[0]

    @contextmanager
    def process(self, **changes: object) -> Iterator[subprocess.Popen[bytes]]:
        """A worker as `fraud stream` starts it; killed at the end if it still runs."""
        settings = self.settings.replaced(**changes)
        names = ("kafka_servers", "kafka_group", "kafka_topics", "kafka_dlq_topic")
        given = {f"FRAUD_{name.upper()}": str(getattr(settings, name)) for name in names}
        environment = {
            **os.environ,
            **absolute_paths(settings),
            **given,
            "FRAUD_KAFKA_INSTANCE": settings.kafka_instance,
            "FRAUD_STREAM_METRICS_PORT": str(settings.stream_metrics_port),
            "DATABASE_URL": settings.database_url,
        }
        log = settings.run_dir / f"stream-{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [tool("fraud"), "stream"], env=environment, stdout=output, stderr=output
            )
        process.log = log  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()


def settings_for(run_dir: Path, ledger: str, broker: str, topic: str, **changes: Any) -> Settings:
    return load_settings(
        run_dir=run_dir,
        database_url=ledger,
        kafka_servers=broker,
        kafka_group=f"group-{topic}",
        kafka_topics=topic,
        kafka_dlq_topic=f"{topic}.dlq",
        stream_metrics_port=0,
        **changes,
    )


def value_of(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """A metric, 0 while there is none."""
    return registry.get_sample_value(name, labels) or 0.0
