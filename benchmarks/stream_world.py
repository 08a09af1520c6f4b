"""Kafka, workers and the relay as processes that are measured, killed and started again."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from benchmarks.serving_servers import family, free_port
from bentos.stream.kafka_client import make_topics
from fraud.domain.errors import FraudError
from fraud.ledger.outbox import RESULTS_TOPIC
from fraud.run.kafka.broker import Broker
from fraud.run.kafka.fetching import classpath
from fraud.run.programs import absolute_paths, tool
from fraud.settings import Settings

PARTITIONS = 6
WAIT_S = 180.0
QUIET = {"log_level": 2}
"""Of librdkafka: a broker that goes away is no news here."""


def new_broker(folder: Path) -> Broker:
    """A broker that is not started yet; its jars are fetched where they are missing."""
    jars = classpath(Path(sys.prefix) / "kafka")
    return Broker(folder / "kafka", jars, free_port(), free_port())


def make_our_topics(settings: Settings) -> None:
    """Transactions, dead letters and results."""
    names = (settings.kafka_topics, settings.kafka_dlq_topic, RESULTS_TOPIC)
    make_topics({"bootstrap.servers": settings.kafka_servers}, names, partitions=PARTITIONS)


class Program:
    """`fraud stream` or `fraud relay`, as it is started in earnest.

    Args:
        command: stream or relay.
        settings: the configuration, with the address of the ledger.
        name: of this one, among those of its command.
        more: further variables of its environment.
    """

    def __init__(
        self, command: str, settings: Settings, name: str, more: Mapping[str, str] | None = None
    ) -> None:
        self.name = f"{command} {name}"
        self._command = [tool("fraud"), command]
        self._log = settings.run_dir / f"{command}-{name}.log"
        self._environment = {
            **os.environ,
            **absolute_paths(settings),
            "DATABASE_URL": settings.database_url or "",
            "FRAUD_KAFKA_SERVERS": settings.kafka_servers,
            "FRAUD_KAFKA_INSTANCE": name,
            "FRAUD_STREAM_METRICS_PORT": "0",
            "FRAUD_RELAY_METRICS_PORT": str(free_port()),
            "FRAUD_MONGODB_URL": settings.mongodb_url,
            "FRAUD_RELAY_SINKS": settings.relay_sinks,
            **(more or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it says nothing when it is ready."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us; we end it
            )

    def check(self) -> None:
        """Return if it runs.

        Raises:
            FraudError: it ended by itself.
        """
        if self._process is not None and self._process.poll() is not None:
            raise FraudError(f"{self.name} ended by itself.", remedy=self.tail())

    def tail(self) -> str:
        """The end of its log."""
        lines = self._log.read_text(errors="replace").splitlines()[-8:]
        return "\n".join([f"{self.name}:", *lines])

    @property
    def pid(self) -> int:
        """Of its process; 0 where it does not run."""
        return 0 if self._process is None else self._process.pid

    def kill(self) -> None:
        """Kill -9."""
        self._end(signal.SIGKILL)

    def end(self) -> None:
        """SIGTERM, as any process manager would."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Results:
    """Reads `fraud_results` from its begin, in a thread; any thread may look.

    Attributes:
        decisions: how often each decision was told, by transaction and decision.
        heard_s: when a transaction's result was first heard, seconds of the wall clock.
    """

    def __init__(self, servers: str) -> None:
        self.decisions: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.heard_s: dict[str, float] = {}
        self._servers = servers
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Results":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        consumer = Consumer(
            {"bootstrap.servers": self._servers, "group.id": "results-reader", **QUIET}
        )
        consumer.assign([TopicPartition(RESULTS_TOPIC, n, 0) for n in range(PARTITIONS)])
        while not self._over.is_set():
            for message in consumer.consume(1000, 0.1):
                if message.error() is None:
                    result = orjson.loads(message.value() or b"{}")
                    name = result["transaction_id"]
                    self.decisions[name][result["decision_id"]] += 1
                    self.heard_s.setdefault(name, time.time())
        consumer.close()


def cpu_s(pid: int) -> float:
    """Processor time of a process, of its children, and of those that have ended; seconds."""
    ticks = 0
    for each in family(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / os.sysconf("SC_CLK_TCK")


def producer(settings: Settings) -> Producer:
    """One that loses nothing and keeps the order of keys."""
    return Producer(
        {
            "bootstrap.servers": settings.kafka_servers,
            "enable.idempotence": True,
            "linger.ms": 5,
            "queue.buffering.max.messages": 500_000,
            **QUIET,
        }
    )


class Offsets:
    """How far the group and a topic are.

    Args:
        settings: names servers and group.
        topic: which one.
    """

    def __init__(self, settings: Settings, topic: str) -> None:
        self._partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.kafka_servers,
                "group.id": settings.kafka_group,
                **QUIET,
            }
        )

    def written(self) -> int:
        """Messages of the topic."""
        marks = (self._consumer.get_watermark_offsets(each, 30) for each in self._partitions)
        return sum(each[1] for each in marks if each is not None)

    def lag(self) -> int:
        """Messages that the group is not done with."""
        try:
            done = self._consumer.committed(self._partitions, timeout=30)
        except KafkaException:  # a coordinator that has just come back
            return self.written()
        return self.written() - sum(max(each.offset, 0) for each in done)

    def close(self) -> None:
        """Let go."""
        self._consumer.close()


def wait(
    condition: Callable[[], bool], what: str, *programs: Program, seconds: float = WAIT_S
) -> None:
    """Wait for something that has to happen while programs run.

    Raises:
        FraudError: it did not, in time, or a program ended.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        for each in programs:
            each.check()
        if time.monotonic() > deadline:
            tails = "\n".join(each.tail() for each in programs)
            raise FraudError(f"Waited {seconds:g} s for {what}, in vain.", remedy=tails)
        time.sleep(0.05)
