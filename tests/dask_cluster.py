"""A real Dask cluster for tests: a scheduler and workers, each a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import distributed

DASK = str(Path(sys.executable).with_name("dask"))
START_S = 90


@dataclass(frozen=True)
class Cluster:
    """A running scheduler and the folder its processes work in."""

    address: str
    folder: Path

    @contextmanager
    def worker(self, name: str, nthreads: int = 1) -> Iterator[subprocess.Popen[bytes]]:
        """A worker, until the block ends; nobody restarts it where it dies."""
        own = self.folder / name
        own.mkdir()
        arguments = ["worker", self.address, "--name", name, "--nthreads", str(nthreads)]
        with _process(
            [*arguments, "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"], own
        ) as it:
            yield it

    def wait_for(self, workers: int) -> None:
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=START_S)


@contextmanager
def a_scheduler(folder: Path) -> Iterator[Cluster]:
    """A scheduler without workers."""
    file = folder / "scheduler.json"
    arguments = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with _process([*arguments, "--no-show", "--scheduler-file", str(file)], folder) as process:
        deadline = time.monotonic() + START_S
        while not file.exists() or not file.read_text():
            assert process.poll() is None, (folder / "log.txt").read_text()
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.1)
        yield Cluster(json.loads(file.read_text())["address"], folder)


@contextmanager
def a_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A scheduler and workers."""
    with a_scheduler(folder) as cluster, ExitStack() as stack:
        for number in range(workers):
            stack.enter_context(cluster.worker(f"worker-{number}"))
        cluster.wait_for(workers)
        yield cluster


@contextmanager
def _process(arguments: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [DASK, *arguments], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
