"""Settings of what flows in and out: Kafka, the relay and its sinks.

Part of `fraud.settings`, which says how they are read.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from fraud.security.secret_files import given_secret

Port = Annotated[int, Field(ge=1, le=65535)]


class StreamSettings(BaseSettings):
    """Settings of streams and sinks.

    Attributes:
        kafka_servers: bootstrap servers, host:port separated by commas.
        kafka_security_protocol: how they are spoken to.
        kafka_sasl_mechanism: how we log in, where the protocol begins with SASL.
        kafka_username: the login's name.
        kafka_password_file: file with its password.
        kafka_ca_file: certificates (PEM) that the servers' are checked with; the system's
            unless given.
        kafka_certificate_file: our own certificate (PEM), where the servers ask for one.
        kafka_key_file: its private key (PEM).
        relay_sinks: where the relay delivers: some of kafka, mongodb and webhooks.
        relay_retention_s: seconds a message stays in the outbox, at least.
        mongodb_url: server or replica set, `mongodb://...`.
        mongodb_database: the database our collections are in.
        mongodb_username: who logs in, where the URL does not say.
        mongodb_password_file: file with the password.
        webhooks_file: YAML with the receivers of webhooks, see docs/relay.md.
        kafka_group: consumer group of the stream workers.
        kafka_topics: topics they read, separated by commas; `topic=fraud_type` where a topic
            carries one type and its messages do not say which.
        kafka_dlq_topic: where messages go that can never be decided.
        kafka_instance: name of this worker among those of its group, if it keeps one across
            restarts: it then gets its partitions back without a rebalance.
        stream_max_batch: messages decided at once, at most.
        stream_metrics_port: where a stream worker shows its metrics; 0 for nowhere.
    """

    kafka_servers: str = Field(default="127.0.0.1:9092", min_length=1)
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str = ""
    kafka_password_file: Path | None = None
    kafka_ca_file: Path | None = None
    kafka_certificate_file: Path | None = None
    kafka_key_file: Path | None = None
    kafka_group: str = Field(default="fraud-detector", min_length=1)
    kafka_topics: str = Field(default="transactions", min_length=1)
    kafka_dlq_topic: str = Field(default="transactions.dlq", min_length=1)
    kafka_instance: str = ""
    stream_max_batch: Annotated[int, Field(ge=1, le=1000)] = 500
    stream_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9109

    relay_sinks: str = ""
    relay_metrics_port: Port = 9108
    relay_retention_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3600.0
    mongodb_url: str = Field(default="mongodb://127.0.0.1:27017", min_length=1, repr=False)
    mongodb_database: str = Field(default="fraud", min_length=1)
    mongodb_username: str = ""
    mongodb_password_file: Path | None = None
    webhooks_file: Path | None = None

    @field_validator(
        *("kafka_password_file", "kafka_ca_file", "kafka_certificate_file", "kafka_key_file"),
        *("mongodb_password_file", "webhooks_file"),
    )
    @classmethod
    def _absolute_files(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @property
    def kafka_password(self) -> str:
        """The password we log in to Kafka with; "" where there is none.

        Raises:
            SettingsError: its file cannot be read.
        """
        return given_secret(self.kafka_password_file, "FRAUD_KAFKA_PASSWORD_FILE")

    @property
    def mongodb_password(self) -> str:
        """The password we log in to MongoDB with; "" where there is none.

        Raises:
            SettingsError: its file cannot be read.
        """
        return given_secret(self.mongodb_password_file, "FRAUD_MONGODB_PASSWORD_FILE")
