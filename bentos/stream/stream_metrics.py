"""What Prometheus is told of a stream worker, beside what every scorer tells it.

fraud_stream_messages_total{topic, outcome}      decided, repeated (known before) or dead
fraud_stream_dead_letters_total{reason}          messages sent to the DLQ, by problem
fraud_stream_unkeyed_messages_total{topic}       messages without a key: no order per user
fraud_stream_age_seconds{topic}                  from a message's time to its commit
fraud_stream_batch_size_messages                 messages per scoring transaction
fraud_stream_batch_duration_seconds              what a batch took, DLQ included
fraud_stream_batch_limit_messages                how large a batch may be now
fraud_stream_lag_messages{topic, partition}      messages that wait
fraud_stream_assigned_partitions                 partitions this worker reads
fraud_stream_paused_partitions                   of these, those that wait for something
fraud_stream_pauses_total{reason}                times a partition was paused
fraud_stream_rebalances_total{event}             assigned, revoked or lost
fraud_stream_last_poll_timestamp_seconds         when Kafka was last asked for messages
"""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_AGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_MESSAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


class StreamMetrics:
    """What one worker counts.

    Args:
        registry: where it is registered; tests give their own.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"fraud_stream_{name}_total", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"fraud_stream_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(
                f"fraud_stream_{name}", text, labels, buckets=buckets, registry=registry
            )

        self.messages = counter("messages", "Messages done with.", "topic", "outcome")
        self.dead_letters = counter("dead_letters", "Messages sent to the DLQ.", "reason")
        self.unkeyed = counter("unkeyed_messages", "Messages without a key.", "topic")
        self.age = histogram(
            "age_seconds", "From a message's time to its decision's commit.", _AGES, "topic"
        )
        self.batch_size = histogram("batch_size_messages", "Messages per batch.", _MESSAGES)
        self.batch_duration = histogram("batch_duration_seconds", "What a batch took.", _SECONDS)
        self.batch_limit = gauge("batch_limit_messages", "How large a batch may be now.")
        self.lag = gauge("lag_messages", "Messages that wait.", "topic", "partition")
        self.assigned = gauge("assigned_partitions", "Partitions this worker reads.")
        self.paused = gauge("paused_partitions", "Of these, those that wait for something.")
        self.pauses = counter("pauses", "Times a partition was paused.", "reason")
        self.rebalances = counter("rebalances", "Partitions that came or went.", "event")
        self.last_poll = gauge("last_poll_timestamp_seconds", "When Kafka was last asked.")
