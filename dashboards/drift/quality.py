"""Data quality of what was served, and quality of the decisions once their truth is known."""

import html
from pathlib import Path

import pandas as pd
from evidently import BinaryClassification, DataDefinition, Dataset, Report
from evidently.presets import ClassificationPreset, DataSummaryPreset

from dashboards.drift.report import sampled

SUMMARY_ROWS = 2_000
"""Rows of each side that the page on data quality looks at."""

JUDGED_ROWS = 50_000
"""Matured decisions that the page on their quality looks at."""

TRUTH, SCORE = "is_fraud", "fraud_probability"


def write_data_quality(
    title: str, reference: pd.DataFrame, current: pd.DataFrame, folder: Path
) -> Path:
    """Missing values, ranges, constants and doubles of both windows, as `data_quality.html`.

    Args:
        title: heading of the page.
        reference: what is normal; all columns float64.
        current: what is looked at, the same columns.
        folder: where the file goes.
    """
    definition = DataDefinition(numerical_columns=list(reference))
    sides = [
        Dataset.from_pandas(sampled(rows, SUMMARY_ROWS), data_definition=definition)
        for rows in (current, reference)
    ]
    page = Report([DataSummaryPreset()]).run(*sides).get_html_str(as_iframe=False)
    about = (
        f"{min(len(current), SUMMARY_ROWS):,} of {len(current):,} events now, "
        f"{min(len(reference), SUMMARY_ROWS):,} of {len(reference):,} in training"
    )
    return _written(page, title, about, folder / "data_quality.html")


def write_decision_quality(
    title: str, judged: pd.DataFrame, threshold: float, note: str, folder: Path
) -> Path:
    """Confusion, precision, recall and ROC of matured decisions, as `decision_quality.html`.

    Args:
        title: heading of the page.
        judged: `is_fraud` (0 or 1) and `fraud_probability` of matured decisions; both kinds
            occur.
        threshold: probability from which a decision was not to approve.
        note: a sentence for the head of the page; may be empty.
        folder: where the file goes.
    """
    rows = sampled(judged[[TRUTH, SCORE]], JUDGED_ROWS)
    definition = DataDefinition(
        classification=[BinaryClassification(target=TRUTH, prediction_probas=SCORE, pos_label=1)],
        categorical_columns=[TRUTH],
        numerical_columns=[SCORE],
    )
    report = Report([ClassificationPreset(probas_threshold=threshold)])
    snapshot = report.run(Dataset.from_pandas(rows, data_definition=definition), None)
    about = f"{len(rows):,} of {len(judged):,} matured decisions, flagged from {threshold:g}"
    about = f"{about}. {note}" if note else about
    page = snapshot.get_html_str(as_iframe=False)
    return _written(page, title, about, folder / "decision_quality.html")


def _written(page: str, title: str, about: str, file: Path) -> Path:
    heading = f"""
<header style="font: 15px/1.5 system-ui, sans-serif; padding: 20px 32px; color: #1b1b1f">
<h1 style="font-size: 22px; margin: 0 0 6px">{html.escape(title)}</h1>
<p style="margin: 0">{html.escape(about)}</p></header>"""
    start = page.index(">", page.index("<body")) + 1
    page = page[:start] + heading + page[start:]
    page = page.replace("<head>", f"<head><title>{html.escape(title)}</title>", 1)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page, "utf-8")
    return file
