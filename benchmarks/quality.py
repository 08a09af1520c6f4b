"""Model quality on the Fraud Detection Handbook's protocol, four folds.

    make bench-quality DATA=handbook_transactions.parquet OUT=scores.parquet

Every candidate runs with the hyper-parameters it has in production. Both these and the
promoted candidate are chosen on four earlier folds, which start 2018-06-20 to 2018-07-11:
their test labels were all known on 2018-08-07, the day before the first test day here.
"""

import datetime as dt
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.handbook import FOLDS, History, fold_rows, read_history
from benchmarks.memory import peak_mb
from feature_store.offline import feature_matrix
from fraud.domain.errors import FraudError
from fraud.domain.features import Values
from fraud.domain.windows import DAY_US
from fraud.types.credit_card import CREDIT_CARD
from orchestration.training.candidates import fit_candidates
from orchestration.training.metrics import card_precision

Floats = NDArray[np.float64]
Figures = tuple[float, float, float]
"""AUC, average precision, CP@100."""

EARLIER_FOLDS = tuple(dt.date(2018, 6, 20) + dt.timedelta(days=7 * week) for week in range(4))
"""First training days of the folds that parameters and the promoted candidate are chosen on."""

PUBLISHED = {
    "XGBoost, published": (0.869, 0.687, 0.303),
    "random forest, published": (0.870, 0.678, 0.299),
    "balanced bagging, published": (0.879, 0.680, 0.305),
    "neural network, published": (0.876, 0.675, 0.303),
}
"""AUC, AP and CP@100 of the Handbook, means over the same folds."""


def fold_scores(
    features: Values, history: History, train: NDArray[np.int64], test: NDArray[np.int64]
) -> dict[str, Floats]:
    """Scores of the test rows by every candidate."""
    models = fit_candidates(features[train].astype(np.float64), history.is_fraud[train])
    return {
        name: model.probabilities(features[test].astype(np.float64))
        for name, model in models.items()
    }


def fold_metrics(score: Floats, history: History, test: NDArray[np.int64]) -> Figures:
    """AUC, average precision and CP@100 of one model on one fold."""
    is_fraud = history.is_fraud[test]
    return (
        float(roc_auc_score(is_fraud, score)),
        float(average_precision_score(is_fraud, score)),
        card_precision(score, is_fraud, history.customer[test].astype(object), history.day[test]),
    )


def score_rows(
    history: History, test: NDArray[np.int64], fold: dt.date, scores: Mapping[str, Floats]
) -> pd.DataFrame:
    """All that is needed to compute the metrics of a fold again, a row per model and event."""
    rows = pd.DataFrame(
        {
            "fold": str(fold),
            "days": "test" if fold in FOLDS else "earlier",
            "transaction_id": history.events["transaction_id"].to_numpy()[test].astype(np.int64),
            "day": pd.to_datetime(history.day[test] * DAY_US, unit="us").strftime("%Y-%m-%d"),
            "customer_id": history.customer[test],
            "is_fraud": history.is_fraud[test],
        }
    )
    return pd.concat(
        [rows.assign(model=model, score=score) for model, score in scores.items()],
        ignore_index=True,
    )


def run(
    data: Path, out: Path | None, console: Console, folds: Iterable[dt.date] | None = None
) -> dict[str, object]:
    """Runs the folds, writes the scores, and returns means by model and who is promoted.

    Args:
        data: the joined transactions.
        out: where the scores go, if anywhere.
        console: for progress and the table.
        folds: first training days; the earlier and the test folds if None.
    """
    started = time.perf_counter()
    folds = tuple(folds or (*EARLIER_FOLDS, *FOLDS))
    figures: dict[str, dict[str, list[Figures]]] = {"earlier": {}, "test": {}}
    written = []
    with Progress(console=console) as progress:
        task = progress.add_task("reading", total=len(folds) + 2)
        history = read_history(data, CREDIT_CARD)
        progress.update(task, advance=1, description="computing features")
        features = feature_matrix(CREDIT_CARD, history.events, history.labels)
        for start in folds:
            progress.update(task, advance=1, description=f"fold {start}")
            train, test = fold_rows(history, start)
            progress.log(
                f"fold {start}: train {len(train):,} ({history.is_fraud[train].sum()} frauds), "
                f"test {len(test):,} ({history.is_fraud[test].sum()})"
            )
            scores = fold_scores(features, history, train, test)
            of_days = figures["test" if start in FOLDS else "earlier"]
            for model, score in scores.items():
                of_days.setdefault(model, []).append(fold_metrics(score, history, test))
            written.append(score_rows(history, test, start, scores))
        progress.update(task, advance=1, description="done")
    if out is not None:
        pd.concat(written, ignore_index=True).to_parquet(out, index=False)
    means = {
        days: {model: _means(each) for model, each in of_days.items()}
        for days, of_days in figures.items()
    }
    promoted = max(means["earlier"], key=lambda model: means["earlier"][model]["ap"])
    console.print(_table(figures, promoted))
    console.print(
        f"{time.perf_counter() - started:.0f} s, at most {peak_mb() / 1024:.1f} GB of memory"
    )
    return {"promoted": promoted, **means}


def _means(folds: list[Figures]) -> dict[str, float]:
    auc, ap, cp100 = np.mean(folds, axis=0)
    return {"auc": round(auc, 6), "ap": round(ap, 6), "cp100": round(cp100, 6)}


def _table(figures: Mapping[str, Mapping[str, list[Figures]]], promoted: str) -> Table:
    table = Table(
        *("model", "earlier AUC", "AP", "CP@100", "test AUC", "AP", "CP@100", "AP by fold"),
        title="Means over four earlier folds, which choose, and over the four test folds",
    )
    for model, folds in figures["test"].items():
        means = (*np.mean(figures["earlier"][model], axis=0), *np.mean(folds, axis=0))
        name = f"{model} (promoted)" if model == promoted else model
        by_fold = " ".join(f"{ap:.3f}" for _, ap, _ in folds)
        table.add_row(name, *(f"{value:.3f}" for value in means), by_fold)
    table.add_section()
    for model, published in PUBLISHED.items():
        table.add_row(model, "", "", "", *(f"{value:.3f}" for value in published), "")
    return table


def main(
    data: Annotated[Path, typer.Option(envvar="DATA", help="The joined transactions, Parquet.")],
    out: Annotated[
        Path | None, typer.Option(envvar="OUT", help="Where the scores go, Parquet.")
    ] = None,
) -> None:
    """Score the Handbook's folds with every candidate; one JSON line comes last."""
    console = Console(stderr=True, width=120)
    try:
        report = run(data, out, console)
    except FraudError as error:
        console.print(f"bench-quality: {error}", style="red")
        raise typer.Exit(1) from None
    print(json.dumps(report))


if __name__ == "__main__":
    typer.run(main)
