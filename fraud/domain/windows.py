"""What a window is: the only place where its edges are computed.

A window of length `W` is made of tiles. A tile is an aligned piece of the time line,
`hop` long, numbered `floor(time / hop)`. For an event at time `t` the window, delayed by
`d`, holds the tiles

    floor((t - d - W) / hop)  ..  floor((t - d) / hop)        both ends included

and, so that the state of an entity stays bounded, none below the horizon

    floor((T - d - W) / hop) - LATENESS_HOPS

where `T` is the latest event time the entity had shown before. All times are integer
microseconds since 1970-01-01 UTC, so every division here is exact floor division.
"""

from dataclasses import dataclass

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

LATENESS_HOPS = 12
"""Tiles kept behind a window's start for events that arrive late."""

_UNITS = {"m": MINUTE_US, "h": HOUR_US, "d": DAY_US}


def hop_us(length_us: int) -> int:
    """The tile length of a window: 5 min up to 12 h, 1 h up to 12 d, else 1 day (in us)."""
    if length_us <= 12 * HOUR_US:
        return 5 * MINUTE_US
    if length_us <= 12 * DAY_US:
        return HOUR_US
    return DAY_US


def parse_duration(text: str) -> int:
    """Microseconds of a duration such as `30m`, `1h` or `7d`.

    Raises:
        ValueError: the text is not a positive whole number followed by m, h or d.
    """
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdigit() or int(number) == 0:
        raise ValueError(f"{text!r} is not a duration; write a whole number and m, h or d: '7d'")
    return int(number) * _UNITS[unit]


@dataclass(frozen=True, order=True)
class Window:
    """A tiled window, e.g. `Window("7d")`, or `Window("60d", delay="14d")` for a baseline.

    Attributes:
        length: duration `W`.
        delay: duration `d` by which the whole window lies in the past.
    """

    length: str
    delay: str = ""

    @property
    def length_us(self) -> int:
        """Length `W` in microseconds."""
        return parse_duration(self.length)

    @property
    def delay_us(self) -> int:
        """Delay `d` in microseconds."""
        return parse_duration(self.delay) if self.delay else 0

    @property
    def hop_us(self) -> int:
        """Tile length in microseconds."""
        return hop_us(self.length_us)

    @property
    def name(self) -> str:
        """How the window is written in feature names: `7d`, or `60d_ago_14d` when delayed."""
        return f"{self.length}_ago_{self.delay}" if self.delay else self.length

    def tiles(self, time_us: int, latest_us: int | None = None) -> tuple[int, int]:
        """First and last tile of the window of an event, both included.

        Args:
            time_us: event time `t`.
            latest_us: latest event time `T` the entity had shown before, if any.
        """
        hop, reach = self.hop_us, self.delay_us + self.length_us
        first = (time_us - reach) // hop
        if latest_us is not None:
            first = max(first, (latest_us - reach) // hop - LATENESS_HOPS)
        return first, (time_us - self.delay_us) // hop
