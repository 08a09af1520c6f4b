"""FedACH's same-day windows, and the days on which there are any. All times are Eastern.

Federal Reserve Financial Services, FedACH Processing Schedule; Nacha Operating Rules on Same
Day ACH: what reaches the operator by a deadline, asks for no later day, is not above the limit
and not international settles on the same banking day.
"""

import datetime as dt
from dataclasses import dataclass
from functools import cache
from zoneinfo import ZoneInfo

EASTERN = ZoneInfo("America/New_York")

SAME_DAY_LIMIT_MINOR = 100_000_000
"""1,000,000 dollars per entry."""

EXCLUDED = frozenset({"IAT", "ENR"})
"""Entry classes that never settle on the same day."""


@dataclass(frozen=True)
class Window:
    """A same-day window.

    Attributes:
        deadline: when a file must be there.
        settlement: when money moves.
        marker: what a company descriptive date says to ask for it.
    """

    deadline: dt.time
    settlement: dt.time
    marker: str

    def closes(self, day: dt.date) -> dt.datetime:
        """Its deadline on a day."""
        return dt.datetime.combine(day, self.deadline, EASTERN)


WINDOWS = (
    Window(dt.time(10, 30), dt.time(13), "SD1300"),
    Window(dt.time(14, 45), dt.time(17), "SD1700"),
    Window(dt.time(16, 45), dt.time(18), "SD1800"),
)


def deadline(marker: str, now: dt.datetime) -> dt.datetime | None:
    """By when an entry that wants the same day has to be there.

    Args:
        marker: its company descriptive date; without a window in it any window will do.
        now: the time.

    Returns:
        The deadline of the window asked for, be it past or not; else that of the next one
        today; None where there is none any more, or today is no banking day.
    """
    local = now.astimezone(EASTERN)
    today = local.date()
    if not is_banking_day(today):
        return None
    named = [window for window in WINDOWS if window.marker == marker]
    if named:
        return named[0].closes(today)
    return next((w.closes(today) for w in WINDOWS if w.closes(today) >= local), None)


def is_banking_day(day: dt.date) -> bool:
    """Whether the Federal Reserve Banks are open."""
    return day.weekday() < 5 and day not in holidays(day.year)


@cache
def holidays(year: int) -> frozenset[dt.date]:
    """Holidays of the Federal Reserve Banks; one on a Sunday moves to Monday, no other moves."""
    fixed = [(1, 1), (6, 19), (7, 4), (11, 11), (12, 25)]
    days = [dt.date(year, month, day) for month, day in fixed]
    moved = [day + dt.timedelta(days=1) if day.weekday() == 6 else day for day in days]
    monday, thursday = 0, 3
    nth = [(1, monday, 3), (2, monday, 3), (9, monday, 1), (10, monday, 2), (11, thursday, 4)]
    last_of_may = dt.date(year, 5, 31)
    memorial = last_of_may - dt.timedelta(days=last_of_may.weekday())
    return frozenset([*moved, memorial, *(_nth(year, *each) for each in nth)])


def _nth(year: int, month: int, weekday: int, number: int) -> dt.date:
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))
