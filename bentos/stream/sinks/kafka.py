"""The sink Kafka: every message to the topic of its name, keyed as it is in the outbox.

The key chooses the partition (by murmur2, as Java's clients do), so one key's messages keep
their order. The header `message_id` is the same however often a message is delivered.
"""

import threading
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Report

from bentos.stream.kafka_client import Trouble, client_config, make_topics, remedy
from fraud.domain.errors import SinkUnavailable
from fraud.ledger.deliveries import Message, Refusal
from fraud.ledger.outbox import ERASURES_TOPIC, RESULTS_TOPIC
from fraud.settings import Settings

BATCH_SIZE = 2_000
PATIENCE_S = 20.0
"""How long a batch may take before it is given up and delivered again."""

_POLL_S = 0.1
_PRODUCER: dict[str, str | int] = {
    "enable.idempotence": "true",
    "acks": "all",
    "partitioner": "murmur2_random",
    "compression.type": "lz4",
    "linger.ms": 2,
    # A message that times out alone would let those after it overtake: time the batch instead.
    "message.timeout.ms": 0,
}
_REFUSED = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD,
}


class KafkaSink:
    """Produces with acknowledgement by all replicas in sync, each message once per delivery.

    Args:
        settings: where Kafka is.
        stop: set when the process ends; nothing is waited for any more.
        patience_s: how long a batch may take.
    """

    name = "kafka"
    needs_transactions = False
    batch_size = BATCH_SIZE

    def __init__(
        self, settings: Settings, stop: threading.Event, patience_s: float = PATIENCE_S
    ) -> None:
        self._config = client_config(settings)
        self._stop = stop
        self._patience_s = patience_s
        self._producer: Producer | None = None
        self._trouble = Trouble()

    def prepare(self) -> None:
        """Make the topics where they are missing, as large as the cluster makes them."""
        try:
            make_topics(self._config, (RESULTS_TOPIC, ERASURES_TOPIC))
        except KafkaException as error:
            raise self._unavailable(error.args[0]) from error

    def deliver(self, messages: Sequence[Message]) -> list[Refusal]:
        if self._producer is None:
            self._trouble = Trouble()
            self._producer = Producer({**self._config, **_PRODUCER, "error_cb": self._trouble.note})
        failures: list[tuple[Message, KafkaError]] = []
        for message in messages:
            error = self._produce(self._producer, message, failures)
            if error is not None:
                failures.append((message, error))
        self._wait(self._producer)
        passing = [error for _, error in failures if error.code() not in _REFUSED]
        if passing:
            self._drop_producer()
            raise self._unavailable(passing[0])
        return [Refusal(message, error.str()) for message, error in failures]

    def close(self) -> None:
        self._drop_producer()

    def _produce(
        self, producer: Producer, message: Message, failures: list[tuple[Message, KafkaError]]
    ) -> KafkaError | None:
        """Hand a message to librdkafka; the error if it is not even taken."""

        def reported(error: KafkaError | None, _: Report) -> None:
            if error is not None:
                failures.append((message, error))

        while True:
            try:
                producer.produce(
                    message.topic,
                    value=message.payload.encode(),
                    key=message.key.encode(),
                    headers={"message_id": str(message.outbox_id)},
                    on_delivery=reported,
                )
                return None
            except BufferError:  # its queue is full
                producer.poll(_POLL_S)
            except KafkaException as refused:
                error: KafkaError = refused.args[0]
                return error

    def _wait(self, producer: Producer) -> None:
        """Return when every message was delivered or refused.

        Raises:
            SinkUnavailable: they were not, for too long.
        """
        waited_s = 0.0
        while producer.flush(_POLL_S):
            waited_s += _POLL_S
            if self._stop.is_set() or waited_s >= self._patience_s:
                self._drop_producer()
                raise self._unavailable(self._trouble.error)

    def _drop_producer(self) -> None:
        """Forget what is on its way: the next producer begins with the batch's first message."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(_POLL_S)
            self._producer = None

    def _unavailable(self, error: KafkaError | None) -> SinkUnavailable:
        error = error or KafkaError(KafkaError._TIMED_OUT, "no acknowledgement")
        return SinkUnavailable(
            f"Kafka at {self._config['bootstrap.servers']} does not take messages: {error.str()}.",
            remedy=remedy(error),
        )
