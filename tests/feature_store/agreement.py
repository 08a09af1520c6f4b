"""A few events by hand, and their features, once all three executions agree on every bit."""

import datetime as dt
from typing import Any

import numpy as np

from fraud.domain.event import field_kinds
from tests.feature_store.oracle import Known, Log, Seen
from tests.feature_store.specimen import SPECIMEN
from tests.feature_store.worlds import by_offline, by_online, by_oracle

Features = dict[str, float]


def f32(number: float) -> float:
    """The nearest float32, which is what a feature's value is."""
    return float(np.float32(number))


def us(moment: str) -> int:
    """Microseconds of an ISO time, UTC."""
    return round(dt.datetime.fromisoformat(f"{moment}+00:00").timestamp() * 1_000_000)


class World:
    """Collects what happened, in the order in which it was observed."""

    def __init__(self) -> None:
        self.log = Log(fraud_type=SPECIMEN.name)
        self._seq = 0

    def event(self, happened: str, seen: str | None = None, **changes: Any) -> "World":
        """A payment of user u at merchant m; its id counts from T0."""
        body: dict[str, Any] = dict.fromkeys(field_kinds(SPECIMEN.transaction))
        body |= {"user_id": "u", "merchant_id": "m", "merchant_category": "grocery"}
        amount = changes.pop("amount", 1_000)
        self._seq = max(self._seq + 1, us(seen or happened))
        name = f"T{len(self.log.events)}"
        self.log.events.append(Seen(self._seq, us(happened), name, amount, body | changes))
        return self

    def label(self, about: str, reported: str) -> "World":
        """A fraud label, observed when it was reported."""
        self._seq = max(self._seq + 1, us(reported))
        self.log.labels.append(Known(self._seq, us(reported), about))
        return self

    def features(self) -> list[Features]:
        """Of every event, in the order of observation; the same in all three executions."""
        wanted = by_oracle(self.log) + 0.0
        offline = by_offline(self.log) + 0.0
        for found in (offline, by_online(self.log, 1) + 0.0, by_online(self.log, 50) + 0.0):
            for place, name in enumerate(SPECIMEN.feature_names):
                bits, wanted_bits = found[:, place].view("i8"), wanted[:, place].view("i8")
                assert (bits == wanted_bits).all(), (name, found[:, place], wanted[:, place])
        return [dict(zip(SPECIMEN.feature_names, row, strict=True)) for row in wanted.tolist()]

    def last(self) -> Features:
        """Features of the event that was observed last."""
        return self.features()[-1]
