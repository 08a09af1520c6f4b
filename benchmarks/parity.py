"""A proof that what was served is what training sees: stream, then rebuild, then compare.

    make parity [N=events] [SEED=any] [OUT=figures.json]

Simulated card payments go through the online path on a real PostgreSQL: two scorers in processes
of their own, whose clocks differ, on the same entities; 5 % of the events come late, 2 % twice,
1 % again with another body, and labels are told as they are reported. Afterwards every feature
is rebuilt offline from what the ledger logged, and compared with the values stored beside each
decision, bit by bit; and so are the entity states. Nothing may differ, and nothing may be lost.
"""

import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.ledger import temporary_ledger
from benchmarks.parity_check import (
    Differences,
    answer_differences,
    feature_differences,
    read_log,
    state_differences,
)
from benchmarks.parity_scorers import SCORERS, score_stream
from benchmarks.parity_stream import a_stream
from benchmarks.report import Out, benchmark, publish
from fraud.ledger.pool import ConnectionPool


def run(url: str, events: int, seed: int, console: Console) -> dict[str, Any]:
    """Stream into the empty ledger at `url`, rebuild and compare; the report."""
    started = time.perf_counter()
    console.print(f"simulating {events:,} events, seed {seed} ...")
    stream = a_stream(events, seed)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    streaming = time.perf_counter()
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("micro-batches", total=len(stream.batches))
        answers = score_stream(
            url, stream.batches, lambda done: progress.update(task, completed=done)
        )
    stream_s = time.perf_counter() - streaming
    console.print("rebuilding from the log ...")
    pool = ConnectionPool(url, size=1)
    log = read_log(pool)
    pool.close()
    differences = {
        "unequal": feature_differences(log),
        "states_unequal": state_differences(log),
        "answers_wrong": answer_differences(answers),
        "lost": _lost(
            {
                "events": (stream.events, len(log.events)),
                "decisions": (stream.events, len(log.values)),
                "answers": (stream.events + stream.duplicates, len(answers.decided)),
                "refusals": (stream.corrections, len(answers.refused)),
                "labels": (stream.labels, log.all_labels),
            }
        ),
    }
    for each in differences.values():
        for name in each.named:
            console.print(f"differs: {name}", style="red", highlight=False, soft_wrap=True)
    return {
        "benchmark": "parity",
        "compared": log.values.size,
        **{name: each.count for name, each in differences.items()},
        "events": len(log.events),
        "features": log.values.shape[1],
        "states": len(log.states),
        "late": stream.late,
        "duplicates": stream.duplicates,
        "corrections_refused": len(answers.refused),
        "labels": log.all_labels,
        "labels_acted": answers.labels_acted,
        "scorers": SCORERS,
        "micro_batches": len(stream.batches),
        "seed": seed,
        "stream_s": round(stream_s, 1),
        "events_per_s": round(events / stream_s),
        "seconds": round(time.perf_counter() - started, 1),
    }


def is_equal(report: dict[str, Any]) -> bool:
    """Whether a report says that nothing differs and nothing was lost."""
    wrong = sum(report[name] for name in ("unequal", "states_unequal", "answers_wrong", "lost"))
    return bool(report["compared"]) and not wrong


def _lost(counts: dict[str, tuple[int, int]]) -> Differences:
    """Numbers that are not as planned."""
    wrong = {name: pair for name, pair in counts.items() if pair[0] != pair[1]}
    named = [
        f"{wanted:,} {name} wanted, {found:,} found" for name, (wanted, found) in wrong.items()
    ]
    return Differences(sum(abs(wanted - found) for wanted, found in wrong.values()), named)


def main(
    n: Annotated[int, typer.Option(envvar="N", min=100, help="Different events.")] = 100_000,
    seed: Annotated[int, typer.Option(envvar="SEED", min=0, help="Of the stream.")] = 7,
    out: Out = None,
) -> None:
    """Stream, rebuild and compare; one JSON line comes last."""
    with benchmark("parity") as console, temporary_ledger() as url:
        report = run(url, n, seed, console)
    publish(report, out)
    if not is_equal(report):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
