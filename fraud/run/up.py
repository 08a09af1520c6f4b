"""Bringing the platform up, keeping it there, and taking it down in order."""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Self

from rich.console import Console

from fraud.domain.errors import FraudError, SettingsError
from fraud.ledger.cluster import Cluster
from fraud.ledger.engine import ensure_database
from fraud.ledger.schema import migrate
from fraud.run import bento, databases, programs
from fraud.run.child import Child
from fraud.run.places import Places
from fraud.run.ports import check_free
from fraud.run.programs import DAGSTER_CODE, DAGSTER_DAEMON, DAGSTER_WEB, DETECTOR, MLFLOW, POSTGRES
from fraud.run.progress import POLL_S, Background, Progress
from fraud.run.readiness import answers, has_loaded
from fraud.run.smoke import score_one, show
from fraud.run.supervisor import StartFailure, Supervisor, tail
from fraud.settings import Settings

FIRST_FRAUD_TYPE = "credit_card"
READY_TIMEOUT_S = 180.0
MODEL_TIMEOUT_S = 10.0


class Stopped(BaseException):
    """Somebody asked us to end: Ctrl-C or SIGTERM. Not an error, so not an Exception."""


def run(settings: Settings, console: Console, *, exit_after_smoke: bool = False) -> None:
    """Start everything, print how to use it, and stay until told to end.

    Args:
        settings: the configuration.
        console: where progress and the summary are printed.
        exit_after_smoke: end after the first scored transaction; for tests.

    Raises:
        FraudError: a part did not start; everything that did is stopped again.
    """
    places = Places(settings.run_dir, settings.bento_dir)
    places.make()
    with _alone(places), _Ears() as ears:
        platform = _Platform(settings, places, console, is_strict=exit_after_smoke)
        try:
            platform.start()
            if not exit_after_smoke:
                platform.stay()
        except Stopped:
            console.print("\nStopping ...")
        finally:
            ears.close()
            platform.stop()
    console.print("Everything has stopped.")


