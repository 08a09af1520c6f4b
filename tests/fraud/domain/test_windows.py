"""Edges of windows, computed by hand."""

import pytest

from fraud.domain.windows import DAY_US, HOUR_US, LATENESS_HOPS, MINUTE_US, Window, parse_duration


@pytest.mark.parametrize(
    ("length", "hop_us"),
    [
        ("1h", 5 * MINUTE_US),
        ("12h", 5 * MINUTE_US),
        ("13h", HOUR_US),
        ("12d", HOUR_US),
        ("13d", DAY_US),
    ],
)
def test_the_hop_grows_with_the_window(length: str, hop_us: int) -> None:
    assert Window(length).hop_us == hop_us


def test_a_window_holds_the_tiles_of_both_its_ends() -> None:
    noon = 20_000 * DAY_US + 12 * HOUR_US
    assert Window("1h").tiles(noon) == (noon // (5 * MINUTE_US) - 12, noon // (5 * MINUTE_US))
    just_before_the_next_tile = noon + 5 * MINUTE_US - 1
    assert Window("1h").tiles(just_before_the_next_tile) == Window("1h").tiles(noon)
    assert Window("1h").tiles(noon - 1) == tuple(tile - 1 for tile in Window("1h").tiles(noon))


def test_a_delay_moves_the_whole_window_back() -> None:
    day = 20_000
    assert Window("60d", delay="14d").tiles(day * DAY_US) == (day - 74, day - 14)


def test_nothing_is_kept_more_than_twelve_hops_behind_the_latest_event() -> None:
    latest = 20_000 * DAY_US
    first, _ = Window("30d").tiles(latest - 20 * DAY_US, latest)
    assert first == 20_000 - 30 - LATENESS_HOPS
    in_time, _ = Window("30d").tiles(latest - 12 * DAY_US, latest)
    assert in_time == 20_000 - 12 - 30


def test_times_before_1970_fall_into_negative_tiles() -> None:
    assert Window("1h").tiles(-1)[1] == -1


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "1.5h", "7w", "7"])
def test_a_duration_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write a whole number"):
        parse_duration(text)
