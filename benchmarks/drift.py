"""Drift reports on a million rows: how long one takes, and whether it names what was planted.

Each seed makes a reference and a current window of 40 columns of the kinds that features have
(heavy tails, counts, shares, codes, flags), moves a few columns of the current one, and reads
the names off the report. The last line is one JSON object; exit code 1 where a report took
longer than `GOAL_S` or named anything else than what was planted.

    python -m benchmarks.drift --rows 1000000 --seeds 20
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from benchmarks.memory import peak_mb
from benchmarks.report import Out, publish

COLUMNS = 40
PLANTED = 5
GOAL_S = 60.0
SHIFT = 0.35
"""How far a planted column moves, in standard deviations; its threshold is 0.1."""


def world(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """Columns of five kinds in turn, shape (rows, COLUMNS)."""
    makers = (
        lambda: rng.lognormal(3, 1, rows),
        lambda: rng.poisson(5, rows).astype(float),
        lambda: rng.beta(1, 20, rows),
        lambda: rng.integers(0, 12, rows).astype(float),
        lambda: (rng.random(rows) < 0.3).astype(float),
    )
    return pd.DataFrame({f"column_{n:02d}": makers[n % len(makers)]() for n in range(COLUMNS)})


def moved(column: pd.Series, rng: np.random.Generator) -> pd.Series:
    """The column, distributed otherwise."""
    values = np.sort(column.unique())
    if len(values) > 20:
        return column + SHIFT * column.std()
    most = rng.random(len(column)) < SHIFT
    return column.where(~most, values[-1])


def one(seed: int, rows: int) -> tuple[float, list[str], list[str]]:
    """Seconds, planted and named columns of one report."""
    from datetime import UTC, datetime, timedelta

    from dashboards.drift.report import Window, write_drift_report

    rng = np.random.default_rng(seed)
    before, after = world(rng, rows), world(rng, rows)
    planted = sorted(str(name) for name in rng.choice(before.columns, PLANTED, replace=False))
    for name in planted:
        after[name] = moved(after[name], rng)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    training, current = (
        Window(name, start, start + timedelta(days=7), frame)
        for name, frame in (("training", before), ("current", after))
    )
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        names = [str(name) for name in before]
        summary = write_drift_report("Bench", training, current, names, Path(folder))
        took_s = time.perf_counter() - began
    return took_s, planted, sorted(summary.drifted)


def main(
    rows: Annotated[int, typer.Option(envvar="N")] = 1_000_000,
    seeds: Annotated[int, typer.Option(envvar="SEEDS")] = 20,
    seed: Annotated[int, typer.Option(envvar="SEED", help="The first of them.")] = 7,
    out: Out = None,
) -> None:
    """Report on so many worlds, and say whether all were right and in time."""
    took: list[float] = []
    wrong: dict[str, dict[str, list[str]]] = {}
    for each in range(seed, seed + seeds):
        seconds, planted, named = one(each, rows)
        took.append(round(seconds, 2))
        missed, invented = sorted({*planted} - {*named}), sorted({*named} - {*planted})
        print(f"seed {each}: {seconds:.1f} s, missed {missed}, invented {invented}")
        if missed or invented:
            wrong[str(each)] = {"missed": missed, "invented": invented}
    report = {
        "benchmark": "drift",
        "rows": rows,
        "columns": COLUMNS,
        "planted": PLANTED,
        "seeds": seeds,
        "seconds_median": sorted(took)[len(took) // 2],
        "seconds_max": max(took),
        "goal_seconds": GOAL_S,
        "wrong": wrong,
        "peak_mb": round(peak_mb()),
    }
    publish(report, out)
    sys.exit(int(bool(wrong) or max(took) > GOAL_S))


if __name__ == "__main__":
    typer.run(main)
