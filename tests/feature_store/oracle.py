"""A naive third execution of the feature contract, to judge the other two by.

It reads `feature_store/CONTRACT.md` only: every feature is recomputed from the whole log by
plain loops, from its name. It shares no code with the product; be slow here, never clever.
"""

import math
import re
import struct
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, reduce
from typing import Any
from zoneinfo import ZoneInfo

SECOND, DAY = 1_000_000, 86_400_000_000
UNIT = {"h": 3600 * SECOND, "d": 86_400 * SECOND}
YEAR, REMEMBERED = 366 * 86_400.0, 64
RADIUS_M, LARGEST = 6_371_008.8, (2 - 2**-23) * 2.0**127
ROUND = (5, 10, 50, 100, 500, 1000, 5000, 10_000)


@dataclass(frozen=True)
class Facts:
    """What the oracle is told of a fraud type.

    Attributes:
        entities: the fields that identify each.
        categories: the values a text field may take, in their order.
        maturity: in microseconds.
        zeros: own numbers whose default is 0 instead of -1.
    """

    entities: dict[str, tuple[str, ...]]
    categories: dict[str, tuple[str, ...]]
    maturity: int
    zeros: frozenset[str] = frozenset()


CARD = Facts(
    entities={
        "user": ("user_id",),
        "merchant": ("merchant_id",),
        "user_merchant": ("user_id", "merchant_id"),
        "user_device": ("user_id", "device_id"),
        "device": ("device_id",),
    },
    categories={
        "merchant_category": (
            *("grocery", "restaurant", "fuel", "electronics", "clothing", "travel"),
            *("entertainment", "health", "home", "online_retail", "digital_goods", "cash_advance"),
        )
    },
    maturity=7 * DAY,
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
    facts: Facts = CARD
    fraud_type: str = "credit_card"


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
        self.event, self.facts = event, log.facts
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
        return all(self.event.body[name] is not None for name in self.facts.entities[entity])

    def same(self, entity: str, other: Seen) -> bool:
        fields = self.facts.entities[entity]
        return all(other.body[name] == self.event.body[name] for name in fields)

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
        for pattern, answer in features_of(tuple(self.facts.entities), tuple(self.event.body)):
            if match := re.fullmatch(pattern, name):
                groups = match.groupdict()
                entity = groups.get("entity")
                if entity is not None and not self.has(entity):
                    is_one = "ratio" in name and "amount" in name
                    return 1.0 if is_one else YEAR if "seconds" in name else 0.0
                value = min(max(answer(self, **groups), -LARGEST), LARGEST)
                return struct.unpack("f", struct.pack("f", value))[0]
        raise AssertionError(f"the oracle does not know {name}")

    # one method per family; the names of their parameters are groups of the patterns

    def own(self, name: str) -> float:
        if name.startswith("amount"):
            cents = self.event.amount
            return cents / 100 if name == "amount" else sum(cents % n == 0 for n in ROUND)
        value = self.event.body[name]
        if value is None:
            return 0.0 if name in self.facts.zeros else -1.0
        return float(value)

    def share(self, of: str) -> float:
        whole = self.event.body[of]
        return self.event.amount / 100 / whole if whole is not None and whole > 0 else -1.0

    def category(self, of: str) -> float:
        value, values = self.event.body[of], self.facts.categories[of]
        return float(values.index(value)) if value in values else -1.0

    def calendar(self, part: str) -> float:
        zone = self.event.body.get("time_zone")
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

    def amount_mean_ratio(self, entity: str, length: str, usual: str, ago: str | None) -> float:
        recent, before = self.window(entity, length), self.window(entity, usual, ago or "0d")
        mean, other = ((sum(o.amount for o in w), len(w)) for w in (recent, before))
        return (mean[0] / mean[1]) / (other[0] / other[1]) if recent and other[0] else 1.0

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
            "genuine": next((o.time for o in reversed(self.part(entity, "genuine"))), None),
            "fraud_run": next((o.time for o in self.part(entity, "run")), None),
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

    def label_risk(self, entity: str, length: str) -> float:
        events = len(self.window(entity, length, f"{self.facts.maturity // DAY}d"))
        return self.labels_in(entity, length) / events if events else 0.0

    def matured(self, entity: str, k: str) -> float:
        known = {label.transaction_id for label in self.labels}
        recent = self.history(entity)[-REMEMBERED:]
        ripe = [o for o in recent if o.time <= self.event.time - self.facts.maturity][-int(k) :]
        return sum(o.transaction_id in known for o in ripe) / len(ripe) if ripe else 0.0

    def part(self, entity: str, part: str) -> list[Seen]:
        known = {label.transaction_id for label in self.labels}
        recent = self.history(entity)[-REMEMBERED:]
        ripe = [o for o in recent if o.time <= self.event.time - self.facts.maturity]
        genuine = [o for o in ripe if o.transaction_id not in known]
        after = max((o.seq for o in genuine), default=-1)
        run, young = [o for o in ripe if o.seq > after], [o for o in recent if o not in ripe]
        return {"genuine": genuine, "run": run, "unmatured": young}[part]

    def run(self, entity: str) -> float:
        return len(self.part(entity, "run"))

    def run_amount(self, entity: str) -> float:
        logs = [log_amount(other.amount) for other in self.part(entity, "run")]
        return sum(logs) / (10_000 * len(logs)) if logs else -1.0

    def attack(self, entity: str, days: str) -> float:
        today, length, daily = self.event.time // DAY, int(days), 2e-4
        run = [min(o.time // DAY, today) for o in self.part(entity, "run")]
        genuine = [min(o.time // DAY, today) for o in self.part(entity, "genuine")]
        weight, possible = reduce(lambda w, _: w / 0.01, run[:4], daily), []
        if run:
            frauds = [self.by_id[label.transaction_id].time for label in self.about(entity)]
            latest = min(max(frauds) // DAY, today)
            quiet = min(today - latest, length)
            last_genuine = genuine[-1] if genuine else latest - length
            possible = [b for b in range(latest - length + 1, run[0] + 1) if b > last_genuine]
        elif genuine:
            quiet = min(today - genuine[-1], length)
        else:
            return 0.0
        lasting = sum(begun + length > today for begun in possible)
        odds = (weight * lasting + daily * quiet) / (1.0 + weight * (len(possible) - lasting))
        return log_amount(int(min(odds, 9_999.0) * 1_000_000)) / 10_000

    def above_genuine(self, entity: str, unmatured: str | None) -> float:
        logs = [log_amount(other.amount) for other in self.part(entity, "genuine")]
        young = [log_amount(other.amount) for other in self.part(entity, "unmatured")]
        if not logs or (unmatured and not young):
            return 0.0
        own = max(young) if unmatured else log_amount(self.event.amount)
        return (len(logs) * own - sum(logs)) / (10_000 * len(logs))


_W = r"(?P<length>\d+[hd])"
_D = r"(?:_ago_(?P<delay>\d+[hd]))?"
FEATURES: list[tuple[str, Any]] = [
    ("amount_share_of_<F>", Oracle.share),
    ("<F>_code", Oracle.category),
    ("(?P<part>local_hour|local_weekday|is_weekend|is_night)", Oracle.calendar),
    ("<E>_count_<W>", Oracle.count),
    ("<E>_amount_sum_<W>", Oracle.amount_sum),
    ("<E>_amount_mean_<W>", Oracle.amount_mean),
    (r"<E>_amount_mean_ratio_<W>_(?P<usual>\d+d)(?:_ago_(?P<ago>\d+d))?", Oracle.amount_mean_ratio),
    ("<E>_amount_ratio_<W><D>", Oracle.amount_ratio),
    ("<E>_amount_zscore_<W><D>", Oracle.amount_zscore),
    (r"<E>_count_ratio_(?P<short>\d+[hd])_(?P<long>\d+[hd])", Oracle.count_ratio),
    ("<E>_distinct_<F>_<W>", Oracle.distinct),
    ("<E>_<F>_changed", Oracle.changed),
    ("<E>_count", Oracle.lifetime),
    ("<E>_seconds_since_(?P<moment>last|first|(latest|earliest)_fraud|<M>)", Oracle.since),
    ("<E>_km_since_last", Oracle.moved_km),
    ("<E>_kmh_since_last", Oracle.speed_kmh),
    ("<E>_fraud_labels_<W>", Oracle.labels_in),
    ("<E>_label_risk_<W>", Oracle.label_risk),
    (r"<E>_matured_fraud_share_(?P<k>\d+)", Oracle.matured),
    ("<E>_fraud_run", Oracle.run),
    ("<E>_fraud_run_log_amount", Oracle.run_amount),
    (r"<E>_attack_odds_(?P<days>\d+)d", Oracle.attack),
    ("<E>_(?P<unmatured>unmatured_)?log_amount_above_genuine", Oracle.above_genuine),
    ("(?P<name>[a-z_]+)", Oracle.own),
]


@cache
def features_of(entities: tuple[str, ...], fields: tuple[str, ...]) -> list[tuple[str, Any]]:
    """The patterns of feature names, and what answers them, for a type's entities and fields."""
    parts = {
        "<E>": f"(?P<entity>{'|'.join(entities)})",
        "<F>": f"(?P<of>{'|'.join(fields)})",
        "<W>": _W,
        "<D>": _D,
        "<M>": "genuine|fraud_run",
    }
    return [
        (re.sub("<[EFWDM]>", lambda mark: parts[mark[0]], pattern), answer)
        for pattern, answer in FEATURES
    ]
