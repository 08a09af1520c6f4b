"""The world the services are asked about: its history, its models, and its next days.

Requests are the simulator's own transactions of the days after the history, in order: so
users, merchants, amounts and frauds come as often, and to the same entities, as they do in
the log that the model and the entity states were made from. The world has the Handbook's
size: in a smaller one, requests that meet in time would all be about the same few cards.
"""

import datetime as dt
import hashlib
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import xgboost as xgb

from benchmarks.serving_tutorial import MODEL_FILE, row_of
from bentos.scoring.bundle import MANIFEST_FILE
from feature_store.lake import Lake
from feature_store.materialize import materialize
from feature_store.offline import build_frame
from fraud.domain.deployment import Deployment
from fraud.ledger.deployments import record_deployment
from fraud.ledger.embedded import ledger_url
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.schema import migrate
from fraud.security.encryption import field_protection
from fraud.settings import Settings
from fraud.types.credit_card import CREDIT_CARD, CreditCardTransaction
from orchestration.appending import append
from orchestration.sources.simulated import card_payments
from orchestration.sources.simulator.credit_card import CreditCardSimulation, simulate_days
from orchestration.training.provenance import git_commit
from orchestration.training.release import manifest_of, release
from orchestration.training.split import Split, temporal_split
from orchestration.training.train import train_candidate

HISTORY_DAYS, WARM_UP_DAYS, EVALUATION_DAYS = 75, 15, 7
FUTURE_DAYS = 90
TUTORIAL_DAYS = 10


class World:
    """A history in the lake and the ledger, and what happens after it.

    Args:
        settings: where lake, ledger and bundles are.
        seed: of the simulator.
    """

    def __init__(self, settings: Settings, seed: int) -> None:
        self._settings = settings
        today = dt.datetime.now(dt.UTC).date()
        self._parameters = CreditCardSimulation(
            start=today - dt.timedelta(days=HISTORY_DAYS + FUTURE_DAYS),
            days=HISTORY_DAYS,
            seed=seed,
        )
        self._end = self._parameters.start + dt.timedelta(days=HISTORY_DAYS)
        self._lake = Lake(settings.lake_url)

    def simulate(self) -> int:
        """Fill the log; returns the number of transactions."""
        source = card_payments(self._parameters)
        now, protection = dt.datetime.now(dt.UTC), field_protection(self._settings)
        report = append(source, CREDIT_CARD, self._lake, lambda source, rows: None, now, protection)
        return report.rows_accepted

    def deploy(self) -> str:
        """Train LightGBM on the history and put it into service; returns its version."""
        split, trained_at = self._split(), dt.datetime.now(dt.UTC)
        candidate = train_candidate("lightgbm", split, CREDIT_CARD)
        manifest = manifest_of(
            candidate,
            split,
            CREDIT_CARD,
            trained_at=trained_at,
            git_commit=git_commit(Path(__file__).parent),
            mlflow_run_id="",
        )
        bundles = self._settings.bundle_dir
        place = release(bundles, candidate, manifest, self._settings.signing_key_pem)
        deployment = Deployment(
            fraud_type=CREDIT_CARD.name,
            model_version=manifest.model_version,
            bundle_path=str(place.relative_to(bundles)),
            bundle_digest=hashlib.sha256((place / MANIFEST_FILE).read_bytes()).hexdigest(),
            promoted_by="benchmark",
            reason="The only candidate.",
            promoted_at_us=time.time_ns() // 1000,
        )
        pool = self._pool()
        with pool.transaction() as cursor:
            record_deployment(cursor, deployment)
        pool.close()
        return manifest.model_version

    def materialize(self) -> int:
        """Put the state of every entity into the ledger; returns how many there are."""
        events, labels = self._lake.events(CREDIT_CARD), self._lake.labels(CREDIT_CARD)
        pool = self._pool()
        report = materialize(CREDIT_CARD, events, labels, pool)
        pool.close()
        return report.entities

    def train_tutorial(self, folder: Path) -> None:
        """Train the tutorial's model, scikit-learn style, on the request's own fields."""
        first = self._end - dt.timedelta(days=TUTORIAL_DAYS)
        days = simulate_days(self._parameters, first, self._end - dt.timedelta(days=1))
        rows = (
            row_of(CreditCardTransaction.model_validate_json(body))
            for body in bodies_of(days.transactions)
        )
        model = xgb.XGBClassifier()
        model.fit(pd.DataFrame(rows), days.truth["is_fraud"])
        model.save_model(folder / MODEL_FILE)

    def requests(self) -> Iterator[str]:
        """Bodies of the transactions after the history, in the order they happened."""
        for day in range(FUTURE_DAYS):
            when = self._end + dt.timedelta(days=day)
            yield from bodies_of(simulate_days(self._parameters, when, when).transactions)

    def decisions(self) -> tuple[int, int]:
        """How many decisions the ledger holds, and how many of them are degraded."""
        pool = self._pool()
        with pool.transaction() as cursor:
            cursor.execute("SELECT count(*), count(*) FILTER (WHERE degraded) FROM decisions")
            [(total, degraded)] = cursor.fetchall()
        pool.close()
        return total, degraded

    def _split(self) -> Split:
        labels = self._lake.labels(CREDIT_CARD)
        frame = build_frame(CREDIT_CARD, self._lake.events(CREDIT_CARD), labels)
        cutoff = dt.datetime.combine(self._end, dt.time(), dt.UTC)
        settled = cutoff - dt.timedelta(days=HISTORY_DAYS - WARM_UP_DAYS)
        return temporal_split(
            frame[frame["event_time"] >= settled],
            labels,
            CREDIT_CARD,
            cutoff=cutoff,
            train_days=HISTORY_DAYS,
            validation_days=EVALUATION_DAYS,
            test_days=EVALUATION_DAYS,
        )

    def _pool(self) -> ConnectionPool:
        url = ledger_url(self._settings)
        migrate(url)
        return ConnectionPool(url, size=1)


def bodies_of(transactions: pd.DataFrame) -> Iterator[str]:
    """Simulated transactions as `/predict` takes them, nulls left out."""
    rows = transactions.drop(columns="observed_at").rename(columns={"event_time": "timestamp"})
    rows["timestamp"] = rows["timestamp"].map(lambda moment: moment.isoformat())
    names = list(rows.columns)
    for values in rows.astype(object).itertuples(index=False, name=None):
        yield json.dumps({n: v for n, v in zip(names, values, strict=True) if not pd.isna(v)})


def batches_of(bodies: Iterator[str], size: int) -> Iterator[str]:
    """Bodies as `/batch-predict` takes them."""
    while batch := list(itertools.islice(bodies, size)):
        yield f'{{"transactions": [{", ".join(batch)}]}}'
