"""A Kafka broker of our own: Apache Kafka in KRaft mode, as a child process.

One broker is a cluster. A second one joins the first, which stays the only controller: it
shows what a failover does to clients, and is no way to run a cluster in earnest.
"""

import os
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from fraud.domain.errors import SettingsError
from fraud.run.kafka.fetching import program
from fraud.run.own_server import START_TIMEOUT_S, OwnServer

HEAP = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC")
"""The broker's memory is the page cache; G1's threads would take the scorer's cores."""


class Broker(OwnServer):
    """One broker; it listens on `host` alone, without encryption or passwords.

    Args:
        folder: its data, its settings and its log; made where missing, kept across restarts.
        classpath: see `fraud.run.kafka.fetching.classpath`.
        port: where clients connect.
        controller_port: where brokers of the cluster connect to the first one's controller.
        host: address it binds to.
        joins: the first broker of the cluster, if this is not it.
        properties: further settings of Kafka; they win.
    """

    def __init__(
        self,
        folder: Path,
        classpath: str,
        port: int,
        controller_port: int,
        *,
        host: str = "127.0.0.1",
        joins: "Broker | None" = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("Kafka", f"{host}:{port}", folder, folder / "kafka.log")
        self.cluster_id: str = joins.cluster_id if joins else _cluster_id(folder)
        self._host, self._port = host, port
        self._controller = joins.controller if joins else f"{host}:{controller_port}"
        self._number = 1 if joins is None else 2
        self._is_controller = joins is None
        self._classpath = classpath
        self._properties = dict(properties or {})

    @property
    def pid(self) -> int:
        """Of its process; 0 where it does not run."""
        return 0 if self._child is None else self._child.pid

    @property
    def controller(self) -> str:
        """Where the cluster's controller listens."""
        return self._controller

    def start(self) -> None:
        """Start it and wait until clients can connect.

        Raises:
            FraudError: it ended instead, or took too long.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "server.properties"
        lines = (f"{name}={value}\n" for name, value in self._settings().items())
        settings.write_text("".join(lines))
        if not (self._folder / "data" / "meta.properties").exists():
            self._format(settings)
        self._launch(self._java("kafka.Kafka", str(settings)), os.environ, self._listens)

    def _settings(self) -> dict[str, str]:
        clients = f"PLAINTEXT://{self.address}"
        settings = {
            "process.roles": "broker",
            "node.id": str(self._number),
            "controller.quorum.voters": f"1@{self._controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": clients,
            "advertised.listeners": clients,
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self._folder / "data"),
            "auto.create.topics.enable": "false",
            "num.partitions": "4",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "4000",  # how long a killed broker's name stays taken
            "num.network.threads": "2",
            "num.io.threads": "4",
        }
        if self._is_controller:
            settings["process.roles"] = "broker,controller"
            settings["listeners"] = f"{clients},CONTROLLER://{self._controller}"
        return settings | self._properties

    def _format(self, settings: Path) -> None:
        command = ("format", "--config", str(settings), "--cluster-id", self.cluster_id)
        ran = subprocess.run(
            self._java("kafka.tools.StorageTool", *command),
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
        if ran.returncode:
            raise SettingsError(
                f"Kafka could not prepare {self._folder}: "
                f"{(ran.stderr or ran.stdout).strip()[:500]}",
                remedy=f"Look at its settings in {settings}.",
            )

    def _java(self, main: str, *arguments: str) -> list[str]:
        options = (*HEAP, "-Dlog4j2.level=WARN", "-cp", self._classpath)
        return [program("java"), *options, main, *arguments]

    def _listens(self) -> bool:
        try:
            socket.create_connection((self._host, self._port), timeout=1.0).close()
        except OSError:
            return False
        return True


def _cluster_id(folder: Path) -> str:
    """The id of the cluster that lives in a folder already, else a new one."""
    kept = folder / "data" / "meta.properties"
    if kept.is_file():
        lines = dict(line.split("=", 1) for line in kept.read_text().splitlines() if "=" in line)
        return lines["cluster.id"]
    # Not all of urlsafe_b64encode's letters: a leading dash would be an option of Kafka's tools.
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
