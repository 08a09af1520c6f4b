"""A naive third execution of the feature contract, to judge the other two by.

It reads `feature_store/CONTRACT.md` only: every feature is recomputed from the whole log by
plain loops, from its name. It shares no code with the product; be slow here, never clever.
"""

import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

SECOND = 1_000_000
UNIT = {"h": 3600 * SECOND, "d": 86_400 * SECOND}
MATURITY = 7 * 86_400 * SECOND
YEAR = 366 * 86_400.0
REMEMBERED = 64
RADIUS_M = 6_371_008.8
ENTITIES = {
    "user": ("user_id",),
    "merchant": ("merchant_id",),
    "user_merchant": ("user_id", "merchant_id"),
    "user_device": ("user_id", "device_id"),
    "device": ("device_id",),
}
CATEGORIES = (
    *("grocery", "restaurant", "fuel", "electronics", "clothing", "travel", "entertainment"),
    *("health", "home", "online_retail", "digital_goods", "cash_advance"),
)


@dataclass
class Seen:
    """An event of the log: `body` holds its fields, amounts in minor units."""

    seq: int
    time: int
    transaction_id: str
    amount: int
    body: dict[str, Any]


@dataclass
class Known:
    """A fraud label of the log."""

    seq: int
    reported: int
    transaction_id: str


@dataclass
class Log:
    """Everything observed, in any order; `seq` says in which it was."""

    events: list[Seen] = field(default_factory=list)
    labels: list[Known] = field(default_factory=list)


def duration(text: str) -> int:
    return int(text[:-1]) * UNIT[text[-1]]


def hop_of(length: int) -> int:
    if length <= 12 * UNIT["h"]:
        return 300 * SECOND
    return UNIT["h"] if length <= 12 * UNIT["d"] else UNIT["d"]


def log_amount(amount: int) -> int:
    return round(10_000 * math.log1p(amount / 100))


