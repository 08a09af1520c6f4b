"""How every Kafka client of the platform connects."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fraud.domain.errors import SettingsError
from fraud.security.secret_files import given_file
from fraud.settings import Settings

ANSWER_S = 10.0
LOOK_S = 0.5
"""How often it is looked whether the brokers have refused us meanwhile."""

REFUSALS = {
    KafkaError._AUTHENTICATION: "Check FRAUD_KAFKA_USERNAME, FRAUD_KAFKA_PASSWORD_FILE and "
    "FRAUD_KAFKA_SASL_MECHANISM.",
    KafkaError._SSL: "Set FRAUD_KAFKA_CA_FILE to the certificates of whoever signed the brokers', "
    "and FRAUD_KAFKA_CERTIFICATE_FILE and FRAUD_KAFKA_KEY_FILE where they ask for one of ours.",
    KafkaError._INVALID_ARG: "Check the PEM files of FRAUD_KAFKA_CA_FILE, "
    "FRAUD_KAFKA_CERTIFICATE_FILE and FRAUD_KAFKA_KEY_FILE.",
}
"""Errors that do not pass by waiting, and what to do about each."""


class Trouble:
    """What a client's brokers say is wrong; its method `note` is the client's `error_cb`.

    Attributes:
        error: the last error, or the refusal that it follows from; None while there is none.
    """

    def __init__(self) -> None:
        self.error: KafkaError | None = None

    def note(self, error: KafkaError) -> None:
        """Keep an error, unless it only says that a refusal leaves no broker."""
        if not self.is_refusal or error.code() in REFUSALS:
            self.error = error

    @property
    def is_refusal(self) -> bool:
        """Whether waiting does not help."""
        return self.error is not None and self.error.code() in REFUSALS


def remedy(error: KafkaError) -> str:
    """What to do about an error of a client."""
    general = "Check that it runs and that the settings FRAUD_KAFKA_* are right."
    return REFUSALS.get(error.code(), general)


def client_config(settings: Settings) -> dict[str, str | int]:
    """The settings of librdkafka that consumers, producers and admin clients share.

    Raises:
        SettingsError: a login without a name, or a file that cannot be read.
    """
    _check_files(settings)
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


def _check_files(settings: Settings) -> None:
    for name in ("kafka_ca_file", "kafka_certificate_file", "kafka_key_file"):
        path: Path | None = getattr(settings, name)
        if path is not None:
            given_file(path, f"FRAUD_{name.upper()}")


def topics_there(config: Mapping[str, str | int]) -> tuple[AdminClient, Collection[str]]:
    """A client that brokers have let in, and the topics they have.

    Raises:
        confluent_kafka.KafkaException: none lets us in, at once where one says so, or answers.
    """
    trouble = Trouble()
    # It says what is wrong many times a second: we say it once.
    options: dict[str, Any] = {**config, "error_cb": trouble.note, "log_level": 2}
    admin = AdminClient(options)
    waited_s = 0.0
    while True:
        try:
            return admin, admin.list_topics(timeout=LOOK_S).topics
        except KafkaException as error:
            admin.poll(0)
            waited_s += LOOK_S
            if trouble.is_refusal or waited_s >= ANSWER_S:
                raise KafkaException(trouble.error or error.args[0]) from None


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
    admin, there = topics_there(config)
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
