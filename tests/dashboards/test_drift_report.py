import datetime as dt
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dashboards.drift.report import THRESHOLD, DriftSummary, Window, write_drift_report
from fraud.domain.errors import ContractError

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
ROWS = 6_000


def world(seed: int, rows: int = ROWS) -> pd.DataFrame:
    """Columns of the kinds features have: heavy tails, codes, flags, constants."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": rng.lognormal(3, 1, rows),
            "count": rng.poisson(5, rows).astype(float),
            "code": rng.integers(0, 12, rows).astype(float),
            "flag": (rng.random(rows) < 0.3).astype(float),
            "constant": np.zeros(rows),
            "fraud_probability": rng.beta(1, 60, rows),
        }
    )


def window(name: str, rows: pd.DataFrame) -> Window:
    return Window(name, START, START + dt.timedelta(days=7), rows)


def report(folder: Path, before: pd.DataFrame, after: pd.DataFrame, **options: int) -> DriftSummary:
    return write_drift_report(
        "Cards <&>",
        window("training", before),
        window("current", after),
        list(before.columns),
        folder,
        **options,
    )


def test_what_moved_is_named_and_nothing_else(tmp_path: Path) -> None:
    after = world(2).assign(
        amount=lambda rows: rows["amount"] * 1.5, flag=lambda rows: 1.0 - rows["flag"]
    )
    summary = report(tmp_path, world(1), after)
    assert sorted(summary.drifted) == ["amount", "flag"]
    assert summary.columns == 6
    assert summary.share == pytest.approx(2 / 6)
    assert all(summary.distances[name] >= THRESHOLD for name in summary.drifted)


def test_the_same_world_does_not_drift(tmp_path: Path) -> None:
    assert report(tmp_path, world(1), world(2)).drifted == {}


def test_samples_have_the_stated_size_and_come_out_the_same_each_time(tmp_path: Path) -> None:
    first = report(tmp_path / "a", world(1), world(2), sample_rows=1_000)
    again = report(tmp_path / "b", world(1), world(2), sample_rows=1_000)
    assert (first.reference_rows, first.reference_of) == (1_000, ROWS)
    assert (first.current_rows, first.current_of) == (1_000, ROWS)
    assert first.distances == again.distances
    other = report(tmp_path / "c", world(1), world(2), sample_rows=1_000, seed=8)
    assert other.distances != first.distances


def test_the_page_says_what_was_compared(tmp_path: Path) -> None:
    summary = report(tmp_path, world(1), world(2), sample_rows=1_000)
    page = summary.html.read_text("utf-8")
    assert "<title>Cards &lt;&amp;&gt;</title>" in page
    assert "<b>training</b>: 2026-03-01 to 2026-03-08, 1,000 of 6,000 events" in page
    content = json.loads(summary.json.read_text("utf-8"))
    assert content["distances"] == summary.distances
    assert (content["current"]["rows"], content["current_rows"]) == (ROWS, 1_000)


def test_a_window_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"The current window 2026-03-01.* holds no events"):
        report(tmp_path, world(1), world(2).iloc[:0])
    assert list(tmp_path.iterdir()) == []
