"""Whether the topics are there, and making those that are not."""

from collections.abc import Collection
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bentos.stream.kafka_client import client_config
from bentos.stream.messages import by_topic
from fraud.domain.errors import SettingsError, UnavailableError
from fraud.ledger.outbox import RESULTS_TOPIC
from fraud.settings import Settings

ASK_TIMEOUT_S = 10.0


def _admin(settings: Settings) -> AdminClient:
    return AdminClient({**client_config(settings)})


def missing_topics(settings: Settings, wanted: Collection[str]) -> list[str]:
    """Those of the wanted topics that are not there.

    Raises:
        UnavailableError: no broker answers.
    """
    try:
        found = _admin(settings).list_topics(timeout=ASK_TIMEOUT_S).topics
    except KafkaException as error:
        raise unreachable(settings, error) from None
    return [name for name in wanted if name not in found]


def check_topics(settings: Settings, wanted: Collection[str]) -> None:
    """Return if every topic is there.

    Raises:
        SettingsError: one is not.
        UnavailableError: no broker answers.
    """
    missing = missing_topics(settings, wanted)
    if missing:
        raise SettingsError(
            f"Kafka at {settings.kafka_servers} has no topic {missing[0]!r}.",
            remedy="Create it, or let us: fraud stream create-topics",
        )


def our_topics(settings: Settings) -> list[str]:
    """Every topic the platform reads or writes."""
    return [*by_topic(settings.kafka_topics), settings.kafka_dlq_topic, RESULTS_TOPIC]


def create_topics(settings: Settings, partitions: int, replicas: int) -> list[str]:
    """Make our topics where they are missing; returns those that were made.

    Args:
        settings: the configuration.
        partitions: of each topic; as many workers can share the load.
        replicas: copies of each partition; -1 for the cluster's default.

    Raises:
        SettingsError: Kafka refuses.
        UnavailableError: no broker answers.
    """
    missing = missing_topics(settings, our_topics(settings))
    if not missing:
        return []
    new = [
        NewTopic(name, num_partitions=partitions, replication_factor=replicas) for name in missing
    ]
    made: dict[str, Future[Any]] = _admin(settings).create_topics(new)
    return [name for name, future in made.items() if _is_made(name, future)]


def unreachable(settings: Settings, error: KafkaException) -> UnavailableError:
    """What it means that no broker answers."""
    return UnavailableError(
        f"Kafka at {settings.kafka_servers} does not answer: {error.args[0].str()}.",
        remedy="Check that it runs, FRAUD_KAFKA_SERVERS and FRAUD_KAFKA_SECURITY_PROTOCOL.",
    )


def _is_made(name: str, future: "Future[Any]") -> bool:
    try:
        future.result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise SettingsError(
            f"Kafka does not create {name!r}: {error.args[0].str()}.",
            remedy="Create it with the rights and numbers that the cluster wants.",
        ) from None
    return True
