"""Model quality on the Fraud Detection Handbook's protocol, four folds.

    make bench-quality DATA=handbook_transactions.parquet OUT=scores.parquet

Every candidate runs with the hyper-parameters it has in production. They were chosen on folds
that start 2018-06-20 to 2018-07-11, whose test labels were known on 2018-08-07, the day
before the first test day here.
"""

import json
import resource
import time
from collections.abc import Mapping
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
from feature_store.offline import feature_matrix
from fraud.domain.errors import FraudError
from fraud.types.credit_card import CREDIT_CARD
from orchestration.training.candidates import CANDIDATES, fit_candidate
from orchestration.training.metrics import card_precision

Floats = NDArray[np.float64]
Scores = Mapping[str, Floats]

BLEND = "blend"
PUBLISHED = {
    "XGBoost, published": (0.869, 0.687, 0.303),
    "random forest, published": (0.870, 0.678, 0.299),
    "balanced bagging, published": (0.879, 0.680, 0.305),
    "neural network, published": (0.876, 0.675, 0.303),
}
"""AUC, AP and CP@100 of the Handbook, means over the same folds."""


def fold_scores(
    features: Floats, history: History, train: NDArray[np.int64], test: NDArray[np.int64]
) -> Scores:
    """Scores of the test rows by every candidate, and by the mean of their log-odds."""
    scores: dict[str, Floats] = {}
    margins = []
    for name in CANDIDATES:
        model = fit_candidate(name, features[train], history.is_fraud[train])
        scores[name] = model.probabilities(features[test])
        squeeze = model.candidate.squeeze
        inner = squeeze + (1.0 - 2.0 * squeeze) * scores[name]
        margins.append(np.log(inner / (1.0 - inner)))
    scores[BLEND] = 1.0 / (1.0 + np.exp(-np.mean(margins, axis=0)))
    return scores


def fold_metrics(
    score: Floats, history: History, test: NDArray[np.int64]
) -> tuple[float, float, float]:
    """AUC, average precision and CP@100 of one model on one fold."""
    is_fraud = history.is_fraud[test]
    return (
        float(roc_auc_score(is_fraud, score)),
        float(average_precision_score(is_fraud, score)),
        card_precision(score, is_fraud, history.customer[test].astype(object), history.day[test]),
    )


def run(data: Path, out: Path | None, console: Console) -> dict[str, dict[str, float]]:
    """Runs all folds, writes the scores, and returns the mean metrics by model."""
    started = time.perf_counter()
    figures: dict[str, list[tuple[float, float, float]]] = {}
    written = []
    with Progress(console=console) as progress:
        task = progress.add_task("reading", total=len(FOLDS) + 2)
        history = read_history(data, CREDIT_CARD)
        progress.update(task, advance=1, description="computing features")
        features = feature_matrix(CREDIT_CARD, history.events, history.labels)
        ids = history.events["transaction_id"].to_numpy().astype(np.int64)
        for start in FOLDS:
            progress.update(task, advance=1, description=f"fold {start}")
            train, test = fold_rows(history, start)
            progress.log(
                f"fold {start}: train {len(train):,} ({history.is_fraud[train].sum()} frauds), "
                f"test {len(test):,} ({history.is_fraud[test].sum()})"
            )
            for model, score in fold_scores(features, history, train, test).items():
                figures.setdefault(model, []).append(fold_metrics(score, history, test))
                written.append(
                    pd.DataFrame(
                        {
                            "fold": str(start),
                            "model": model,
                            "transaction_id": ids[test],
                            "score": score,
                        }
                    )
                )
        progress.update(task, advance=1, description="done")
    if out is not None:
        pd.concat(written, ignore_index=True).to_parquet(out, index=False)
    console.print(_table(figures))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    console.print(f"{time.perf_counter() - started:.0f} s, at most {peak_gb:.1f} GB of memory")
    return {model: _means(folds) for model, folds in figures.items()}


def _means(folds: list[tuple[float, float, float]]) -> dict[str, float]:
    auc, ap, cp100 = np.mean(folds, axis=0)
    return {"auc": round(auc, 6), "ap": round(ap, 6), "cp100": round(cp100, 6)}


def _table(figures: Mapping[str, list[tuple[float, float, float]]]) -> Table:
    table = Table("model", "AUC", "AP", "CP@100", "AP by fold", title="Means over four folds")
    for model, folds in figures.items():
        by_fold = " ".join(f"{ap:.3f}" for _, ap, _ in folds)
        table.add_row(model, *(f"{value:.3f}" for value in np.mean(folds, axis=0)), by_fold)
    table.add_section()
    for model, means in PUBLISHED.items():
        table.add_row(model, *(f"{value:.3f}" for value in means), "")
    return table


def main(
    data: Annotated[Path, typer.Option(envvar="DATA", help="The joined transactions, Parquet.")],
    out: Annotated[
        Path | None, typer.Option(envvar="OUT", help="Where the scores go, Parquet.")
    ] = None,
) -> None:
    """Score the Handbook's four folds with every candidate; one JSON line comes last."""
    console = Console(stderr=True)
    try:
        means = run(data, out, console)
    except FraudError as error:
        console.print(f"bench-quality: {error}", style="red")
        raise typer.Exit(1) from None
    print(json.dumps(means))


if __name__ == "__main__":
    typer.run(main)
