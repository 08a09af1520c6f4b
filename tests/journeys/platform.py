"""`fraud run` as a person starts it: real servers, a run folder and ports of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from fraud.ledger import embedded
from fraud.ledger.schema import migrate
from fraud.settings import Settings, load_settings
from tests.bentos.fraud_detector.detector import promote
from tests.fraud.run.free_ports import free_port

FRAUD = str(Path(sys.executable).with_name("fraud"))
READY = "Ctrl-C stops everything."
START_LIMIT_S = 900
STOP_LIMIT_S = 60


@dataclass
class Platform:
    """A running platform.

    Attributes:
        settings: what it runs with.
        environment: for further commands of the same platform.
        output: what it printed until it was ready.
        process: the `fraud run` itself.
    """

    settings: Settings
    environment: dict[str, str]
    output: str
    process: subprocess.Popen[bytes]

    def fraud(self, *arguments: str) -> str:
        """The output of another `fraud` command on this platform."""
        done = subprocess.run(
            [FRAUD, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def curl_line(self) -> str:
        """The request it offers to paste."""
        return re.search(r"^curl .*$", self.output, re.MULTILINE)[0]  # type: ignore[index]


def small_world(run_dir: Path, bento_dir: Path) -> dict[str, str]:
    """The environment of a platform with little history and a built Bento, on free ports."""
    kept = {k: v for k, v in os.environ.items() if k != "DATABASE_URL" and k[:6] != "FRAUD_"}
    return kept | {
        "FRAUD_RUN_DIR": str(run_dir),
        "FRAUD_BENTO_DIR": str(bento_dir),
        "FRAUD_API_PORT": str(free_port()),
        "FRAUD_DAGSTER_PORT": str(free_port()),
        "FRAUD_MLFLOW_PORT": str(free_port()),
        "FRAUD_HISTORY_DAYS": "60",
        "FRAUD_SIMULATOR_CUSTOMERS": "400",
        "FRAUD_SIMULATOR_MERCHANTS": "800",
        "FRAUD_WORKERS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def with_a_model(settings: Settings) -> None:
    """Promote a model beforehand, so that `fraud run` has nothing to train."""
    url = embedded.url(settings.run_dir)
    migrate(url)
    promote(settings, url, "model-1")
    embedded.stop(settings.run_dir)


@contextmanager
def running(environment: dict[str, str]) -> Iterator[Platform]:
    """Start the platform, wait until it says it is ready, and stop it as Ctrl-C would."""
    run_dir = Path(environment["FRAUD_RUN_DIR"])
    log = run_dir / "console.txt"
    with log.open("wb") as console:
        process = subprocess.Popen(
            [FRAUD, "run"], env=environment, stdout=console, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while READY not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        settings = load_settings(
            run_dir=run_dir,
            api_port=int(environment["FRAUD_API_PORT"]),
            dagster_port=int(environment["FRAUD_DAGSTER_PORT"]),
            mlflow_port=int(environment["FRAUD_MLFLOW_PORT"]),
        )
        yield Platform(settings, environment, log.read_text(), process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(STOP_LIMIT_S)


def left_running(run_dir: Path) -> list[str]:
    """Command lines of processes that still belong to a run folder."""
    mark = str(run_dir)
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if mark in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found
