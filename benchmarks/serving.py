"""Our service under load, beside what its stack could do at most and what tutorials do.

    make bench-serving [N=requests] [ROWS=0] [SEED=7] [OUT=figures.json]

Three services run on this machine at once, with as many workers each: *ours*, with tokens,
features, a trained model and the ledger's commit (fsync on); *echo*, BentoML with our request
schema and nothing behind it; *tutorial*, FastAPI and XGBoost on a one-row DataFrame. They are
loaded in turn, a few seconds each, round after round, so that whatever else the machine does
meets all three. Open-loop load is half of what the same service answered in the slice before. Only
the ratios between them are worth comparing across machines. With ROWS, the ledger is then filled
with so many transactions and decisions, and ours and echo are loaded once more: `growth` says how
ours did against echo then, as a share of how it did before.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import serving_servers as servers
from benchmarks.report import Out, benchmark, publish
from benchmarks.serving_bench import BATCH_SIZE, Bench, Extent, measure, memory_folder
from benchmarks.serving_growth import grow
from benchmarks.serving_load import OWN_CLIENT, closed_loop_tool
from benchmarks.serving_servers import Server
from benchmarks.serving_verdict import compared, ratios, verdicts
from benchmarks.serving_world import World
from fraud.domain.errors import FraudError
from fraud.ledger import embedded
from fraud.ledger.embedded import ledger_url
from fraud.run.smoke import development_token
from fraud.settings import Settings, load_settings


def run(
    requests: int, seed: int, console: Console, extent: Extent | None = None, rows: int = 0
) -> dict[str, Any]:
    """Build the world, serve it three times, load all three; the report."""
    started = time.perf_counter()
    extent = extent or Extent(requests)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with ExitStack() as stack:
        settings = stack.enter_context(temporary_settings())
        progress = stack.enter_context(Progress(*columns, console=console))
        world = World(settings, seed)
        progress.log(f"{world.simulate():,} simulated transactions")
        progress.log(f"model {world.deploy()}")
        progress.log(f"{world.materialize():,} entity states")
        world.train_tutorial(settings.run_dir)
        loaded = [
            stack.enter_context(servers.ours(settings, development_token(settings))),
            stack.enter_context(servers.echo(settings)),
            stack.enter_context(servers.tutorial(settings, settings.run_dir)),
        ]
        bench = Bench(world.requests(), stack.enter_context(memory_folder()), extent, seed)
        for server in loaded:
            check(server, next(world.requests()))
        report = measure(bench, loaded, extent, progress)
        decided, degraded = world.decisions()
        growth = {}
        if rows:
            for count in grow(ledger_url(settings), rows):
                progress.log(f"{count:,} transactions in the ledger")
            growth = {"growth": compared(report, bench.again(loaded[:2]), rows)}
        return {
            "benchmark": "serving",
            "cpus": os.cpu_count(),
            "workers": settings.workers,
            "load_tool": {"closed": closed_loop_tool(), "open": OWN_CLIENT},
            **report,
            **ratios(report),
            **growth,
            "batch_tx_s": round(report["ours"]["batch"]["req_s"] * BATCH_SIZE),
            "rss_largest_worker_mb": loaded[0].largest_worker_mb(),
            "errors": sum(each["errors"] for kinds in report.values() for each in kinds.values()),
            "ledger_decisions": decided,
            "degraded_decisions": degraded,
            "seconds": round(time.perf_counter() - started),
        }


def check(server: Server, body: str) -> None:
    """Return if a server answers a transaction as it shall.

    Raises:
        FraudError: it does not; its figures would be worth nothing.
    """
    answer = httpx.post(
        f"http://127.0.0.1:{server.port}/predict",
        content=body,
        headers={"content-type": "application/json"}
        | ({"authorization": f"Bearer {server.token}"} if server.token else {}),
        timeout=10,
    )
    if answer.status_code != 200 or answer.json().get("degraded"):
        raise FraudError(f"{server.name} does not answer as it shall: {answer.text[:300]}")


@contextmanager
def temporary_settings() -> Iterator[Settings]:
    """A run folder of its own with a short path, and its embedded PostgreSQL; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="fraud-"))
    try:  # nothing that stands in the environment may be touched, or measured
        yield load_settings(
            run_dir=folder,
            database_url=None,
            lake_url=str(folder / "lake"),
            bundle_dir=folder / "bundles",
        )
    finally:
        embedded.stop(folder, at_once=True)
        shutil.rmtree(folder, ignore_errors=True)


def main(
    n: Annotated[int, typer.Option(envvar="N", min=500, help="Most requests of a slice.")] = 48_000,
    rows: Annotated[
        int, typer.Option(envvar="ROWS", min=0, help="Transactions to fill the ledger with.")
    ] = 0,
    seed: Annotated[int, typer.Option(envvar="SEED", help="Of the simulated world.")] = 7,
    out: Out = None,
) -> None:
    """Load three services in turn; one JSON line comes last."""
    with benchmark("bench-serving") as console:
        report = run(n, seed, console, rows=rows)
    publish({**report, "goals": verdicts(report)}, out)


if __name__ == "__main__":
    typer.run(main)
