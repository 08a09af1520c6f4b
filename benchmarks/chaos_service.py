"""The service and its ledger as processes that can be killed, stopped, starved and misled."""

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from benchmarks.serving_servers import OURS, family, free_port
from fraud.domain.errors import FraudError
from fraud.ledger.cluster import Cluster
from fraud.ledger.embedded import DATABASE
from fraud.ledger.engine import ensure_database
from fraud.run.places import Places
from fraud.run.programs import absolute_paths, bentoml_environment, tool
from fraud.settings import Settings

WAIT_S = 90.0
DISK_BYTES = 64 * 1024

FAKETIME = ("libfaketimeMT.so.1", "libfaketime.so.1")
FAKETIME_FOLDERS = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")


class Service:
    """The scoring service under BentoML, two workers.

    Args:
        settings: with the address of the ledger.
    """

    def __init__(self, settings: Settings) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._log = settings.run_dir / "service.log"

    def start(self, extra: Mapping[str, str] | None = None) -> None:
        """Start it and return when it can answer."""
        settings, places = self._settings, Places(self._settings.run_dir)
        places.make()
        environment = {
            **os.environ,
            **absolute_paths(settings),
            **bentoml_environment(settings, places),
            "DATABASE_URL": settings.database_url or "",
            **(extra or {}),
        }
        command = [tool("bentoml"), "serve", OURS, "--host", "127.0.0.1", "--port", str(self.port)]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=settings.run_dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us; we end it
            )
        self.wait(lambda: self.get("/readyz") == 200, "the service to start")

    def workers(self) -> list[int]:
        """Its processes that score."""
        return [pid for pid in self._family() if b"worker" in _command_line(pid)]

    def kill_workers(self) -> None:
        """Kill -9 of every process that scores; BentoML starts new ones."""
        _kill(self.workers())

    def kill(self) -> None:
        """Kill -9 of everything."""
        assert self._process is not None
        _kill(self._family())
        self._process.wait()

    def end(self) -> None:
        """SIGTERM, as any process manager would; whatever stays is killed."""
        if self._process is None:
            return
        everyone = self._family()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        _kill(everyone if self._process.poll() is None else everyone[1:])
        self._process.wait()

    def get(self, path: str) -> int:
        """Status of a page, 0 where nobody answers."""
        try:
            return httpx.get(self.url + path, timeout=5).status_code
        except httpx.HTTPError:
            return 0

    def health(self) -> dict[str, Any]:
        """What /health says, nothing where nobody answers."""
        try:
            found: dict[str, Any] = httpx.get(f"{self.url}/health", timeout=5).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return found

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that has to happen.

        Raises:
            FraudError: it did not, in time.
        """
        deadline = time.monotonic() + WAIT_S
        while not condition():
            if time.monotonic() > deadline:
                tail = self._log.read_text(errors="replace").splitlines()[-5:]
                raise FraudError(
                    f"Waited {WAIT_S:g} s for {what}, in vain.", remedy="\n".join(tail)
                )
            time.sleep(0.05)

    def wait_until_reconciled(self) -> None:
        """Wait for the ledger to be back and to hold what the journal held."""
        self.wait(lambda: _is_reconciled(self.health()), "the journal to reach the ledger")

    def _family(self) -> list[int]:
        assert self._process is not None
        return family(self._process.pid)


class Database:
    """The embedded PostgreSQL of a run folder."""

    def __init__(self, run_dir: Path) -> None:
        self._cluster = Cluster(run_dir)

    def start(self) -> str:
        """Start it; returns its address."""
        with self._cluster.starting(), self._cluster.log_path.open("ab") as log:
            self._cluster.start(log.fileno())
        return ensure_database(self._cluster.url("postgres"), DATABASE)

    def stop(self, *, at_once: bool = False) -> None:
        """Stop it; `at_once` is as good as a kill."""
        with self._cluster.starting():
            self._cluster.stop(at_once=at_once)

    @contextmanager
    def stopped(self, *, at_once: bool = False) -> Iterator[None]:
        """Without it, until the block ends."""
        self.stop(at_once=at_once)
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It neither answers nor hangs up."""
        lines = (self._cluster.data_dir / "postmaster.pid").read_text().splitlines()
        everyone = family(int(lines[0]))
        for pid in everyone:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in everyone:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


@contextmanager
def full_disk(folder: Path, workers: Sequence[int]) -> Iterator[str]:
    """A disk with room for a few decisions only, under the journal; says how.

    A tmpfs where we may mount one; else the workers' files may not grow beyond its size
    (RLIMIT_FSIZE), which a write meets as EFBIG instead of ENOSPC.
    """
    folder.mkdir(exist_ok=True)
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if mount and subprocess.run(command, capture_output=True, check=False).returncode == 0:
        try:
            yield "tmpfs"
        finally:
            _unmount(folder)
        return
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in workers}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (DISK_BYTES, hard))
    try:
        yield "RLIMIT_FSIZE"
    finally:
        for pid, limits in before.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def _unmount(folder: Path) -> None:
    """Take a disk away; it is busy while a worker looks what its journal holds."""
    deadline = time.monotonic() + WAIT_S
    while True:
        done = subprocess.run(["umount", str(folder)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise FraudError(
                f"{folder} could not be unmounted: {done.stderr.strip()}.",
                remedy="End what holds files open there, then unmount it.",
            )
        time.sleep(0.1)


def clock_off_by(seconds: int) -> dict[str, str] | None:
    """The environment of a process whose clock is off, if libfaketime is installed."""
    for folder in FAKETIME_FOLDERS:
        for name in FAKETIME:
            for library in Path("/").glob(f"{folder[1:]}/{name}"):
                return {
                    "LD_PRELOAD": str(library),
                    "FAKETIME": f"{seconds:+d}s",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                    "NO_FAKE_STAT": "1",
                }
    return None


def _is_reconciled(health: Mapping[str, Any]) -> bool:
    if not health:
        return False
    journal = health["journal"]
    is_back = health["database"]["status"] == "ok" and journal["breaker"] == "closed"
    return bool(is_back and journal["decisions"] == 0)


def _command_line(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
