"""Drift of features and score: what came lately against what the model was trained on.

Evidently compares each column's two distributions by a distance that does not grow with the
number of rows: Wasserstein in standard deviations for numbers, Jensen-Shannon for codes and
flags. Both windows are sampled with a fixed seed, and the report says how many rows it saw.
"""

import datetime as dt
import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from fraud.domain.errors import ContractError

SAMPLE_ROWS = 10_000
SEED = 7
THRESHOLD = 0.1
"""Distance from which a column counts as drifted, as Evidently's own defaults have it."""

FEW_VALUES = 20
"""A column with at most so many distinct values is compared value by value."""


@dataclass(frozen=True)
class Window:
    """One side of the comparison.

    Attributes:
        name: what it is, e.g. "training".
        start: first moment of it.
        end: first moment after it.
        rows: the feature columns, and the score where there is one.
    """

    name: str
    start: dt.datetime
    end: dt.datetime
    rows: pd.DataFrame


@dataclass(frozen=True)
class DriftSummary:
    """What a report found.

    Attributes:
        drifted: drifted columns and their distances, the largest first.
        share: drifted columns of all columns compared.
        columns: number of columns compared.
        reference_rows: rows of the reference that were looked at.
        current_rows: rows of the current window that were looked at.
        reference_of: rows the reference sample was drawn from.
        current_of: rows the current sample was drawn from.
        distances: distance of every column.
        html: the report for people.
        json: the same for programs.
    """

    drifted: dict[str, float]
    share: float
    columns: int
    reference_rows: int
    current_rows: int
    reference_of: int
    current_of: int
    distances: dict[str, float]
    html: Path
    json: Path


def write_drift_report(
    title: str,
    reference: Window,
    current: Window,
    columns: Sequence[str],
    folder: Path,
    *,
    most_drifted: float = 0.5,
    sample_rows: int = SAMPLE_ROWS,
    seed: int = SEED,
) -> DriftSummary:
    """Compare two windows and write `drift.html` and `drift.json` into a folder.

    Args:
        title: heading of the report.
        reference: what is normal.
        current: what is looked at.
        columns: which columns to compare; all float64.
        folder: where the files go; made where missing.
        most_drifted: share of drifted columns from which the page speaks of dataset drift.
        sample_rows: most rows of each window that are looked at.
        seed: of the samples.

    Raises:
        ContractError: a window is empty.
    """
    for window in (reference, current):
        if window.rows.empty:
            raise ContractError(
                f"The {window.name} window {window.start:%Y-%m-%d}..{window.end:%Y-%m-%d} "
                "holds no events.",
                remedy="Choose a window with events.",
            )
    before, after = (
        _sample(window.rows[list(columns)], sample_rows, seed) for window in (reference, current)
    )
    snapshot = _compared(before, after, most_drifted)
    distances = _distances(snapshot.dict())
    drifted = {name: value for name, value in distances.items() if value >= THRESHOLD}
    folder.mkdir(parents=True, exist_ok=True)
    summary = DriftSummary(
        drifted=dict(sorted(drifted.items(), key=lambda item: -item[1])),
        share=len(drifted) / len(distances),
        columns=len(distances),
        reference_rows=len(before),
        current_rows=len(after),
        reference_of=len(reference.rows),
        current_of=len(current.rows),
        distances=distances,
        html=folder / "drift.html",
        json=folder / "drift.json",
    )
    page = snapshot.get_html_str(as_iframe=False)
    summary.html.write_text(_with_heading(page, title, reference, current, summary), "utf-8")
    content = {
        "title": title,
        "reference": _described(reference),
        "current": _described(current),
        "threshold": THRESHOLD,
        "seed": seed,
        **{name: value for name, value in asdict(summary).items() if name not in ("html", "json")},
    }
    summary.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return summary


def _sample(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    if len(rows) <= most:
        return rows.reset_index(drop=True)
    places = np.random.default_rng(seed).choice(len(rows), most, replace=False)
    return rows.iloc[np.sort(places)].reset_index(drop=True)


def _compared(before: pd.DataFrame, after: pd.DataFrame, most_drifted: float) -> Any:
    codes = [
        name for name in before if pd.concat([before[name], after[name]]).nunique() <= FEW_VALUES
    ]
    definition = DataDefinition(
        numerical_columns=[name for name in before if name not in codes],
        categorical_columns=codes,
    )
    report = Report(
        [
            DataDriftPreset(
                drift_share=most_drifted,
                num_method="wasserstein",
                num_threshold=THRESHOLD,
                cat_method="jensenshannon",
                cat_threshold=THRESHOLD,
            )
        ]
    )
    return report.run(
        Dataset.from_pandas(after, data_definition=definition),
        Dataset.from_pandas(before, data_definition=definition),
    )


def _distances(content: dict[str, Any]) -> dict[str, float]:
    return {
        metric["config"]["column"]: float(metric["value"])
        for metric in content["metrics"]
        if metric["config"]["type"].endswith(":ValueDrift")
    }


def _described(window: Window) -> dict[str, object]:
    return {
        "name": window.name,
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "rows": len(window.rows),
    }


def _with_heading(
    page: str, title: str, reference: Window, current: Window, summary: DriftSummary
) -> str:
    """Evidently's page under a heading that says what was compared, and how much of it."""

    def sentence(window: Window, looked_at: int) -> str:
        return (
            f"<b>{html.escape(window.name)}</b>: {window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}, "
            f"{looked_at:,} of {len(window.rows):,} events"
        )

    names = ", ".join(f"{name} ({value:.2f})" for name, value in summary.drifted.items())
    heading = f"""
<header style="font: 15px/1.5 system-ui, sans-serif; padding: 20px 32px; color: #1b1b1f">
<h1 style="font-size: 22px; margin: 0 0 6px">{html.escape(title)}</h1>
<p style="margin: 0">{sentence(reference, summary.reference_rows)}<br>
{sentence(current, summary.current_rows)}</p>
<p style="margin: 6px 0 0"><b>{len(summary.drifted)} of {summary.columns} columns drifted</b>
(distance at least {THRESHOLD:g}){": " + html.escape(names) if names else ""}</p>
</header>"""
    start = page.index(">", page.index("<body")) + 1
    page = page[:start] + heading + page[start:]
    return page.replace("<head>", f"<head><title>{html.escape(title)}</title>", 1)
