"""What Prometheus is told of the relay, on a port of its own.

fraud_relay_delivered_total{sink}   messages a sink took
fraud_relay_dead_total{sink}        messages it refused for good
fraud_relay_retries_total{sink}     batches that were not taken and are sent again
fraud_relay_lag_messages{sink}      messages it does not have
fraud_relay_lag_seconds{sink}       age of the oldest of them
fraud_relay_dead_letters{sink}      dead letters that wait for somebody
fraud_relay_is_leader{sink}         1 where this process delivers to it
"""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge


class RelayMetrics:
    """What one relay counts.

    Args:
        registry: where they are registered; tests give their own.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self.delivered = Counter(
            "fraud_relay_delivered_total", "Messages delivered.", ["sink"], registry=registry
        )
        self.dead = Counter(
            "fraud_relay_dead_total", "Messages refused for good.", ["sink"], registry=registry
        )
        self.retries = Counter(
            "fraud_relay_retries_total", "Batches sent again.", ["sink"], registry=registry
        )
        self.lag_messages = Gauge(
            "fraud_relay_lag_messages", "Messages not delivered yet.", ["sink"], registry=registry
        )
        self.lag_seconds = Gauge(
            "fraud_relay_lag_seconds", "Age of the oldest of them.", ["sink"], registry=registry
        )
        self.dead_letters = Gauge(
            "fraud_relay_dead_letters", "Dead letters now.", ["sink"], registry=registry
        )
        self.is_leader = Gauge(
            "fraud_relay_is_leader", "Whether this process delivers.", ["sink"], registry=registry
        )
