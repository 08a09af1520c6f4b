"""Drift of features and score: what came lately against what the model was trained on.

Evidently compares each column's two distributions by a distance that does not grow with the
number of rows: Wasserstein in standard deviations for numbers, Jensen-Shannon for codes and
flags. A column drifted if that distance reaches its threshold and the difference is more than
chance (significance.py). Both windows are sampled with a fixed seed, and the report says how
many rows it saw.
"""

import datetime as dt
import html
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import jensenshannon_stat_test as CODES
from evidently.legacy.calculations.stattests import wasserstein_stat_test as NUMBERS
from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset

from dashboards.drift.significance import FAMILY_ERROR, differing
from fraud.domain.errors import ContractError

SAMPLE_ROWS = 10_000
SEED = 7
THRESHOLD = 0.1
"""Distance from which a column counts as drifted, as Evidently's own defaults have it."""

MINOR_THRESHOLD = 0.2
"""The same for columns that matter little to the model; see `thresholds_by_importance`."""

MAJOR_SHARE = 0.8
"""Share of all importance that the columns held to the stricter threshold make up."""

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
        of: events that `rows` were drawn from; as many as there are rows if 0.
    """

    name: str
    start: dt.datetime
    end: dt.datetime
    rows: pd.DataFrame
    of: int = 0

    @property
    def events(self) -> int:
        """How many events the window holds."""
        return self.of or len(self.rows)


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
        thresholds: from which distance each counts as drifted.
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
    thresholds: dict[str, float]
    html: Path
    json: Path


def write_drift_report(
    title: str,
    reference: Window,
    current: Window,
    columns: Sequence[str],
    folder: Path,
    *,
    thresholds: Mapping[str, float] | None = None,
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
        thresholds: distance from which a column counts as drifted; `THRESHOLD` where it names
            none.
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
        sampled(window.rows[list(columns)], sample_rows, seed) for window in (reference, current)
    )
    codes = _codes(before, after)
    limits = {name: (thresholds or {}).get(name, THRESHOLD) for name in columns}
    real = differing(before, after, codes)
    snapshot = _compared(before, after, codes, limits, real, most_drifted)
    distances = _distances(snapshot.dict())
    drifted = {
        name: value for name, value in distances.items() if value >= limits[name] and name in real
    }
    folder.mkdir(parents=True, exist_ok=True)
    summary = DriftSummary(
        drifted=dict(sorted(drifted.items(), key=lambda item: -item[1])),
        share=len(drifted) / len(distances),
        columns=len(distances),
        reference_rows=len(before),
        current_rows=len(after),
        reference_of=reference.events,
        current_of=current.events,
        distances=distances,
        thresholds=limits,
        html=folder / "drift.html",
        json=folder / "drift.json",
    )
    page = snapshot.get_html_str(as_iframe=False)
    summary.html.write_text(_with_heading(page, title, reference, current, summary), "utf-8")
    content = {
        "title": title,
        "reference": _described(reference),
        "current": _described(current),
        "family_error": FAMILY_ERROR,
        "seed": seed,
        **{name: value for name, value in asdict(summary).items() if name not in ("html", "json")},
    }
    summary.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return summary


def thresholds_by_importance(importance: Mapping[str, float]) -> dict[str, float]:
    """Stricter thresholds for the columns a model leans on most.

    Args:
        importance: of each column, not negative, in any unit.

    Returns:
        `THRESHOLD` for the most important columns that make up `MAJOR_SHARE` of all
        importance together, `MINOR_THRESHOLD` for the others.
    """
    total, reached = sum(importance.values()), 0.0
    found: dict[str, float] = {}
    for name in sorted(importance, key=lambda each: (-importance[each], each)):
        is_major = total == 0 or reached < MAJOR_SHARE * total
        found[name] = THRESHOLD if is_major else MINOR_THRESHOLD
        reached += importance[name]
    return found


def sampled(rows: pd.DataFrame, most: int, seed: int = SEED) -> pd.DataFrame:
    """So many rows at most, in their order, the same each time."""
    if len(rows) <= most:
        return rows.reset_index(drop=True)
    places = np.random.default_rng(seed).choice(len(rows), most, replace=False)
    return rows.iloc[np.sort(places)].reset_index(drop=True)


def _codes(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """The columns that are compared value by value."""
    return [
        str(name)
        for name in before
        if pd.concat([before[name], after[name]]).nunique() <= FEW_VALUES
    ]


def _register(name: str, real: Collection[str]) -> str:
    """Give Evidently its own distance, with drift found only in columns that really differ."""
    known = NUMBERS if name == "wasserstein" else CODES

    def measure(
        before: pd.Series, after: pd.Series, kind: ColumnType, threshold: float
    ) -> tuple[float, bool]:
        distance, is_far = known.func(before, after, kind, threshold)
        return distance, bool(is_far and before.name in real)

    test = StatTest(
        name=f"significant_{name}",
        display_name=f"{known.display_name}, if more than chance",
        allowed_feature_types=known.allowed_feature_types,
        default_threshold=THRESHOLD,
    )
    register_stattest(test, measure)
    return str(test.name)


def _compared(
    before: pd.DataFrame,
    after: pd.DataFrame,
    codes: Collection[str],
    limits: Mapping[str, float],
    real: Collection[str],
    most_drifted: float,
) -> Any:
    definition = DataDefinition(
        numerical_columns=[name for name in before if name not in codes],
        categorical_columns=list(codes),
    )
    report = Report(
        [
            DataDriftPreset(
                drift_share=most_drifted,
                num_method=_register("wasserstein", real),
                cat_method=_register("jensenshannon", real),
                per_column_threshold=dict(limits),
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
        "rows": window.events,
    }


def _with_heading(
    page: str, title: str, reference: Window, current: Window, summary: DriftSummary
) -> str:
    """Evidently's page under a heading that says what was compared, and how much of it."""

    def sentence(window: Window, looked_at: int) -> str:
        return (
            f"<b>{html.escape(window.name)}</b>: {window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}, "
            f"{looked_at:,} of {window.events:,} events"
        )

    names = ", ".join(f"{name} ({value:.2f})" for name, value in summary.drifted.items())
    names = html.escape(f": {names}") if names else ""
    heading = f"""
<header style="font: 15px/1.5 system-ui, sans-serif; padding: 20px 32px; color: #1b1b1f">
<h1 style="font-size: 22px; margin: 0 0 6px">{html.escape(title)}</h1>
<p style="margin: 0">{sentence(reference, summary.reference_rows)}<br>
{sentence(current, summary.current_rows)}</p>
<p style="margin: 6px 0 0"><b>{len(summary.drifted)} of {summary.columns} columns drifted</b>
(distance at least {THRESHOLD:g}, or
{MINOR_THRESHOLD:g} where a column matters little to the model, and more than chance: a report
names a column that did not change with a probability of at most {FAMILY_ERROR:.0%}){names}</p>
</header>"""
    start = page.index(">", page.index("<body")) + 1
    page = page[:start] + heading + page[start:]
    return page.replace("<head>", f"<head><title>{html.escape(title)}</title>", 1)
