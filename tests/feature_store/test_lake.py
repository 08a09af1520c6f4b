import datetime as dt
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.lake import Lake
from feature_store.observation import day_start_us, number_observations
from feature_store.schema import arrow_schema
from fraud.domain.errors import ContractError
from fraud.domain.windows import DAY_US
from fraud.types.credit_card import CREDIT_CARD

DAY = dt.date(2026, 3, 5)
NEXT = DAY + dt.timedelta(days=1)


def events(
    times: list[str], ids: Sequence[str | None] | None = None, **fields: object
) -> pd.DataFrame:
    """Card events observed at the given times of 2026-03-05, or at full times."""
    moments = [time if "T" in time else f"{DAY}T{time}" for time in times]
    count = len(moments)
    observed = pd.to_datetime(moments, utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    columns: dict[str, object] = {
        "transaction_id": ids or [f"t{place}" for place in range(count)],
        "event_time": observed,
        "observed_at": observed,
        "amount_minor": 1250,
        "user_id": "u1",
        "merchant_id": "m1",
        "merchant_category": "grocery",
        "distance_from_home_km": 1.5,
        "foreign_transaction": False,
        "card_present": True,
        "used_chip": True,
        "device_id": None,
        "cvc_check": None,
        "address_check": None,
        "three_d_secure": None,
        "country": "US",
        "latitude": None,
        "longitude": None,
        "time_zone": None,
    }
    return pd.DataFrame({**columns, **fields}, index=range(count))


@pytest.fixture(params=["disk", "memory"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """The same tests on a disk and on fsspec's memory filesystem, which has no rename."""
    if request.param == "disk":
        return Lake(str(tmp_path / "lake"))
    return Lake(f"memory://{tmp_path.name}/{request.node.name}")


def test_what_is_written_is_read_back_in_declared_types(lake: Lake) -> None:
    frame = events(["10:00:00", "11:00:00"], card_present=[True, None], device_id=["d1", None])
    assert lake.write_events(CREDIT_CARD, DAY, frame) == 2
    back = lake.events(CREDIT_CARD)
    assert list(back.columns) == arrow_schema(CREDIT_CARD, "events").names
    assert str(back["observed_at"].dtype) == "datetime64[us, UTC]"
    assert back["seq"].tolist() == [day_start_us(DAY) + hour * 3_600_000_000 for hour in (10, 11)]
    assert back["card_present"].isna().tolist() == [False, True]
    assert back["device_id"].isna().tolist() == [False, True]
    assert back["distance_from_home_km"].tolist() == [1.5, 1.5]


def test_writing_a_day_again_replaces_it(lake: Lake) -> None:
    lake.write_events(CREDIT_CARD, DAY, events(["10:00:00", "11:00:00"]))
    lake.write_events(CREDIT_CARD, NEXT, events([f"{NEXT}T08:00:00"], ["other"]))
    lake.write_events(CREDIT_CARD, DAY, events(["12:00:00"], ["fresh"]))
    assert lake.events(CREDIT_CARD)["transaction_id"].tolist() == ["fresh", "other"]


def test_a_row_keeps_the_time_it_was_first_written(lake: Lake) -> None:
    def written() -> dict[str, pd.Timestamp]:
        rows = lake.related(CREDIT_CARD, "events", {"user_id": pa.array(["u1"])}, NEXT)
        return dict(zip(rows["transaction_id"], rows["written_at"], strict=True))

    lake.write_events(CREDIT_CARD, DAY, events(["10:00", "11:00"], ["a", "b"]))
    first = written()
    lake.append(CREDIT_CARD, "events", events(["09:00"], ["late"]))
    lake.append(CREDIT_CARD, "events", events([f"{NEXT}T09:00"], ["next"]))
    later = written()
    assert {name: later[name] for name in first} == first
    assert max(first.values()) < later["late"] < later["next"]
    assert "written_at" not in lake.events(CREDIT_CARD)


def test_a_day_on_which_nothing_happened_is_a_day(lake: Lake) -> None:
    lake.write_events(CREDIT_CARD, DAY, events(["10:00:00"]).iloc[:0])
    assert lake.days(CREDIT_CARD) == [DAY]
    assert lake.events(CREDIT_CARD).empty
    assert lake.days(CREDIT_CARD, "labels") == []


def test_rows_are_ordered_by_observation_and_ties_keep_the_order_of_the_source(
    lake: Lake,
) -> None:
    lake.write_events(CREDIT_CARD, DAY, events(["10:00:01", "10:00:00", "10:00:00", "10:00:00"]))
    back = lake.events(CREDIT_CARD)
    assert back["transaction_id"].tolist() == ["t1", "t2", "t3", "t0"]
    assert np.diff(back["seq"]).tolist() == [1, 1, 999_998]


def test_a_source_read_in_pieces_ends_up_as_if_read_in_one(tmp_path: Path) -> None:
    times = ["10:00:00", "09:00:00", "10:00:00", f"{NEXT}T00:00:00", "09:00:00", "10:00:00"]
    frame = events(times)
    whole, pieces = Lake(str(tmp_path / "whole")), Lake(str(tmp_path / "pieces"))
    whole.append(CREDIT_CARD, "events", frame)
    for start in range(0, len(frame), 2):
        pieces.append(CREDIT_CARD, "events", frame.iloc[start : start + 2])
    pd.testing.assert_frame_equal(whole.events(CREDIT_CARD), pieces.events(CREDIT_CARD))


def test_reading_a_range_and_as_of_a_moment(lake: Lake) -> None:
    times = ["10:00:00", "11:00:00", f"{NEXT}T08:00:00"]
    lake.append(CREDIT_CARD, "events", events(times))
    assert lake.events(CREDIT_CARD, first=NEXT)["transaction_id"].tolist() == ["t2"]
    assert lake.events(CREDIT_CARD, last=DAY)["transaction_id"].tolist() == ["t0", "t1"]
    eleven = dt.datetime(2026, 3, 5, 11, tzinfo=dt.UTC)
    known = lake.events(CREDIT_CARD, as_of=eleven)
    assert known["transaction_id"].tolist() == ["t0"], "known before eleven, not at eleven"


def test_labels_live_on_the_day_they_were_reported(lake: Lake) -> None:
    reported = pd.to_datetime([f"{DAY}T09:00:00", f"{NEXT}T09:00:00"], utc=True)
    frame = pd.DataFrame(
        {
            "transaction_id": ["t0", "t0"],
            "is_fraud": [False, True],
            "reported_at": reported.astype("datetime64[us, UTC]"),
            "source": ["analyst", "chargeback"],
        }
    )
    lake.append(CREDIT_CARD, "labels", frame)
    assert lake.days(CREDIT_CARD, "labels") == [DAY, NEXT]
    assert lake.labels(CREDIT_CARD, last=DAY)["is_fraud"].tolist() == [False]
    assert lake.labels(CREDIT_CARD)["source"].tolist() == ["analyst", "chargeback"]


def test_a_field_the_type_gained_later_is_null_in_older_days(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.write_events(CREDIT_CARD, DAY, events(["10:00:00"]))
    (file,) = tmp_path.rglob("*.parquet")
    pd.read_parquet(file).drop(columns="country").to_parquet(file, index=False)
    assert lake.events(CREDIT_CARD)["country"].isna().all()


def test_rows_that_have_a_number_keep_it_and_the_others_step_aside(lake: Lake) -> None:
    ten = day_start_us(DAY) + 10 * 3_600_000_000
    times = ["10:00:00", "10:00:00", "10:00:00", "10:00:00", f"{NEXT}T00:00:00"]
    seq = pd.array([None, ten, None, ten + 2, ten - 1], "Int64")
    lake.write_events(CREDIT_CARD, DAY, events(times, seq=seq))
    back = lake.events(CREDIT_CARD)
    assert back["transaction_id"].tolist() == ["t4", "t1", "t0", "t3", "t2"]
    assert (back["seq"] - ten).tolist() == [-1, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (events(["10:00:00", "11:00:00"], ["same", "same"]), "same occurs twice"),
        (events([f"{NEXT}T10:00:00"]), "of another day"),
        (events(["10:00:00"]).drop(columns="user_id"), "lacks user_id"),
        (events(["10:00:00"], amount_minor="much"), "amount_minor"),
        (events(["10:00:00"], ids=[None]), "transaction_id"),
        (events(["10:00:00"], seq=[1]), "observation number 1"),
        (events(["10:00:00"] * 2, seq=[day_start_us(DAY)] * 2), "repeats"),
    ],
)
def test_frames_that_would_break_the_log_are_refused(
    tmp_path: Path, frame: pd.DataFrame, complaint: str
) -> None:
    lake = Lake(str(tmp_path))
    with pytest.raises(ContractError, match=complaint):
        lake.write_events(CREDIT_CARD, DAY, frame)
    assert lake.days(CREDIT_CARD) == []


def test_a_write_that_fails_leaves_the_day_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(str(tmp_path))
    lake.write_events(CREDIT_CARD, DAY, events(["10:00:00"]))

    def disk_full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("feature_store.lake.pq.write_table", disk_full)
    with pytest.raises(OSError, match="disk full"):
        lake.write_events(CREDIT_CARD, DAY, events(["11:00:00"], ["new"]))
    assert lake.events(CREDIT_CARD)["transaction_id"].tolist() == ["t0"]


# The last microseconds of a day matter as much as its first: both ends are drawn often.
_OFFSETS = st.one_of(
    st.integers(0, DAY_US - 1), st.integers(0, 3), st.integers(DAY_US - 4, DAY_US - 1)
)


@given(st.lists(_OFFSETS, max_size=30), st.sets(_OFFSETS, max_size=8))
def test_observation_numbers_rise_and_never_leave_their_day(
    offsets: list[int], others: set[int]
) -> None:
    start, end = day_start_us(DAY), day_start_us(DAY) + DAY_US
    observed = np.sort(np.array(offsets, dtype=np.int64)) + start
    taken = np.sort(np.array(list(others), dtype=np.int64)) + start
    seq = number_observations(observed, DAY, taken)
    assert (np.diff(seq) > 0).all()
    assert ((seq >= start) & (seq < end)).all()
    assert not np.isin(seq, taken).any()
    # Slowly: the first free number at or after the observation, while the day has room.
    expected: list[int] = []
    latest = start - 1
    for moment in observed.tolist():
        latest = max(moment, latest + 1)
        while latest in taken:
            latest += 1
        expected.append(latest)
    if not expected or expected[-1] < end:
        assert seq.tolist() == expected


def test_writers_of_one_day_wait_for_each_other(tmp_path: Path) -> None:
    """Without the lock, what one writer added is lost when the other writes what it had read."""
    lake = Lake(str(tmp_path / "lake"))

    def add(writer: int) -> None:
        for n in range(5):
            lake.append(CREDIT_CARD, "events", events([f"1{writer}:00:0{n}"], [f"t{writer}-{n}"]))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(4)))
    assert len(lake.events(CREDIT_CARD)) == 20
