"""How every Kafka client of the platform connects."""

from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fraud.domain.errors import SettingsError
from fraud.settings import Settings

ANSWER_S = 10.0


def client_config(settings: Settings) -> dict[str, str | int]:
    """The settings of librdkafka that consumers, producers and admin clients share.

    Raises:
        SettingsError: a login without a name, or a file that cannot be read.
    """
    config: dict[str, str | int] = {
        "bootstrap.servers": settings.kafka_servers,
        "security.protocol": settings.kafka_security_protocol,
        "socket.keepalive.enable": "true",
        "client.id": "fraud",
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        if not settings.kafka_username:
            raise SettingsError(
                f"FRAUD_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} needs a login.",
                remedy="Set FRAUD_KAFKA_USERNAME and FRAUD_KAFKA_PASSWORD_FILE.",
                field="kafka_username",
            )
        config |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_username,
            "sasl.password": settings.kafka_password,
        }
    files = {
        "ssl.ca.location": settings.kafka_ca_file,
        "ssl.certificate.location": settings.kafka_certificate_file,
        "ssl.key.location": settings.kafka_key_file,
    }
    return config | {name: str(path) for name, path in files.items() if path is not None}


def make_topics(
    config: Mapping[str, str | int],
    names: Iterable[str],
    *,
    partitions: int = -1,
    replicas: int = -1,
) -> list[str]:
    """Make topics that are missing; returns those that were.

    Args:
        config: how to connect.
        names: of the topics.
        partitions: of each; -1 for the cluster's default.
        replicas: copies of each partition; likewise.

    Raises:
        confluent_kafka.KafkaException: the cluster does not answer, or does not let us.
    """
    admin = AdminClient(dict(config))
    there = admin.list_topics(timeout=ANSWER_S).topics
    missing = [name for name in names if name not in there]
    if not missing:
        return []
    new = [NewTopic(name, partitions, replicas) for name in missing]
    for made in admin.create_topics(new, request_timeout=ANSWER_S).values():
        try:
            made.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return missing
