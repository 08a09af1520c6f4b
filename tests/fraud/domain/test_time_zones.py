"""Offsets of time zones: those of the IANA rules, to the second, one by one or in columns."""

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from feature_store.inputs import TIME, ColumnInputs
from fraud.domain.event import EARLIEST, LATEST, to_us
from fraud.domain.features import Calendar, Texts
from fraud.domain.time_zones import (
    known_zone,
    utc_offset_of,
    utc_offset_us,
    utc_offsets_us,
    zone_names,
    zone_offsets,
)

# DST in the north and south, by half an hour, on odd minutes, in Ramadan, once, and never.
ZONES = (
    *("Europe/Paris", "America/Santiago", "Australia/Lord_Howe", "America/St_Johns"),
    *("Africa/Casablanca", "Africa/Cairo", "Asia/Gaza", "Asia/Tehran", "Pacific/Apia"),
    *("Asia/Pyongyang", "America/Caracas", "Asia/Kathmandu", "UTC", "Etc/GMT+12"),
)


def by_zoneinfo(time_us: int, zone: str) -> int:
    moment = dt.datetime.fromtimestamp(time_us // 1_000_000, tz=ZoneInfo(zone))
    return (moment.utcoffset() or dt.timedelta(0)) // dt.timedelta(microseconds=1)


@pytest.mark.parametrize("zone", ZONES)
def test_offsets_are_those_of_the_rules(zone: str) -> None:
    rng = np.random.default_rng(3)
    changes = zone_offsets(zone).changes_us
    around = [changes + step for step in (-1_000_000, -1, 0, 1)]
    somewhere = rng.integers(to_us(EARLIEST), to_us(LATEST), 2_000)
    recent = rng.integers(to_us(EARLIEST), 2_000_000_000_000_000, 2_000)
    times = np.concatenate([*around, somewhere, recent])
    found = utc_offset_us(times, zone)
    assert found.tolist() == [by_zoneinfo(time, zone) for time in times.tolist()]
    assert found.tolist() == [utc_offset_of(time, zone) for time in times.tolist()]


def test_every_zone_has_offsets() -> None:
    march = np.array([to_us(dt.datetime(2026, 3, 1, tzinfo=dt.UTC))])
    assert {"Europe/Paris", "UTC", "America/New_York"} <= zone_names()
    for zone in sorted(zone_names())[::40]:
        assert utc_offset_us(march, zone)[0] == by_zoneinfo(int(march[0]), zone)


def test_each_time_has_its_own_zone_and_null_the_declared_one() -> None:
    rng = np.random.default_rng(4)
    times = rng.integers(to_us(EARLIEST), to_us(LATEST), 500)
    codes = rng.integers(-1, len(ZONES), 500)
    found = utc_offsets_us(times, (codes, list(ZONES)), "Asia/Tokyo")
    names = [*ZONES, "Asia/Tokyo"]
    for time, code, offset in zip(times.tolist(), codes.tolist(), found.tolist(), strict=True):
        assert offset == by_zoneinfo(time, names[code])


def test_a_name_that_is_no_zone_is_refused() -> None:
    assert known_zone("Europe/Paris") == "Europe/Paris"
    with pytest.raises(ValueError, match="is not an IANA time zone"):
        known_zone("Europe/Atlantis")


def hours(times: list[str], zones: Texts) -> list[float]:
    """Local hours of UTC times by a calendar that looks at the field `time_zone`."""
    time_us = np.array([to_us(dt.datetime.fromisoformat(f"{each}Z")) for each in times])
    inputs = ColumnInputs({TIME: time_us}, {}, {"time_zone": zones}, {}, {})
    calendar = Calendar(part="hour", zone="America/New_York", field="time_zone")
    found: list[float] = calendar.finish(inputs).tolist()
    return found


def test_the_clock_jumps_where_daylight_saving_begins_and_ends() -> None:
    paris = Texts(np.array([0, 0, 0, 0, -1]), ["Europe/Paris"])
    times = ["2026-03-29T00:59:59", "2026-03-29T01:00:00", "2026-10-25T00:59:59"]
    times += ["2026-10-25T01:00:00", "2026-03-29T00:59:59"]
    assert hours(times, paris) == [1.0, 3.0, 2.0, 2.0, 20.0]
