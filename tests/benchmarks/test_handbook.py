import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.handbook import History, fold_rows, read_history
from benchmarks.quality import fold_metrics, fold_scores, run
from feature_store.offline import feature_matrix
from fraud.domain.errors import MalformedInput, NotFound
from fraud.types.credit_card import CREDIT_CARD
from orchestration.training.candidates import CANDIDATES

START = dt.date(2018, 7, 25)


def a_file(folder: Path, rows: int = 3000, first: str = "2018-07-20", days: int = 30) -> Path:
    """A month around a fold; fraud, 5 %, is of large amounts."""
    random = np.random.default_rng(2)
    moments = np.sort(random.integers(0, days * 86_400, rows))
    is_fraud = random.random(rows) < 0.05
    frame = pd.DataFrame(
        {
            "TRANSACTION_ID": np.arange(rows, dtype=np.int32),
            "TX_DATETIME": pd.Timestamp(first) + pd.to_timedelta(moments, unit="s"),
            "CUSTOMER_ID": random.integers(0, 400, rows).astype(np.int32),
            "TERMINAL_ID": random.integers(0, 90, rows).astype(np.int32),
            "TX_AMOUNT": np.round(random.uniform(1, 200, rows) + 60.0 * is_fraud, 2),
            "TX_FRAUD": is_fraud.astype(np.int8),
        }
    )
    frame.sample(frac=1.0, random_state=3).to_parquet(folder / "transactions.parquet")
    return folder / "transactions.parquet"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_file(tmp_path_factory.mktemp("handbook"))


@pytest.fixture(scope="module")
def history(path: Path) -> History:
    return read_history(path, CREDIT_CARD)


def test_the_fold_is_the_handbooks(path: Path, history: History) -> None:
    # The protocol once more, on the file itself, as its text says it.
    raw = pd.read_parquet(path)
    days_after = (raw["TX_DATETIME"].dt.normalize() - pd.Timestamp(START)).dt.days
    frauds = raw[raw["TX_FRAUD"] == 1]
    expected_test: set[int] = set()
    for d in range(7):
        known = set(raw[(days_after >= 0) & (days_after < 7)].merge(frauds)["CUSTOMER_ID"])
        before = (days_after >= 7) & (days_after <= 7 + d - 1)
        known |= set(raw[before].merge(frauds)["CUSTOMER_ID"])
        today = raw[days_after == 14 + d]
        expected_test |= set(today[~today["CUSTOMER_ID"].isin(known)]["TRANSACTION_ID"])
    train, test = fold_rows(history, START)
    ids = history.events["transaction_id"].to_numpy().astype(int)
    assert set(ids[train]) == set(
        raw[(days_after >= 0) & (days_after < 7)]["TRANSACTION_ID"].tolist()
    )
    assert set(ids[test]) == expected_test
    assert 0 < len(test) < (days_after.between(14, 20)).sum()  # somebody was left out


def test_labels_come_seven_days_later_and_only_for_fraud(history: History) -> None:
    events = history.events.set_index("transaction_id").loc[history.labels["transaction_id"]]
    late = history.labels["reported_at"].to_numpy() - events["event_time"].to_numpy()
    assert (late == np.timedelta64(7, "D")).all()
    assert len(history.labels) == history.is_fraud.sum()


def test_every_model_scores_every_test_row(history: History) -> None:
    features = feature_matrix(CREDIT_CARD, history.events, history.labels)
    train, test = fold_rows(history, START)
    scores = fold_scores(features, history, train, test)
    assert set(scores) == set(CANDIDATES)
    for score in scores.values():
        assert score.shape == test.shape
        auc, ap, cp100 = fold_metrics(score, history, test)
        assert auc > 0.6  # amounts give fraud away, a little
        assert 0 < ap <= 1
        assert 0 <= cp100 <= 1


def test_the_written_scores_give_the_reported_metrics_to_anyone(tmp_path: Path) -> None:
    # Nothing of ours below but the file: pandas and scikit-learn, as docs/evaluation.md says.
    data, out = a_file(tmp_path, 4000, "2018-07-06", 44), tmp_path / "scores.parquet"
    report = run(data, out, Console(quiet=True), [dt.date(2018, 7, 11), START])
    written = pd.read_parquet(out)
    for (days, model), rows in written.groupby(["days", "model"]):
        auc = roc_auc_score(rows["is_fraud"], rows["score"])
        ap = average_precision_score(rows["is_fraud"], rows["score"])
        found: set[int] = set()
        precisions = []
        for _, today in rows.groupby("day"):
            left = today[~today["customer_id"].isin(found)]
            highest = left.groupby("customer_id", sort=False).agg(
                score=("score", "max"), is_fraud=("is_fraud", "any")
            )
            top = highest.sort_values("score", ascending=False, kind="stable").head(100)
            found |= set(top.index[top["is_fraud"]])
            precisions.append(top["is_fraud"].sum() / 100)
        assert report[days][model] == pytest.approx(
            {"auc": auc, "ap": ap, "cp100": np.mean(precisions)}, abs=1e-6
        )
    assert set(report["test"]) == set(CANDIDATES)
    of_earlier = {model: means["ap"] for model, means in report["earlier"].items()}
    assert of_earlier[report["promoted"]] == max(of_earlier.values())


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.parquet"):
        read_history(tmp_path / "nowhere.parquet", CREDIT_CARD)
    pd.DataFrame({"TRANSACTION_ID": [1]}).to_parquet(tmp_path / "half.parquet")
    with pytest.raises(MalformedInput, match="lacks CUSTOMER_ID"):
        read_history(tmp_path / "half.parquet", CREDIT_CARD)
