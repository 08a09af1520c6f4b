import datetime as dt
import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from feature_store.lake import Lake
from feature_store.observation import day_start_us
from feature_store.tail import tail_events
from fraud.domain.errors import InvalidField, SettingsError
from fraud.domain.event import field_kinds, from_us
from fraud.domain.label import Label
from fraud.domain.windows import DAY_US
from fraud.ledger.labels import upsert_labels
from fraud.ledger.pool import ConnectionPool, transaction
from fraud.settings import load_settings
from fraud.types.credit_card import CREDIT_CARD
from orchestration.appending import append
from orchestration.delivery import open_ledger_labels
from orchestration.history import history_start, partitions_start
from orchestration.ingest import ingest_file
from orchestration.ingest_report import IngestReport
from orchestration.intake import (
    into_ledger,
    replace_labels,
    replace_transactions,
)
from orchestration.pipeline import run_pipeline
from orchestration.resources import SourceResource
from orchestration.served import served_events
from orchestration.sources.batch import Batch
from orchestration.sources.simulated import card_payments
from orchestration.sources.simulator.credit_card import CreditCardSimulation
from tests.bentos.scoring.worlds import a_request, a_scorer
from tests.protection import a_protection

KEYS = a_protection()
NOW = dt.datetime(2026, 3, 10, tzinfo=dt.UTC)
DAYS = [dt.date(2026, 3, 5), dt.date(2026, 3, 6)]
BODY: dict[str, Any] = {
    "timestamp": "2026-03-05T10:00:00Z",
    "amount": 10.0,
    "user_id": "u",
    "merchant_id": "m",
    "merchant_category": "fuel",
}


class GivenSource:
    """A source made of the rows a test gives it."""

    name = "given"
    size = None

    def __init__(
        self, *pieces: list[dict[str, Any]], labels: Sequence[tuple[Any, ...]] = ()
    ) -> None:
        self.pieces = pieces
        self.told = pd.DataFrame(
            list(labels), columns=["transaction_id", "is_fraud", "reported_at", "source"]
        )

    def batches(self, first: object = None, last: object = None) -> Any:
        start = 1
        for piece in self.pieces:
            rows = pd.DataFrame([BODY | row for row in piece])
            rows.index = pd.RangeIndex(start, start + len(rows))
            start += len(rows)
            yield Batch(rows, self.told if start == 1 + len(rows) else self.told.iloc[:0])


