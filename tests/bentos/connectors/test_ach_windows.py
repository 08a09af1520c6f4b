"""Same-day windows and banking days, against the Federal Reserve's calendar."""

import datetime as dt

import pytest

from bentos.connectors.ach.windows import EASTERN, deadline, holidays, is_banking_day


def eastern(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=EASTERN)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-03-02T09:00", "2026-03-02T10:30"),
        ("2026-03-02T10:30", "2026-03-02T10:30"),
        ("2026-03-02T10:31", "2026-03-02T14:45"),
        ("2026-03-02T16:45", "2026-03-02T16:45"),
    ],
)
def test_the_next_window_counts(now: str, due: str) -> None:
    assert deadline("", eastern(now)) == eastern(due)


@pytest.mark.parametrize("now", ["2026-03-02T16:46", "2026-02-28T09:00", "2026-07-03T20:00"])
def test_after_the_last_one_and_at_the_weekend_there_is_none(now: str) -> None:
    assert deadline("", eastern(now)) is None


def test_a_window_asked_for_counts_even_if_it_is_past() -> None:
    assert deadline("SD1300", eastern("2026-03-02T15:00")) == eastern("2026-03-02T10:30")
    assert deadline("SD1800", eastern("2026-03-02T09:00")) == eastern("2026-03-02T16:45")


def test_times_are_eastern_in_summer_and_in_winter() -> None:
    utc = dt.UTC
    winter, summer = (dt.datetime(2026, month, 6, 14, 45, tzinfo=utc) for month in (1, 7))
    assert deadline("", winter) == dt.datetime(2026, 1, 6, 15, 30, tzinfo=utc)  # 10:30 EST
    assert deadline("", summer) == dt.datetime(2026, 7, 6, 18, 45, tzinfo=utc)  # 14:45 EDT


def test_holidays_are_those_the_reserve_banks_publish() -> None:
    """Holiday schedule of Federal Reserve Financial Services for 2026 and 2027.

    One on a Saturday (2026-07-04, 2027-12-25) closes no bank on Friday.
    """
    assert sorted(day.isoformat()[5:] for day in holidays(2026)) == [
        *("01-01", "01-19", "02-16", "05-25", "06-19", "07-04"),
        *("09-07", "10-12", "11-11", "11-26", "12-25"),
    ]
    assert dt.date(2027, 7, 5) in holidays(2027)  # the Fourth is a Sunday
    assert is_banking_day(dt.date(2026, 7, 3))
    assert not is_banking_day(dt.date(2026, 9, 7))
