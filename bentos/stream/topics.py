"""Whether our topics are there, and making those that are not."""

from collections.abc import Collection

from confluent_kafka import KafkaError, KafkaException

from bentos.stream.kafka_client import (
    REFUSALS,
    client_config,
    make_topics,
    remedy,
    topics_there,
)
from bentos.stream.messages import by_topic
from fraud.domain.errors import FraudError, SettingsError, UnavailableError
from fraud.ledger.outbox import RESULTS_TOPIC
from fraud.settings import Settings


def check_topics(settings: Settings, wanted: Collection[str]) -> None:
    """Return if every topic is there.

    Raises:
        SettingsError: one is not, or the brokers do not let us in.
        UnavailableError: no broker answers.
    """
    try:
        _, found = topics_there(client_config(settings))
    except KafkaException as error:
        raise unreachable(settings, error) from None
    missing = [name for name in wanted if name not in found]
    if missing:
        raise SettingsError(
            f"Kafka at {settings.kafka_servers} has no topic {missing[0]!r}.",
            remedy="Create it, or let us: fraud stream create-topics",
        )


def create_topics(settings: Settings, partitions: int, replicas: int) -> list[str]:
    """Make the topics we read or write where they are missing; returns those that were.

    Args:
        settings: the configuration.
        partitions: of each topic; as many workers can share the load.
        replicas: copies of each partition; -1 for the cluster's default.

    Raises:
        SettingsError: the brokers do not let us in.
        UnavailableError: no broker answers, or Kafka refuses.
    """
    ours = [*by_topic(settings.kafka_topics), settings.kafka_dlq_topic, RESULTS_TOPIC]
    try:
        return make_topics(client_config(settings), ours, partitions=partitions, replicas=replicas)
    except KafkaException as error:
        raise unreachable(settings, error) from None


def unreachable(settings: Settings, failure: KafkaException) -> FraudError:
    """What it means that Kafka does not do what it was asked."""
    error: KafkaError = failure.args[0]
    if error.code() in REFUSALS:
        return SettingsError(
            f"Kafka at {settings.kafka_servers} does not let us in: {error.str()}.",
            remedy=remedy(error),
        )
    return UnavailableError(
        f"Kafka at {settings.kafka_servers} does not do it: {error.str()}.", remedy=remedy(error)
    )
