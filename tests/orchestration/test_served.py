"""An installation without another source: its log grows by what its own service saw."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from feature_store.lake import Lake
from fraud.domain.event import from_us
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD
from orchestration.appending import append
from orchestration.assets.ingest import ingest_days
from orchestration.assets.labels import ingest_label_days
from tests.bentos.scoring.worlds import a_request, a_scorer
from tests.orchestration.test_intake import KEYS, NOW, GivenSource, Refused, row


def test_nights_without_a_source_add_what_the_service_saw(
    tmp_path: Path, new_ledger: Callable[[], str]
) -> None:
    lake, pool = Lake(str(tmp_path / "lake")), ConnectionPool(new_ledger())
    before = dt.datetime(2026, 3, 6, 10, tzinfo=dt.UTC)
    history = GivenSource(
        [row("old", observed_at=before.isoformat())],
        labels=[
            ("old", True, before, "chargeback"),
            ("served", True, before, "chargeback"),
        ],
    )
    append(history, CREDIT_CARD, lake, Refused(), NOW, KEYS)
    first = lake.events(CREDIT_CARD)
    with a_scorer(pool, None) as scorer:
        scorer.score([a_request("served"), a_request("served too")])
    today = dt.datetime.now(dt.UTC).date()
    days = [before.date() + dt.timedelta(days=n) for n in range((today - before.date()).days + 1)]

    for _ in range(2):  # a night that is repeated changes nothing
        events = ingest_days(None, CREDIT_CARD, lake, pool, KEYS, "run", NOW, days)
        labels = ingest_label_days(None, CREDIT_CARD, lake, pool, KEYS, "run", NOW, days)
        assert (events.rows_served, events.rows_lost) == (2, 0)
        assert labels.labels_served == 1
        known = lake.events(CREDIT_CARD)
        assert known["transaction_id"].tolist() == ["old", "served", "served too"]
        pd.testing.assert_frame_equal(known.iloc[:1], first)
        told = lake.labels(CREDIT_CARD)
        assert told["transaction_id"].tolist() == ["old", "served"]
        assert told["seq"].map(from_us).dt.date.tolist() == [before.date(), today]
    pool.close()
