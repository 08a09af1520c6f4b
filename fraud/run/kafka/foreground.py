"""The broker of a run folder, in the foreground until Ctrl-C."""

import signal
import socket
from collections.abc import Callable
from contextlib import suppress

from fraud.domain.errors import SettingsError
from fraud.run.kafka.broker import Broker
from fraud.run.kafka.fetching import classpath
from fraud.run.ports import check_free
from fraud.settings import Settings


class _Ended(BaseException):
    """SIGTERM, as an end that unwinds."""


def serve(settings: Settings, say: Callable[[str], None]) -> int:
    """Run a broker where `FRAUD_KAFKA_SERVERS` says; returns its exit code.

    Args:
        settings: the configuration; its data is kept in the run folder.
        say: told when it is ready.

    Raises:
        SettingsError: there is no JDK, or the address cannot be used.
    """
    host, port = _address(settings.kafka_servers)
    check_free(host, {"FRAUD_KAFKA_SERVERS": port})
    folder = settings.run_dir / "kafka"
    broker = Broker(folder, classpath(folder), port, _free_port(host), host=host)

    def end(signum: int, frame: object) -> None:
        raise _Ended

    signal.signal(signal.SIGTERM, end)
    with suppress(_Ended, KeyboardInterrupt):
        try:
            broker.start()
            say(f"Kafka answers at {broker.address}. Its log: {broker.log}")
            return broker.wait()
        finally:
            broker.stop()
    return 0


def _address(servers: str) -> tuple[str, int]:
    host, _, port = servers.partition(",")[0].strip().rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise SettingsError(
            f"FRAUD_KAFKA_SERVERS is wrong: {servers!r} does not begin with host:port.",
            remedy="E.g. FRAUD_KAFKA_SERVERS=127.0.0.1:9092",
        )
    return host, int(port)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
