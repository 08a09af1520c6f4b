"""A stream worker as a process: what it is made of, and the order in which it starts and ends."""

import logging
import signal
import sys
import threading
from types import FrameType

from confluent_kafka import Consumer
from prometheus_client import start_http_server

from bentos.fraud_detector.engine import ScoringEngine, clock_us
from bentos.fraud_detector.metrics import process_metrics
from bentos.fraud_detector.own_scorer import PATIENT
from bentos.stream.batch_size import BatchSize
from bentos.stream.deciding import StreamScorer
from bentos.stream.dlq import DeadLetterQueue
from bentos.stream.kafka_client import client_config
from bentos.stream.messages import by_topic
from bentos.stream.stream_metrics import StreamMetrics
from bentos.stream.topics import check_topics
from bentos.stream.worker import CommitCallback, Worker
from fraud.domain.errors import SettingsError, UnavailableError
from fraud.settings import Settings
from fraud.types.registry import fraud_type

SESSION_MS = 15_000
"""After so long without a sign of life the group gives a worker's partitions to others."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)
ASK_AGAIN_S = 2.0
MOST_MISSES = 3

log = logging.getLogger("fraud.stream")


def work(settings: Settings) -> None:
    """Decide on what comes until SIGTERM or Ctrl-C.

    Raises:
        FraudError: settings, topics or rights are wrong; waiting would not help.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    over = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        log.info("Told to end; what is being decided is finished first")
        over.set()

    before = {each: signal.signal(each, end) for each in SIGNALS}
    try:
        _show_metrics(settings)
        work_until(over, settings, StreamMetrics())
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def work_until(over: threading.Event, settings: Settings, metrics: StreamMetrics) -> None:
    """Decide on what comes, in this thread, until told to stop.

    Args:
        over: set by whoever tells.
        settings: the configuration.
        metrics: where the worker counts.

    Raises:
        FraudError: see `work`.
    """
    topics = by_topic(settings.kafka_topics)
    for name in filter(None, topics.values()):
        fraud_type(name)  # better to fail here than with every message
    _wait_for_topics(settings, [*topics, settings.kafka_dlq_topic], over)
    if over.is_set():
        return
    engine = ScoringEngine(settings, process_metrics(), limits=PATIENT, can_wait=True)
    engine.start()
    try:
        config = client_config(settings)
        scorer = StreamScorer(
            engine,
            DeadLetterQueue(config, settings.kafka_dlq_topic),
            process_metrics(),
            metrics,
            topics,
            f"kafka:{settings.kafka_group}",
            clock_us,
        )
        worker = Worker(
            lambda on_commit: consumer_of(settings, on_commit),
            scorer,
            lambda: not engine.breaker.is_closed,
            BatchSize(settings.stream_max_batch),
            metrics,
        )
        log.info("Group %s reads %s", settings.kafka_group, ", ".join(topics))
        worker.run(list(topics), over)
    finally:
        engine.close()
    log.info("Ended; everything that was decided is committed")


def consumer_of(settings: Settings, on_commit: CommitCallback) -> Consumer:
    """A consumer of the group: it commits when told to, and rebalances without stopping all."""
    config: dict[str, str | int | bool | object] = {
        **client_config(settings),
        "group.id": settings.kafka_group,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": SESSION_MS,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "allow.auto.create.topics": False,
        "queued.min.messages": 5_000,
        "queued.max.messages.kbytes": 32_768,
        "on_commit": on_commit,
    }
    if settings.kafka_instance:
        config["group.instance.id"] = settings.kafka_instance
    return Consumer(config, logger=log)


def _wait_for_topics(settings: Settings, wanted: list[str], over: threading.Event) -> None:
    """Return when Kafka answers and has the topics; new ones take a moment to be known to all.

    Raises:
        SettingsError: it answers, and has them not.
    """
    said, missed = "", 0
    while not over.is_set():
        try:
            check_topics(settings, wanted)
            return
        except UnavailableError as error:
            if str(error) != said:
                log.warning("%s", error)
            said = str(error)
        except SettingsError:
            missed += 1
            if missed == MOST_MISSES:
                raise
        over.wait(ASK_AGAIN_S)


def _show_metrics(settings: Settings) -> None:
    port = settings.stream_metrics_port
    if not port:
        return
    try:
        start_http_server(port, addr=settings.host)
    except OSError as error:
        raise SettingsError(
            f"Metrics cannot be shown at {settings.host}:{port}: {error.strerror}.",
            remedy="Give each worker of a machine its own FRAUD_STREAM_METRICS_PORT, or 0.",
        ) from None
    log.info("Metrics are at http://%s:%d/metrics", settings.host, port)