def central_angle(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Angle between two places seen from the earth's centre, by Vincenty's formula of 1975."""
    north, other_north = math.radians(one["latitude"]), math.radians(other["latitude"])
    east = math.radians(other["longitude"]) - math.radians(one["longitude"])
    across = math.cos(other_north) * math.sin(east)
    along = math.cos(north) * math.sin(other_north)
    along -= math.sin(north) * math.cos(other_north) * math.cos(east)
    inwards = math.sin(north) * math.sin(other_north)
    inwards += math.cos(north) * math.cos(other_north) * math.cos(east)
    return math.atan2(math.hypot(across, along), inwards)


class Oracle:
    """Answers for one event what every feature must be."""

    def __init__(self, log: Log, event: Seen) -> None:
        self.event = event
        self.before = sorted(
            (other for other in log.events if other.seq < event.seq), key=lambda e: e.seq
        )
        by_id = {other.transaction_id: other for other in log.events}
        first: dict[str, Known] = {}
        for label in sorted(log.labels, key=lambda known: known.seq):
            about = by_id.get(label.transaction_id)
            if about is not None and label.seq > about.seq:
                first.setdefault(label.transaction_id, label)
        self.labels = [label for label in first.values() if label.seq < event.seq]
        self.by_id = by_id

    def has(self, entity: str) -> bool:
        return all(self.event.body[name] is not None for name in ENTITIES[entity])

    def same(self, entity: str, other: Seen) -> bool:
        return all(other.body[name] == self.event.body[name] for name in ENTITIES[entity])

    @cache  # noqa: B019 - an oracle lives for one event
    def history(self, entity: str) -> list[Seen]:
        return [other for other in self.before if self.same(entity, other)]

    def about(self, entity: str) -> list[Known]:
        return [
            label for label in self.labels if self.same(entity, self.by_id[label.transaction_id])
        ]

    def reaches(self, entity: str, moment: int, length: int, delay: int) -> bool:
        hop = hop_of(length)
        tile = moment // hop
        if not (self.event.time - delay - length) // hop <= tile:
            return False
        if not tile <= (self.event.time - delay) // hop:
            return False
        latest = self.latest(entity)
        return latest is None or tile >= (latest - delay - length) // hop - 12

    @cache  # noqa: B019
    def latest(self, entity: str) -> int | None:
        return max((other.time for other in self.history(entity)), default=None)

    def window(self, entity: str, length: str, delay: str = "0d") -> list[Seen]:
        return [
            other
            for other in self.history(entity)
            if self.reaches(entity, other.time, duration(length), duration(delay))
        ]

    def labels_in(self, entity: str, length: str) -> int:
        return sum(
            self.reaches(entity, label.reported, duration(length), 0)
            for label in self.about(entity)
        )

    def feature(self, name: str) -> float:
        for pattern, answer in FEATURES:
            match = re.fullmatch(pattern, name)
            if match:
                groups = match.groupdict()
                entity = groups.get("entity")
                if entity is not None and not self.has(entity):
                    return (
                        1.0
                        if "ratio" in name and "amount" in name
                        else (YEAR if "seconds" in name else 0.0)
                    )
                return float(answer(self, **groups))
        raise AssertionError(f"the oracle does not know {name}")

    # one method per family; the names of their parameters are groups of the patterns

    def own(self, name: str) -> float:
        if name == "amount":
            return self.event.amount / 100
        value = self.event.body[name]
        return -1.0 if value is None else float(value)

    def category(self) -> float:
        name = self.event.body["merchant_category"]
        return float(CATEGORIES.index(name)) if name in CATEGORIES else -1.0

    def calendar(self, part: str) -> float:
        zone = self.event.body["time_zone"]
        moment = datetime.fromtimestamp(self.event.time // SECOND, tz=ZoneInfo(zone or "UTC"))
        return float(
            {
                "local_hour": moment.hour,
                "local_weekday": moment.weekday(),
                "is_weekend": moment.weekday() >= 5,
                "is_night": moment.hour <= 6,
            }[part]
        )

    def count(self, entity: str, length: str) -> float:
        return len(self.window(entity, length))

    def amount_sum(self, entity: str, length: str) -> float:
        return sum(other.amount for other in self.window(entity, length))

    def amount_mean(self, entity: str, length: str) -> float:
        found = self.window(entity, length)
        return sum(other.amount for other in found) / len(found) if found else 0.0

    def amount_ratio(self, entity: str, length: str, delay: str | None) -> float:
        found = self.window(entity, length, delay or "0d")
        total = sum(other.amount for other in found)
        return (self.event.amount * len(found)) / total if total > 0 else 1.0

    def amount_zscore(self, entity: str, length: str, delay: str | None) -> float:
        logs = [log_amount(other.amount) for other in self.window(entity, length, delay or "0d")]
        n, total, squares = len(logs), sum(logs), sum(value * value for value in logs)
        spread = float(n) * float(squares) - float(total) * float(total)
        if n < 2 or spread <= 0:
            return 0.0
        score = (float(n) * float(log_amount(self.event.amount)) - float(total)) / math.sqrt(spread)
        return min(max(score, -10.0), 10.0)

    def count_ratio(self, entity: str, short: str, long: str) -> float:
        many = len(self.window(entity, long))
        return len(self.window(entity, short)) / many if many else 0.0

    def distinct(self, entity: str, of: str, length: str) -> float:
        latest: dict[Any, int] = {}
        for other in self.history(entity):
            value = other.body[of]
            if value is not None:
                latest.pop(value, None)
                latest[value] = other.time
        remembered = list(latest.values())[-REMEMBERED:]
        hop = hop_of(duration(length))
        first, last = (self.event.time - duration(length)) // hop, self.event.time // hop
        return sum(first <= moment // hop <= last for moment in remembered)

    def changed(self, entity: str, of: str) -> float:
        values = [o.body[of] for o in self.history(entity) if o.body[of] is not None]
        now = self.event.body[of]
        return float(values[-1] != now) if values and now is not None else 0.0

    def lifetime(self, entity: str) -> float:
        return len(self.history(entity))

    def since(self, entity: str, moment: str) -> float:
        history = self.history(entity)
        fraud = [self.by_id[label.transaction_id].time for label in self.about(entity)]
        then = {
            "last": history[-1].time if history else None,
            "first": history[0].time if history else None,
            "latest_fraud": max(fraud, default=None),
            "earliest_fraud": min(fraud, default=None),
        }[moment]
        return YEAR if then is None else max(self.event.time - then, 0) / 1e6

    def placed(self, entity: str) -> Seen | None:
        placed = [o for o in self.history(entity) if o.body["latitude"] is not None]
        return placed[-1] if placed else None

    def moved_m(self, entity: str) -> int | None:
        last = self.placed(entity)
        if last is None or self.event.body["latitude"] is None:
            return None
        return round(RADIUS_M * central_angle(last.body, self.event.body))

    def moved_km(self, entity: str) -> float:
        moved = self.moved_m(entity)
        return -1.0 if moved is None else moved / 1000

    def speed_kmh(self, entity: str) -> float:
        moved, last = self.moved_m(entity), self.placed(entity)
        if moved is None or last is None:
            return -1.0
        return min(moved * 3_600_000 / max(self.event.time - last.time, 60 * SECOND), 10_000.0)

    def fraud_labels(self, entity: str, length: str) -> float:
        return self.labels_in(entity, length)

    def label_risk(self, entity: str, length: str) -> float:
        events = len(self.window(entity, length, "7d"))
        return self.labels_in(entity, length) / events if events else 0.0

    def matured(self, entity: str, k: str) -> float:
        known = {label.transaction_id for label in self.labels}
        recent = self.history(entity)[-REMEMBERED:]
        ripe = [o for o in recent if o.time <= self.event.time - MATURITY][-int(k) :]
        return sum(o.transaction_id in known for o in ripe) / len(ripe) if ripe else 0.0


_E = "(?P<entity>user_merchant|user_device|user|merchant|device)"
_W = r"(?P<length>\d+[hd])"
_D = r"(?:_ago_(?P<delay>\d+[hd]))?"
FEATURES: list[tuple[str, Any]] = [
    (
        "(?P<name>amount|distance_from_home_km|foreign_transaction|card_present|used_chip)",
        Oracle.own,
    ),
    ("merchant_category_code", Oracle.category),
    ("(?P<part>local_hour|local_weekday|is_weekend|is_night)", Oracle.calendar),
    (f"{_E}_count_{_W}", Oracle.count),
    (f"{_E}_amount_sum_{_W}", Oracle.amount_sum),
    (f"{_E}_amount_mean_{_W}", Oracle.amount_mean),
    (f"{_E}_amount_ratio_{_W}{_D}", Oracle.amount_ratio),
    (f"{_E}_amount_zscore_{_W}{_D}", Oracle.amount_zscore),
    (rf"{_E}_count_ratio_(?P<short>\d+[hd])_(?P<long>\d+[hd])", Oracle.count_ratio),
    (f"{_E}_distinct_(?P<of>[a-z_]+)_{_W}", Oracle.distinct),
    (f"{_E}_(?P<of>country)_changed", Oracle.changed),
    (f"{_E}_count", Oracle.lifetime),
    (f"{_E}_seconds_since_(?P<moment>last|first|latest_fraud|earliest_fraud)", Oracle.since),
    (f"{_E}_km_since_last", Oracle.moved_km),
    (f"{_E}_kmh_since_last", Oracle.speed_kmh),
    (f"{_E}_fraud_labels_{_W}", Oracle.fraud_labels),
    (f"{_E}_label_risk_{_W}", Oracle.label_risk),
    (rf"{_E}_matured_fraud_share_(?P<k>\d+)", Oracle.matured),
]
