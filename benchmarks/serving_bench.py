"""Slices of load on several servers, in turn, and the figures of all of them."""

import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from benchmarks.serving_load import figures, load, write_bodies
from benchmarks.serving_plan import Figures, Plan
from benchmarks.serving_servers import Server
from benchmarks.serving_world import batches_of
from fraud.domain.errors import FraudError

CONCURRENCIES = (1, 16, 64)
CAPACITY_AT = 64
ROUNDS = 3
BATCH_SIZE, BATCH_CONNECTIONS = 500, 4


@dataclass(frozen=True)
class Extent:
    """How much load there is.

    Attributes:
        requests: most requests of one slice.
        slice_s: most seconds of one slice; a whole number, as wrk has it.
        rounds: slices of each kind and service.
    """

    requests: int
    slice_s: float = 3.0
    rounds: int = ROUNDS


class Bench:
    """Loads servers with requests.

    Args:
        requests: bodies for `/predict`; each is sent to ours once.
        folder: for files of the load tools; best in memory, see `memory_folder`.
        extent: how much.
        seed: of the arrivals of open-loop load, which differ from slice to slice.
    """

    def __init__(self, requests: Iterator[str], folder: Path, extent: Extent, seed: int) -> None:
        self._stream = requests
        self._folder, self._extent = folder, extent
        self._seeds = itertools.count(seed)
        self._unsent: list[str] = []

    def slice(self, server: Server, connections: int, rate: float = 0.0) -> Figures:
        """A slice of single requests; what a slice did not send is left for the next one."""
        due = round(rate * self._extent.slice_s * 1.1) + 100
        most = min(due, self._extent.requests) if rate else self._extent.requests
        ahead, later = self._take(most)
        found = self._load(server, "/predict", ahead, connections, rate)
        sent = found.answered + found.errors + connections
        self._unsent = (ahead[sent:] if server.name == "ours" else ahead) + later
        return found

    def batch_slice(self, server: Server) -> Figures:
        """A slice of large batches."""
        bodies, later = self._take(self._extent.requests * 2)
        ahead = list(batches_of(iter(bodies), BATCH_SIZE))
        found = self._load(server, "/batch-predict", ahead, BATCH_CONNECTIONS, 0.0)
        sent = (found.answered + found.errors + BATCH_CONNECTIONS) * BATCH_SIZE
        self._unsent = bodies[sent:] + later
        return found

    def again(self, loaded: Sequence[Server]) -> dict[str, dict[str, Any]]:
        """The figures at `CAPACITY_AT` connections once more, by service."""
        runs: dict[str, list[Figures]] = {server.name: [] for server in loaded}
        for server in loaded:
            self.slice(server, 16)
        for _, server in itertools.product(range(self._extent.rounds), loaded):
            runs[server.name].append(self.slice(server, CAPACITY_AT))
        return {name: figures(slices) for name, slices in runs.items()}

    def _take(self, count: int) -> tuple[list[str], list[str]]:
        """The next requests, at most so many, and others that were ready too."""
        missing = max(0, count - len(self._unsent))
        bodies = [*self._unsent, *itertools.islice(self._stream, missing)]
        if not bodies:
            raise FraudError(
                "The world has no requests left to send.", remedy="Make its FUTURE_DAYS more."
            )
        return bodies[:count], bodies[count:]

    def _load(
        self, server: Server, path: str, ahead: Sequence[str], connections: int, rate: float
    ) -> Figures:
        bodies = write_bodies(self._folder / "bodies.jsonl", ahead)
        plan = Plan(
            port=server.port,
            path=path,
            bodies=bodies,
            token=server.token,
            connections=connections,
            seconds=self._extent.slice_s,
            rate=rate,
            seed=next(self._seeds),
        )
        found = load(plan, self._folder)
        begun = found.answered + found.errors + connections
        return replace(found, ran_out=begun >= len(ahead))


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder in memory, where the system has such.

    Megabytes of requests on their way to the disk would hold up the commits that are measured.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def measure(
    bench: Bench, loaded: Sequence[Server], extent: Extent, progress: Progress
) -> dict[str, dict[str, Any]]:
    """All figures, by service, then by kind of load.

    Open-loop load follows the full load that says how much half of the capacity is, at once and
    every time: what the machine gives differs from one minute to the next. There are twice as many
    slices of both, for a p99 that one disturbance does not make.
    """
    rounds = extent.rounds
    singles = [connections for connections in CONCURRENCIES if connections != CAPACITY_AT]
    slices = len(loaded) * rounds * (len(singles) + 4) + rounds
    task = progress.add_task("warming up", total=slices)
    runs: dict[str, dict[str, list[Figures]]] = {server.name: {} for server in loaded}

    def keep(server: Server, kind: str, found: Figures) -> Figures:
        mine = runs[server.name].setdefault(kind, [])
        mine.append(found)
        progress.update(task, description=f"{server.name} {kind}, {len(mine)}", advance=1)
        progress.log(f"{server.name} {kind}, {len(mine)}: {json.dumps(figures([found]))}")
        return found

    for server in loaded:
        bench.slice(server, 16)
    for connections, _, server in itertools.product(singles, range(rounds), loaded):
        keep(server, f"c{connections}", bench.slice(server, connections))
    for _, server in itertools.product(range(2 * rounds), loaded):
        full = keep(server, f"c{CAPACITY_AT}", bench.slice(server, CAPACITY_AT))
        half = max(full.answered / full.seconds / 2.0, 1.0)
        keep(server, "open", bench.slice(server, 0, half))
    for _, server in itertools.product(range(rounds), loaded):
        if server.name == "ours":
            keep(server, "batch", bench.batch_slice(server))
    return {
        name: {kind: figures(slices) for kind, slices in kinds.items()}
        for name, kinds in runs.items()
    }
