"""Yesterday's frame can be built again tomorrow, byte for byte."""

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from feature_store.lake import Lake
from feature_store.offline import build_frame
from fraud.domain.event import to_us
from fraud.types.credit_card import CREDIT_CARD
from orchestration.appending import append
from orchestration.frames import FrameInfo, FrameStore
from orchestration.sources.simulated import card_payments
from orchestration.sources.simulator.credit_card import CreditCardSimulation
from tests.protection import a_protection

WORLD = CreditCardSimulation(
    start=dt.date(2026, 3, 1),
    days=20,
    customers=40,
    merchants=40,
    grid_km=6,
    compromised_customers_share=0.05,
    late_share=0.2,
    late_max_s=80_000,
)
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
MOMENT = dt.datetime(2026, 3, 15, 13, 30, tzinfo=dt.UTC)
"""In the middle of a day, so that days that were written are only known in part."""


def files_as_of(lake: Lake, moment: dt.datetime, folder: Path) -> dict[str, bytes]:
    """The training frame of what was known at a moment, as the bytes of its files."""
    events = lake.events(CREDIT_CARD, as_of=moment)
    labels = lake.labels(CREDIT_CARD, as_of=moment)
    frame = build_frame(CREDIT_CARD, events, labels)
    days = frame["observed_at"].dt.date
    info = FrameInfo(CREDIT_CARD.name, CREDIT_CARD.schema_hash, days.min(), days.max(), moment)
    FrameStore(str(folder)).write(frame, labels, info)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def part(events: pd.DataFrame, labels: pd.DataFrame, until: dt.datetime, lake: Lake) -> None:
    """Write what had been observed before a moment."""
    for stream, rows, moment in (
        ("events", events, events["observed_at"]),
        ("labels", labels, labels["reported_at"]),
    ):
        lake.append(CREDIT_CARD, stream, rows[moment < until].drop(columns="seq"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("whole")))
    append(card_payments(WORLD), CREDIT_CARD, lake, lambda source, rows: None, NOW, a_protection())
    return lake


def test_later_events_and_labels_leave_yesterdays_frame_as_it_was(
    whole: Lake, tmp_path: Path
) -> None:
    events, labels = whole.events(CREDIT_CARD), whole.labels(CREDIT_CARD)
    lake = Lake(str(tmp_path / "lake"))
    part(events, labels, MOMENT, lake)
    before = files_as_of(lake, MOMENT, tmp_path / "before")
    later_events = events[events["observed_at"] >= MOMENT].drop(columns="seq")
    later_labels = labels[labels["reported_at"] >= MOMENT].drop(columns="seq")
    assert (later_events["event_time"] < MOMENT).any(), "none was late: nothing is proved"
    known = lake.events(CREDIT_CARD)["transaction_id"]
    assert (later_labels["is_fraud"] & later_labels["transaction_id"].isin(known)).any()
    lake.append(CREDIT_CARD, "events", later_events)
    lake.append(CREDIT_CARD, "labels", later_labels)
    assert len(lake.events(CREDIT_CARD)) == len(events)
    again = files_as_of(Lake(lake.url), MOMENT, tmp_path / "again")
    assert list(again) == ["frame.parquet", "info.json", "labels.parquet"]
    assert again == before
    assert files_as_of(lake, NOW, tmp_path / "now") != before


def test_a_label_told_to_the_platform_later_stands_on_a_later_day(
    whole: Lake, tmp_path: Path
) -> None:
    """It says it was reported yesterday; the platform knows of it only since tomorrow."""
    events, labels = whole.events(CREDIT_CARD), whole.labels(CREDIT_CARD)
    lake = Lake(str(tmp_path / "lake"))
    part(events, labels, MOMENT, lake)
    before = files_as_of(lake, MOMENT, tmp_path / "before")
    tomorrow = MOMENT + dt.timedelta(days=1)
    row = {
        "transaction_id": lake.events(CREDIT_CARD)["transaction_id"].iloc[3],
        "is_fraud": True,
        "reported_at": MOMENT - dt.timedelta(hours=9),
        "source": "chargeback",
        "seq": to_us(tomorrow),
    }
    told = pd.DataFrame([row]).astype(labels.dtypes.to_dict())
    lake.write_labels(CREDIT_CARD, tomorrow.date(), told)
    assert files_as_of(lake, MOMENT, tmp_path / "again") == before
    assert len(lake.labels(CREDIT_CARD, as_of=tomorrow + dt.timedelta(hours=1))) == 1 + len(
        lake.labels(CREDIT_CARD, as_of=MOMENT)
    )
