"""The three services, each a process of its own that ends with the benchmark."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.memory import peak_mb
from fraud.domain.errors import FraudError
from fraud.run.bento import compile_loops, source_root
from fraud.run.places import Places
from fraud.run.programs import bentoml_environment, tool
from fraud.settings import Settings

OURS = "bentos.fraud_detector.service:FraudDetector"
ECHO = "benchmarks.serving_echo:Echo"
TUTORIAL = "benchmarks.serving_tutorial:create_app"

START_S, STOP_S = 60.0, 10.0


@dataclass(frozen=True)
class Server:
    """A running service.

    Attributes:
        name: ours, echo or tutorial.
        pid: of the process that was started.
        port: on 127.0.0.1.
        token: that it asks for; empty if none.
    """

    name: str
    pid: int
    port: int
    token: str = ""

    def largest_worker_mb(self) -> float:
        """Peak resident memory of its largest process, in MiB."""
        return round(max(peak_mb(pid) for pid in family(self.pid)), 1)


@contextmanager
def ours(settings: Settings, token: str) -> Iterator[Server]:
    """Our service, with all it does."""
    places = Places(settings.run_dir)
    places.make()
    environment = {
        "FRAUD_RUN_DIR": str(settings.run_dir),
        "FRAUD_BUNDLE_DIR": str(settings.bundle_dir),
        "DATABASE_URL": "",
        "FRAUD_RATE_PER_CLIENT": "1000000",  # one token stands for every client here
        "FRAUD_BURST_PER_CLIENT": "1000000",
        **bentoml_environment(settings, places),
    }
    log = places.log("compile")
    compile_loops(source_root(), {**os.environ, **environment}, log)  # as `fraud bento build` does
    with _served("ours", _bentoml(OURS), settings.run_dir, environment, token) as server:
        yield server


@contextmanager
def echo(settings: Settings) -> Iterator[Server]:
    """BentoML with nothing behind it, told to do as little as ours is."""
    environment = bentoml_environment(settings, Places(settings.run_dir))
    overrides = environment["BENTOML_CONFIG_OVERRIDES"].replace("fraud_detector", "echo")
    environment["BENTOML_CONFIG_OVERRIDES"] = overrides
    with _served("echo", _bentoml(ECHO), settings.run_dir, environment) as server:
        yield server


@contextmanager
def tutorial(settings: Settings, folder: Path) -> Iterator[Server]:
    """FastAPI and XGBoost; its model lies in `folder`."""
    command = [sys.executable, "-m", "uvicorn", TUTORIAL, "--factory", "--no-access-log"]
    command += ["--log-level", "warning", "--workers", str(settings.workers)]
    with _served("tutorial", command, folder, {}) as server:
        yield server


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for each in found:
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _bentoml(service: str) -> list[str]:
    return [tool("bentoml"), "serve", service, "--host", "127.0.0.1"]


@contextmanager
def _served(
    name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], token: str = ""
) -> Iterator[Server]:
    port = free_port()
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us; we end it
        )
    try:
        _wait_until_ready(process, port, log)
        yield Server(name, process.pid, port, token)
    finally:
        _end(process)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.HTTPError):
            # Whoever has no such page says so, and is up.
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code in (200, 404):
                return
        time.sleep(0.1)
    said = log.read_text(errors="replace").strip().splitlines()
    raise FraudError(f"{log.stem} did not start: {said[-1] if said else 'it said nothing'}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and everything it started, by pid."""
    everyone = family(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    for pid in everyone:
        if pid != process.pid or process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()
