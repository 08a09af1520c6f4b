"""The relay: one thread per sink, and one that counts and tidies up."""

import datetime as dt
import logging
import threading
from collections.abc import Sequence

import psycopg2
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from bentos.stream.endpoints import read_endpoints
from bentos.stream.relay_metrics import RelayMetrics
from bentos.stream.sink import Sink
from bentos.stream.sink_relay import SinkRelay
from bentos.stream.sinks.kafka import KafkaSink
from bentos.stream.sinks.mongodb import MongoSink
from bentos.stream.sinks.webhooks import WebhookSink
from fraud.domain.errors import LedgerUnavailable, SettingsError
from fraud.ledger.pool import transaction
from fraud.ledger.sinks import prune, sink_statuses
from fraud.settings import Settings

log = logging.getLogger("fraud.relay")

LOOK_S = 5.0
PRUNED_AT_ONCE = 5_000
KINDS = ("kafka", "mongodb", "webhooks")


class Relay:
    """Delivers the outbox to sinks, each at its own pace, until `stop` is set.

    Args:
        url: address of the ledger.
        sinks: where to.
        metrics: where it counts.
        retention_s: how long messages stay in the outbox after every sink has them.
        stop: ends it.
    """

    def __init__(
        self,
        url: str,
        sinks: Sequence[Sink],
        metrics: RelayMetrics,
        retention_s: float,
        stop: threading.Event,
    ) -> None:
        self._url = url
        self._names = {each.name for each in sinks}
        self._metrics = metrics
        self._retention = dt.timedelta(seconds=retention_s)
        self._stop = stop
        self._threads = [
            threading.Thread(
                target=SinkRelay(url, each, metrics, stop).run, name=each.name, daemon=True
            )
            for each in sinks
        ]

    def run(self) -> None:
        """Deliver; return when `stop` is set and every thread has ended."""
        for thread in self._threads:
            thread.start()
        while not self._stop.wait(LOOK_S):
            try:
                self.look()
                while self._tidy_up() == PRUNED_AT_ONCE and not self._stop.is_set():
                    pass
            except (LedgerUnavailable, psycopg2.Error) as error:
                log.warning("the outbox cannot be looked after: %s", error)
        for thread in self._threads:
            thread.join()

    def look(self) -> None:
        """Measure how far behind each sink is."""
        now = dt.datetime.now(dt.UTC)
        with transaction(self._url) as cursor:
            statuses = sink_statuses(cursor)
        for each in statuses:
            if each.sink in self._names:
                age_s = (now - each.oldest_at).total_seconds() if each.oldest_at else 0.0
                self._metrics.lag_messages.labels(each.sink).set(each.lag_messages)
                self._metrics.lag_seconds.labels(each.sink).set(max(age_s, 0.0))
                self._metrics.dead_letters.labels(each.sink).set(each.dead)

    def _tidy_up(self) -> int:
        """Remove some of what every sink has; how many messages."""
        with transaction(self._url) as cursor:
            return prune(cursor, dt.datetime.now(dt.UTC) - self._retention, PRUNED_AT_ONCE)


def configured_sinks(settings: Settings, stop: threading.Event) -> list[Sink]:
    """The sinks that the settings name.

    Raises:
        SettingsError: none, an unknown one, or one whose settings are wrong.
    """
    wanted = [each.strip() for each in settings.relay_sinks.split(",") if each.strip()]
    if not wanted:
        raise SettingsError(
            "FRAUD_RELAY_SINKS names no sink.",
            remedy=f"Name some of {', '.join(KINDS)}: FRAUD_RELAY_SINKS=mongodb fraud relay",
            field="relay_sinks",
        )
    sinks: list[Sink] = []
    for kind in dict.fromkeys(wanted):
        if kind == "kafka":
            sinks.append(KafkaSink(settings, stop))
        elif kind == "mongodb":
            sinks.append(_mongodb(settings))
        elif kind == "webhooks":
            sinks += _webhooks(settings, stop)
        else:
            raise SettingsError(
                f"FRAUD_RELAY_SINKS names {kind!r}, which is no sink.",
                remedy=f"There are {', '.join(KINDS)}.",
                field="relay_sinks",
            )
    return sinks


def run_relay(settings: Settings, url: str, sinks: Sequence[Sink], stop: threading.Event) -> None:
    """Deliver the outbox to sinks until `stop` is set, with metrics on their port meanwhile."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    relay = Relay(url, sinks, RelayMetrics(registry), settings.relay_retention_s, stop)
    server, _ = start_http_server(settings.relay_metrics_port, settings.host, registry=registry)
    try:
        relay.run()
    finally:
        server.shutdown()


def _mongodb(settings: Settings) -> Sink:
    login = None
    if settings.mongodb_username:
        login = (settings.mongodb_username, settings.mongodb_password)
    return MongoSink(settings.mongodb_url, settings.mongodb_database, login)


def _webhooks(settings: Settings, stop: threading.Event) -> list[Sink]:
    if settings.webhooks_file is None:
        raise SettingsError(
            "FRAUD_RELAY_SINKS names webhooks, but FRAUD_WEBHOOKS_FILE is not set.",
            remedy="Give the path of a file as docs/relay.md describes.",
            field="webhooks_file",
        )
    return [WebhookSink(each, stop) for each in read_endpoints(settings.webhooks_file)]