class Refused:
    """Remembers what was refused."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, str]] = []

    def __call__(self, source: str, rows: pd.DataFrame) -> None:
        self.rows += [
            (source, number, reason)
            for number, reason in zip(rows["row_number"], rows["reason"], strict=True)
        ]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def row(name: str, **change: Any) -> dict[str, Any]:
    return {"transaction_id": name} | change


def test_equal_rows_are_dropped_and_contradictions_refused(lake: Lake) -> None:
    pieces = (
        [row("a"), row("a"), row("b"), row("b", amount=11.0), row("c", amount=-1.0)],
        [row("a", observed_at="2026-03-05T12:00:00Z"), row("b", user_id="v"), row("d")],
    )
    refused = Refused()
    report = append(GivenSource(*pieces), CREDIT_CARD, lake, refused, NOW, KEYS)
    assert sorted(lake.events(CREDIT_CARD)["transaction_id"]) == ["a", "b", "d"]
    assert (report.rows_in, report.rows_accepted, report.rows_duplicate) == (8, 3, 2)
    assert (report.rows_quarantined, report.rows_lost) == (3, 0)
    assert [number for _, number, _ in refused.rows] == [5, 4, 7]
    assert "'b' was used before, with another amount_minor" in refused.rows[1][2]
    assert "another user_id" in refused.rows[2][2]
    assert report.refused_for == {"transaction_id": 2, "amount": 1}


def test_a_second_ingest_finds_only_duplicates(lake: Lake) -> None:
    source = GivenSource([row("a"), row("b")], labels=[("a", 1, "2026-03-06", "analyst")] * 2)
    first = append(source, CREDIT_CARD, lake, Refused(), NOW, KEYS)
    before = lake.events(CREDIT_CARD)
    second = append(source, CREDIT_CARD, lake, Refused(), NOW, KEYS)
    assert (first.rows_accepted, first.labels, first.labels_duplicate) == (2, 1, 1)
    assert (second.rows_accepted, second.rows_duplicate) == (0, 2)
    assert (second.labels, second.labels_duplicate, second.labels_lost) == (0, 2, 0)
    pd.testing.assert_frame_equal(lake.events(CREDIT_CARD), before)
    assert len(lake.labels(CREDIT_CARD)) == 1


def test_replacing_days_leaves_other_days_alone_and_can_be_repeated(lake: Lake) -> None:
    append(
        GivenSource([row("old", timestamp="2026-03-04T10:00:00Z")]),
        CREDIT_CARD,
        lake,
        Refused(),
        NOW,
        KEYS,
    )
    append(GivenSource([row("stale")]), CREDIT_CARD, lake, Refused(), NOW, KEYS)
    rows = [row("a"), row("old", amount=2.0), row("far", timestamp="2026-03-08T10:00:00Z")]
    for _ in range(2):
        refused = Refused()
        report = replace_transactions(
            GivenSource(rows), CREDIT_CARD, lake, refused, NOW, DAYS, KEYS
        )
        assert (report.rows_in, report.rows_accepted, report.rows_lost) == (2, 1, 0)
        assert "old" in refused.rows[0][2], "an id used on a day that is not replaced"
    assert lake.events(CREDIT_CARD)["transaction_id"].tolist() == ["old", "a"]
    assert lake.days(CREDIT_CARD) == [dt.date(2026, 3, 4), *DAYS], "also the day without events"


def test_what_the_service_decided_comes_first_and_keeps_its_numbers(
    lake: Lake, ledger_pool: ConnectionPool
) -> None:
    ten = day_start_us(DAYS[0]) + 10 * 3_600_000_000
    fields: dict[str, str | None] = dict.fromkeys(field_kinds(CREDIT_CARD.transaction))
    fields |= {"user_id": "u", "merchant_id": "m", "merchant_category": "fuel"}
    with ledger_pool.transaction() as cursor:
        for place, name in enumerate(["live", "same", "tomorrow"]):
            seq = ten + place + (DAY_US * 5 if name == "tomorrow" else 0)
            moment = from_us(ten)
            cursor.execute(
                "INSERT INTO transactions (transaction_id, timestamp, amount, user_id,"
                " merchant_id, fraud_type, seq, observed_at, amount_minor, body_digest, fields)"
                " VALUES (%s, %s, 10, 'u', 'm', 'credit_card', %s, %s, 1000, '', %s)",
                (name, moment.replace(tzinfo=None), seq, from_us(seq), json.dumps(fields)),
            )
        told = [Label("same", True, ten + DAY_US, "analyst")]
        upsert_labels(cursor, "credit_card", told, ten + DAY_US + 1)
    events = served_events(ledger_pool, CREDIT_CARD, DAYS[0], DAYS[-1])
    assert events["transaction_id"].tolist() == ["live", "same"]
    source = GivenSource(
        [row("same"), row("new"), row("live", amount=99.0)],
        labels=[("same", True, from_us(ten + DAY_US), "analyst")],
    )
    refused = Refused()
    for _ in range(2):
        report = replace_transactions(source, CREDIT_CARD, lake, refused, NOW, DAYS, KEYS, events)
        assert (report.rows_served, report.rows_accepted, report.rows_duplicate) == (2, 1, 1)
        assert report.rows_lost == 0
    assert "another amount_minor" in refused.rows[0][2]
    back = lake.events(CREDIT_CARD)
    assert back["transaction_id"].tolist() == ["live", "same", "new"]
    assert (back["seq"] - ten).tolist() == [0, 1, 2]
    with open_ledger_labels(ledger_pool, CREDIT_CARD) as ledger:
        known = replace_labels(source, CREDIT_CARD, lake, refused, NOW, DAYS, ledger)
    assert (known.labels_served, known.labels, known.labels_duplicate) == (1, 0, 1)
    assert lake.labels(CREDIT_CARD)["seq"].tolist() == [ten + DAY_US + 1]


def test_a_field_gained_since_is_null_in_what_the_service_decided_before(
    ledger_pool: ConnectionPool,
) -> None:
    seq = day_start_us(DAYS[0])
    fields = {"user_id": "u", "merchant_id": "m", "merchant_category": "fuel"}
    with ledger_pool.transaction() as cursor:
        cursor.execute(
            "INSERT INTO transactions (transaction_id, timestamp, amount, user_id, merchant_id,"
            " fraud_type, seq, observed_at, amount_minor, body_digest, fields)"
            " VALUES ('old', %s, 10, 'u', 'm', 'credit_card', %s, %s, 1000, '', %s)",
            (from_us(seq).replace(tzinfo=None), seq, from_us(seq), json.dumps(fields)),
        )
        events = {
            each.event.transaction_id: each.event
            for each in tail_events(cursor, CREDIT_CARD, seq - 1)
        }
    assert (
        dict(events["old"].fields) == dict.fromkeys(field_kinds(CREDIT_CARD.transaction)) | fields
    )
    back = served_events(ledger_pool, CREDIT_CARD, DAYS[0], DAYS[0]).set_index("transaction_id")
    assert pd.isna(back.loc["old", "latitude"])


def test_a_label_of_a_decided_transaction_is_logged_under_the_number_it_acted_with(
    lake: Lake, new_ledger: Callable[[], str]
) -> None:
    """The service knew of it at its delivery, whatever day the source says it was reported."""
    pool, refused = ConnectionPool(new_ledger()), Refused()
    reported = from_us(day_start_us(DAYS[0]) + 3_600_000_000)
    told = [
        ("served", True, reported, "chargeback"),
        ("served", True, reported, "chargeback"),
        ("other", True, reported, "chargeback"),
    ]
    contradiction = [("served", False, reported, "chargeback")]
    try:
        with a_scorer(pool, None) as scorer:
            scorer.score([a_request("served")])
        with open_ledger_labels(pool, CREDIT_CARD) as ledger:

            def replace(labels: list[tuple], days: list[dt.date]) -> IngestReport:
                source = GivenSource([row("other")], labels=labels)
                report = replace_labels(source, CREDIT_CARD, lake, refused, NOW, days, ledger)
                assert report.labels_lost == 0
                return report

            first = replace(told, DAYS)
            again = replace(told, DAYS)
            assert lake.labels(CREDIT_CARD)["transaction_id"].tolist() == ["other"]
            refusing = replace(contradiction, DAYS)
            today = dt.datetime.now(dt.UTC).date()
            replace([], [today - dt.timedelta(days=1), today])
        with pool.transaction() as cursor:
            cursor.execute("SELECT seq FROM labels")
            ((seq,),) = cursor.fetchall()
            cursor.execute("SELECT max(last_seq) FROM entity_state")
            assert cursor.fetchall() == [(seq,)]
    finally:
        pool.close()
    assert (first.labels, first.labels_delivered, first.labels_duplicate) == (2, 1, 1)
    assert (again.labels, again.labels_delivered, again.labels_duplicate) == (1, 0, 2)
    assert (refusing.labels, refusing.labels_quarantined) == (0, 1)
    assert "other verdict" in refused.rows[-1][2]
    logged = lake.labels(CREDIT_CARD)
    assert logged[["transaction_id", "seq"]].values.tolist() == [["served", seq]]


def test_labels_that_say_nothing_usable_are_refused(lake: Lake) -> None:
    told = [
        ("a", True, "2026-03-06T10:00:00Z", "chargeback"),
        ("a", True, "2026-03-06T10:00:00Z", "chargeback"),
        ("b", "perhaps", "2026-03-06T10:00:00Z", "chargeback"),
        ("c", True, "2026-03-11T10:00:00Z", "chargeback"),
        ("d", True, "2026-03-06T10:00:00Z", "gossip"),
        ("e e", True, "2026-03-06T10:00:00Z", "analyst"),
        ("f", True, None, "analyst"),
        ("g", False, "2026-03-09T10:00:00Z", "analyst"),
    ]
    refused = Refused()
    source = GivenSource([row("a")], labels=told)
    report = replace_labels(source, CREDIT_CARD, lake, refused, NOW, DAYS)
    assert (report.labels_in, report.labels, report.labels_duplicate) == (7, 1, 1)
    assert (report.labels_quarantined, report.labels_lost) == (5, 0)
    reasons = [reason for _, _, reason in refused.rows]
    for reason, word in zip(
        reasons,
        ["is_fraud 'perhaps'", "in the future", "gossip", "'e e'", "reported_at"],
        strict=True,
    ):
        assert word in reason


def test_nothing_is_ever_lost(lake: Lake, tmp_path: Path) -> None:
    """Random spoiling of a simulated day: the account always adds up, piece by piece."""
    world = CreditCardSimulation(start=DAYS[0], days=2, customers=60, merchants=120)
    for batch in card_payments(world).batches():
        records = batch.transactions.astype(object).to_dict("records")
    rows = [{str(name): cell for name, cell in record.items()} for record in records]
    rng = random.Random(5)
    for each in rng.sample(rows, 40):
        each[rng.choice(["amount", "user_id", "timestamp", "country"])] = rng.choice(
            [None, "?", -1, "", 1e12]
        )
    rows += [dict(each) for each in rng.sample(rows, 20)]
    rng.shuffle(rows)
    cuts = sorted(rng.sample(range(1, len(rows)), 3))
    pieces = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    source = GivenSource(*pieces)
    refused = Refused()
    report = append(source, CREDIT_CARD, lake, refused, NOW, KEYS)
    assert report.rows_in == len(rows)
    assert report.rows_lost == 0
    assert report.rows_quarantined == len(refused.rows) > 0
    assert report.rows_accepted == len(lake.events(CREDIT_CARD))
    again = Lake(str(tmp_path / "again"))
    replaced = replace_transactions(
        GivenSource(rows), CREDIT_CARD, again, Refused(), NOW, DAYS, KEYS
    )
    assert replaced.rows_lost == 0


def test_refused_rows_are_kept_in_the_ledger(lake: Lake, ledger_url: str) -> None:
    keep = into_ledger(ledger_url, CREDIT_CARD, "run-1", KEYS)
    bad = row("c", amount=float("inf"), user_id="a\0b")
    append(GivenSource([row("a"), bad]), CREDIT_CARD, lake, keep, NOW, KEYS)
    with transaction(ledger_url) as cursor:
        cursor.execute("SELECT fraud_type, source, row_number, raw, reason FROM quarantine")
        ((fraud_type, source, number, raw, reason),) = cursor.fetchall()
    assert (fraud_type, source, number) == ("credit_card", "given", 2)
    assert raw["transaction_id"] == "c"
    assert reason.startswith("amount inf")


def test_ingesting_a_file_by_hand(tmp_path: Path, ledger_url: str) -> None:
    settings = load_settings(run_dir=tmp_path / "run", database_url=ledger_url)
    file, mapping = tmp_path / "shop.csv", tmp_path / "shop.yaml"
    file.write_text("id,at,eur,u,m,bad\n1,2020-05-01,1.50,u,m,1\n2,2020-05-03,x,u,m,0\n")
    mapping.write_text(
        "transaction: {transaction_id: id, timestamp: at, amount: eur, user_id: u,\n"
        "  merchant_id: m, merchant_category: {constant: fuel}}\n"
        "label: {is_fraud: bad, report_delay: 7d}\n"
    )
    shown = io.StringIO()
    report = ingest_file(
        settings, "credit_card", file, mapping, console=Console(file=shown, width=100), now=NOW
    )
    assert isinstance(report, IngestReport)
    assert (report.rows_in, report.rows_accepted, report.rows_quarantined) == (2, 1, 1)
    assert (report.labels, report.first_day) == (1, dt.date(2020, 5, 1))
    assert "Ingested shop.csv" in shown.getvalue()
    events = Lake(settings.lake_url).events(CREDIT_CARD)
    assert events["amount_minor"].tolist() == [150]
    today = NOW.date()
    assert partitions_start(settings, CREDIT_CARD, today) == dt.date(2020, 5, 1)
    assert history_start(settings, CREDIT_CARD, today) == today - dt.timedelta(
        settings.history_days
    )
    later = today + dt.timedelta(days=30)
    assert history_start(settings, CREDIT_CARD, later).month == 10, "fixed the first time"


def test_simulated_days_never_replace_those_of_a_file(tmp_path: Path, ledger_url: str) -> None:
    """A range before the simulated world is empty: writing it would delete the file's rows."""
    settings = load_settings(run_dir=tmp_path / "run", database_url=ledger_url)
    source = SourceResource(settings=settings)
    assert source.open(CREDIT_CARD, NOW.date()) is not None
    file, mapping = tmp_path / "shop.csv", tmp_path / "shop.yaml"
    file.write_text("id,at,eur\n1,2020-05-01,1.50\n2,2020-05-09,2.50\n")
    mapping.write_text(
        "transaction: {transaction_id: id, timestamp: at, amount: eur, user_id: {constant: u},\n"
        "  merchant_id: {constant: m}, merchant_category: {constant: fuel}}\n"
    )
    ingest_file(settings, "credit_card", file, mapping, console=Console(quiet=True), now=NOW)
    with pytest.raises(SettingsError, match="--source lake"):
        source.open(CREDIT_CARD, NOW.date())
    shown = io.StringIO()
    told = run_pipeline(
        settings, "credit_card", today=NOW.date(), console=Console(file=shown, width=100)
    )
    assert "the whole loop over 9 days, 2020-05-01 to 2020-05-09" in shown.getvalue()
    assert told.metadata["transactions"]["source"] == "lake"
    assert not told.success, "two payments are too few to learn from"
    assert Lake(settings.lake_url).events(CREDIT_CARD)["amount_minor"].tolist() == [150, 250]


def test_a_missing_column_stops_an_ingest_before_anything_is_written(
    tmp_path: Path, ledger_url: str
) -> None:
    settings = load_settings(run_dir=tmp_path / "run", database_url=ledger_url)
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(InvalidField, match="TRANSACTION_ID: the mapping names this column"):
        ingest_file(
            settings,
            "credit_card",
            file,
            Path("examples/handbook.yaml"),
            console=Console(quiet=True),
        )
    assert Lake(settings.lake_url).days(CREDIT_CARD) == []