class _Platform:
    """The programs of one run folder, from start to stop."""

    def __init__(
        self, settings: Settings, places: Places, console: Console, *, is_strict: bool
    ) -> None:
        self._is_strict = is_strict
        self._settings = settings
        self._places = places
        self._console = console
        self._progress = Progress(console)
        self._background = Background(self._progress)
        self._children: list[Child] = []
        check_free(
            settings.host,
            {
                "FRAUD_API_PORT": settings.api_port,
                "FRAUD_DAGSTER_PORT": settings.dagster_port,
                "FRAUD_MLFLOW_PORT": settings.mlflow_port,
            },
        )
        self._supervisor = Supervisor(places, programs.programs(settings, places))
        self._cluster = Cluster(settings.run_dir) if settings.database_url is None else None
        url = self._cluster.url("fraud") if self._cluster else settings.database_url
        assert url is not None
        self._databases = databases.planned(url, is_ours=self._cluster is not None)
        self._environment = programs.environment(settings, places, self._databases)

    def start(self) -> None:
        """Start everything, each part as soon as what it needs is there."""
        begin, urls = self._background.begin, programs.addresses(self._settings)
        self._start_databases()
        built = begin("Bento", lambda: bento.build(self._settings))
        begin("MLflow", lambda: self._serve(MLFLOW, f"{urls['mlflow']}/health"))
        tables = begin("Dagster's tables", self._make_dagster_tables)
        with self._progress.step("Ledger's tables"):
            migrate(self._databases.fraud)
        self._background.wait(tables)
        begin("Dagster", self._start_dagster)
        if not databases.has_champion(self._databases.fraud, FIRST_FRAUD_TYPE):
            self._train()  # its data steps leave MLflow the time to start
        self._background.wait(built)
        begin("Detector", self._start_detector)
        self._background.wait()
        with self._progress.step("First transaction"):
            reply = score_one(self._settings)
        if reply["degraded"] and self._is_strict:
            raise FraudError(
                "No model answered the first transaction.", remedy=f"See {urls['api']}/health."
            )
        show(self._console, self._settings, reply, time.monotonic() - self._progress.started_s)

    def stay(self) -> None:
        """Return only by an exception: Stopped, or supervisord's unexpected end."""
        while self._supervisor.is_running():
            time.sleep(POLL_S)
        log = self._places.log("supervisord")
        raise FraudError(f"supervisord ended:\n{tail(log)}", remedy=f"See {log}.")

    def stop(self) -> None:
        """Stop whatever was started."""
        with self._console.status("Stopping ..."):
            for child in self._children:
                child.stop()
            self._supervisor.stop()
            self._background.abandon()

    def _start_databases(self) -> None:
        if self._cluster is None:
            with self._progress.step("PostgreSQL (yours)"):
                databases.reach(self._databases.fraud)
                databases.ensure(self._databases)
                self._supervisor.start(self._environment)
            return
        with self._progress.step("PostgreSQL"):
            self._supervisor.start(self._environment)
            self._supervisor.launch(POSTGRES)
            self._until(POSTGRES, self._cluster.is_answering)
            ensure_database(self._cluster.url("postgres"), "fraud")
            databases.ensure(self._databases)

    def _make_dagster_tables(self) -> None:
        """Make or upgrade them, which takes seconds, once per version of Dagster."""
        programs.write_dagster_files(self._places)
        marker, installed = self._places.dagster_tables, version("dagster")
        if marker.exists() and marker.read_text() == installed:
            return
        log = self._places.log("dagster-migrate")
        child = self._begin([programs.tool("dagster"), "instance", "migrate"], log)
        if child.wait() != 0:
            raise StartFailure(
                f"Dagster's tables could not be made:\n{tail(log)}", remedy=f"See {log}."
            )
        marker.write_text(installed)

    def _start_dagster(self) -> None:
        socket = self._places.socket(DAGSTER_CODE)
        socket.unlink(missing_ok=True)  # of a process that was killed
        self._supervisor.launch(DAGSTER_CODE)
        self._until(DAGSTER_CODE, socket.exists)
        self._supervisor.launch(DAGSTER_DAEMON)
        url = programs.addresses(self._settings)["dagster"]
        self._serve(DAGSTER_WEB, f"{url}/server_info")
        self._supervisor.check(DAGSTER_DAEMON)
        if not has_loaded(url):
            log = self._places.log(DAGSTER_CODE)
            raise StartFailure(
                f"Dagster cannot load {programs.DEFINITIONS}:\n{tail(log)}", remedy=f"See {log}."
            )

    def _start_detector(self) -> None:
        """Start it and wait for a model; without one it still answers, by the rules alone."""
        url = programs.addresses(self._settings)["api"]
        self._serve(DETECTOR, f"{url}/livez")
        deadline = time.monotonic() + MODEL_TIMEOUT_S
        while not answers(f"{url}/readyz") and time.monotonic() < deadline:
            self._supervisor.check(DETECTOR)
            time.sleep(POLL_S)

    def _train(self) -> None:
        self._console.print("No model was promoted yet: the first pipeline run begins.")
        started_s = time.monotonic()
        child = self._begin(
            [programs.tool("fraud"), "pipeline", "run", "--fraud-type", FIRST_FRAUD_TYPE]
        )
        code = child.wait(self._background.raise_failure)
        if code != 0:
            raise FraudError(
                f"The first pipeline run failed with exit code {code}.",
                remedy="Its output above says why.",
            )
        self._progress.done("First pipeline run", time.monotonic() - started_s)

    def _begin(self, command: list[str], log: Path | None = None) -> Child:
        child = Child(command, self._environment, self._places.run_dir, log)
        self._children.append(child)
        return child

    def _serve(self, name: str, url: str) -> None:
        self._supervisor.launch(name)
        self._until(name, lambda: answers(url))

    def _until(self, name: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not is_ready():
            self._supervisor.check(name)
            if time.monotonic() > deadline:
                log = self._places.log(name)
                raise StartFailure(
                    f"{name} was not ready after {READY_TIMEOUT_S:.0f} s:\n{tail(log)}",
                    remedy=f"See {log}.",
                )
            time.sleep(POLL_S)


@contextmanager
def _alone(places: Places) -> Iterator[None]:
    """Hold the right to run the platform of this folder.

    Raises:
        SettingsError: another process holds it.
    """
    with places.lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise SettingsError(
                f"The platform of {places.run_dir} runs already, as process {lock.read()}.",
                remedy="Stop that one with Ctrl-C, or set FRAUD_RUN_DIR to another folder.",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


class _Ears:
    """Turns the first SIGINT or SIGTERM into Stopped; once closed, hears no more of them."""

    def __init__(self) -> None:
        self._is_closed = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        self._before = {
            each: signal.signal(each, self._hear) for each in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]

    def close(self) -> None:
        """Let stopping be undisturbed."""
        self._is_closed = True

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        if not self._is_closed:
            self._is_closed = True
            raise Stopped
