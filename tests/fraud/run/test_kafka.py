"""The broker of our own, and what is said where it cannot run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from fraud.domain.errors import SettingsError
from fraud.run.kafka.broker import Broker
from fraud.run.kafka.fetching import classpath
from tests.fraud.run.free_ports import free_port
from tests.kafka import make_topic


def test_messages_outlive_a_killed_broker(new_broker: Callable[..., Broker]) -> None:
    broker = new_broker()
    topic = make_topic(broker.address, "kept", partitions=1)
    producer = Producer({"bootstrap.servers": broker.address, "acks": "all"})
    producer.produce(topic, b"told before")
    assert producer.flush(30) == 0
    broker.kill()
    broker.start()
    consumer = Consumer(
        {"bootstrap.servers": broker.address, "group.id": "g", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    message = consumer.poll(60)
    consumer.close()
    assert message is not None
    assert message.value() == b"told before"


def test_a_broker_that_cannot_start_says_why(kafka_classpath: str, tmp_path: Path) -> None:
    nonsense = {"log.retention.ms": "soon"}
    broker = Broker(tmp_path, kafka_classpath, free_port(), free_port(), properties=nonsense)
    with pytest.raises(SettingsError, match=r"log\.retention\.ms"):
        broker.start()


def test_without_a_jdk_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="openjdk-17-jre-headless"):
        classpath(tmp_path)
