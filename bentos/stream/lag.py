"""How many messages wait, per partition."""

import logging
import time
from collections.abc import Collection, Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from bentos.stream.stream_metrics import StreamMetrics

INTERVAL_S = 1.0
ASK_INTERVAL_S = 5.0
ASK_TIMEOUT_S = 0.5

log = logging.getLogger("fraud.stream")

Shelf = tuple[str, int]


class Lag:
    """Measures, once a second.

    Where messages are fetched, their brokers say how far the partition reaches; of a
    partition that is paused they have to be asked, which is done less often.

    Args:
        consumer: whose partitions.
        metrics: told of it.
    """

    def __init__(self, consumer: Consumer, metrics: StreamMetrics) -> None:
        self._consumer = consumer
        self._metrics = metrics
        self._due_s = 0.0
        self._ask_due_s = 0.0

    def look(
        self, reached: Mapping[Shelf, int], assigned: Collection[Shelf], paused: Collection[Shelf]
    ) -> None:
        """Measure if it is time.

        Args:
            reached: the next offset to be done with, where it is known.
            assigned: partitions that are read.
            paused: those of them that wait.
        """
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + INTERVAL_S
        may_ask = now_s >= self._ask_due_s
        for shelf in assigned:
            if shelf in reached and (shelf not in paused or may_ask):
                self._measure(shelf, reached[shelf], is_cached=shelf not in paused)
        if may_ask:
            self._ask_due_s = now_s + ASK_INTERVAL_S

    def forget(self, shelf: Shelf) -> None:
        """A partition is not ours any more."""
        self._metrics.lag.remove(shelf[0], str(shelf[1]))

    def _measure(self, shelf: Shelf, reached: int, *, is_cached: bool) -> None:
        try:
            marks = self._consumer.get_watermark_offsets(
                TopicPartition(*shelf), timeout=ASK_TIMEOUT_S, cached=is_cached
            )
        except KafkaException as error:
            log.debug("The lag of %s/%d is not known: %s", *shelf, error)
            return
        if marks is not None and marks[1] >= 0:
            self._metrics.lag.labels(shelf[0], str(shelf[1])).set(max(0, marks[1] - reached))
