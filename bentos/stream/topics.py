"""Whether our topics are there, and making those that are not."""

from collections.abc import Collection

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from bentos.stream.kafka_client import ANSWER_S, client_config, make_topics
from bentos.stream.messages import by_topic
from fraud.domain.errors import SettingsError, UnavailableError
from fraud.ledger.outbox import RESULTS_TOPIC
from fraud.settings import Settings


def check_topics(settings: Settings, wanted: Collection[str]) -> None:
    """Return if every topic is there.

    Raises:
        SettingsError: one is not.
        UnavailableError: no broker answers.
    """
    admin = AdminClient({**client_config(settings)})
    try:
        found = admin.list_topics(timeout=ANSWER_S).topics
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
        UnavailableError: no broker answers, or Kafka refuses.
    """
    ours = [*by_topic(settings.kafka_topics), settings.kafka_dlq_topic, RESULTS_TOPIC]
    try:
        return make_topics(client_config(settings), ours, partitions=partitions, replicas=replicas)
    except KafkaException as error:
        raise unreachable(settings, error) from None


def unreachable(settings: Settings, error: KafkaException) -> UnavailableError:
    """What it means that Kafka does not do what it was asked."""
    return UnavailableError(
        f"Kafka at {settings.kafka_servers} does not do it: {error.args[0].str()}.",
        remedy="Check that it runs and that the settings FRAUD_KAFKA_* are right.",
    )
