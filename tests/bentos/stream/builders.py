"""Decisions to tell, relays that tell them in a thread or a process, and places that hear them."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from bentos.stream.relay import Relay
from bentos.stream.relay_metrics import RelayMetrics
from bentos.stream.sink import Sink
from fraud.ledger.decisions import insert_decisions
from fraud.ledger.pool import transaction
from fraud.run.programs import tool
from tests.fraud.ledger.builders import a_decision, a_record, an_event

PATIENCE_S = 60.0
ROOT = Path(__file__).resolve().parents[3]


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
    """What the condition says, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}"
        time.sleep(0.02)
    return found


def decide(url: str, transaction_ids: Sequence[str], user: str = "user-1") -> None:
    """Commit decisions about transactions of one user, and with them their messages."""
    records = []
    for each in transaction_ids:
        event = an_event(transaction_id=each, fields={**an_event().fields, "user_id": user})
        records.append(a_record(event, a_decision(event), subject=user))
    with transaction(url) as cursor:
        insert_decisions(cursor, records)


def execute(url: str, statement: str, *values: object) -> None:
    with transaction(url) as cursor:
        cursor.execute(statement, values)


@contextmanager
def relaying(
    url: str, *sinks: Sink, stop: threading.Event, retention_s: float = 3600.0
) -> Iterator[RelayMetrics]:
    """A relay in a thread, which has ended at the end of the block."""
    metrics = RelayMetrics(CollectorRegistry())
    relay = Relay(url, sinks, metrics, retention_s, stop)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield metrics
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the relay does not end"


class RelayProcess:
    """`fraud relay` as it is started in earnest, to be killed."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [tool("fraud"), "relay"],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=output,
                stderr=output,
            )

    def check(self) -> bool:
        """True if it runs."""
        assert self._process.poll() is None, self._log.read_text()
        return True

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def end(self) -> int:
        """Its exit code after SIGTERM."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE_S)
