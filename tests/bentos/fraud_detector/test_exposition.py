"""Metrics of several processes in one text."""

import os
import subprocess
import sys
from pathlib import Path

WORKER = """
import os, sys
from prometheus_client import CollectorRegistry, Counter, Gauge
from bentos.fraud_detector.metrics import Metrics
metrics = Metrics(CollectorRegistry())
metrics.breaker.set(2)
metrics.queue.set(3)
metrics.starts.inc()
"""

SCRAPED = """
from prometheus_client import CollectorRegistry
from bentos.fraud_detector.metrics import Metrics
metrics = Metrics(CollectorRegistry())
metrics.breaker.set(0)
metrics.queue.set(4)
metrics.starts.inc()
print(metrics.exposition().decode())
"""


def ran(script: str, folder: Path) -> str:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_state_of_a_killed_worker_is_forgotten_and_its_counts_stay(tmp_path: Path) -> None:
    ran(WORKER, tmp_path)  # it ends without a word, as when it is killed
    lines = ran(SCRAPED, tmp_path).splitlines()
    assert "fraud_ledger_breaker_state 0.0" in lines  # and not 2, the dead one's
    assert "fraud_queue_requests 4.0" in lines
    assert "fraud_worker_starts_total 2.0" in lines
