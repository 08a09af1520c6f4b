"""How long it takes to put months of history into the online state.

    make bench-materialize DATA=transactions.parquet [OUT=figures.json]

All events and labels of the file are replayed, and the states of all entities written to a real
PostgreSQL, twice: into an empty table, and over what is there. Both must leave the same bytes.
"""

import hashlib
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.handbook import History, read_history
from benchmarks.ledger import temporary_ledger
from benchmarks.memory import peak_mb
from benchmarks.report import Out, benchmark, publish
from feature_store.materialize import MaterializeReport, materialize
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD

GOAL_S = 60.0


def run(history: History, pool: ConnectionPool, console: Console) -> dict[str, object]:
    """Materialise the history twice; the report."""
    materialize(CREDIT_CARD, history.events.head(1000), history.labels, pool)  # loads the kernels
    with pool.transaction() as cursor:
        cursor.execute("TRUNCATE entity_state")
    first, seconds = _timed(history, pool, console)
    digest = _digest(pool)
    _, again_s = _timed(history, pool, console)
    return {
        "benchmark": "materialize",
        "rows": first.events,
        "labels_acting": first.labels,
        "entities": first.entities,
        "state_mb": round(first.state_bytes / 2**20, 1),
        "seconds": round(seconds, 1),
        "again_s": round(again_s, 1),
        "rows_per_s": round(first.events / seconds),
        "same_bytes_again": digest == _digest(pool),
        "states_sha256": digest,
        "peak_rss_mb": round(peak_mb()),
        "goals": {"seconds": seconds <= GOAL_S},
    }


def _timed(
    history: History, pool: ConnectionPool, console: Console
) -> tuple[MaterializeReport, float]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("kinds of entities", total=None)
        started = time.perf_counter()
        report = materialize(
            CREDIT_CARD,
            history.events,
            history.labels,
            pool,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
        return report, time.perf_counter() - started


def _digest(pool: ConnectionPool) -> str:
    """SHA-256 over all states, in key order."""
    digest = hashlib.sha256()
    with pool.transaction() as cursor:
        cursor.execute("SELECT key, state, last_seq FROM entity_state ORDER BY key")
        for key, state, last_seq in cursor:
            digest.update(f"{key} {last_seq} {len(state)} ".encode() + bytes(state))
    return digest.hexdigest()


def main(
    data: Annotated[Path, typer.Option(envvar="DATA", help="The joined Parquet file.")],
    out: Out = None,
) -> None:
    """Materialise a file's history; one JSON line comes last."""
    with benchmark("bench-materialize") as console:
        console.print(f"reading {data} ...")
        history = read_history(data, CREDIT_CARD)
        with temporary_ledger() as url:
            pool = ConnectionPool(url, size=2)
            report = run(history, pool, console)
            pool.close()
    publish(report, out)


if __name__ == "__main__":
    typer.run(main)
