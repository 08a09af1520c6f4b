"""Small lakes for tests of builds: adversarial logs, and plain ones of any size."""

import datetime as dt

import numpy as np
import pandas as pd

from feature_store.building import Span
from feature_store.lake import Lake
from feature_store.offline import build_frame
from feature_store.schema import empty_frame
from fraud.domain.event import from_us
from fraud.domain.windows import DAY_US
from fraud.types.credit_card import CREDIT_CARD
from tests.feature_store.worlds import START, a_log, frames


def an_adversarial_lake(url: str, seed: int = 5, size: int = 120) -> Lake:
    """Late, tied, null and labelled events of few entities, over many days.

    Labels are numbered by the lake, by `reported_at`: some come before their transaction.
    """
    lake = Lake(url)
    events, labels = frames(a_log(seed, size))
    lake.append(CREDIT_CARD, "events", events)
    lake.append(CREDIT_CARD, "labels", labels.drop(columns="seq").assign(source="test"))
    return lake


def a_plain_lake(url: str, rows: int, days: int = 10, users: int = 2000) -> Lake:
    """Events with ids as long as UUIDs, evenly over some days, 1 % of them fraud."""
    lake, rng = Lake(url), np.random.default_rng(7)
    per_day = rows // days
    for day in range(days):
        moments = (
            START // DAY_US * DAY_US + day * DAY_US + np.sort(rng.integers(DAY_US, size=per_day))
        )
        events = empty_frame(CREDIT_CARD, "events").reindex(range(per_day))
        observed = pd.to_datetime(moments, unit="us", utc=True).astype("datetime64[us, UTC]")
        events = events.assign(
            transaction_id=[f"{day:08}-0000-4000-8000-{n:012}" for n in range(per_day)],
            event_time=observed,
            observed_at=observed,
            amount_minor=rng.integers(100, 50_000, per_day),
            user_id=_ids("user", rng.integers(users, size=per_day)),
            merchant_id=_ids("merchant", rng.integers(users, size=per_day)),
            device_id=_ids("device", rng.integers(2 * users, size=per_day)),
            merchant_category="grocery",
            country="US",
        ).drop(columns="seq")
        lake.write_events(CREDIT_CARD, from_us(int(moments[0])).date(), events)
        risk = np.where(events["amount_minor"] > 45_000, 0.1, 0.002)
        fraud = events[rng.random(per_day) < risk]
        labels = pd.DataFrame(
            {
                "transaction_id": fraud["transaction_id"],
                "is_fraud": True,
                "reported_at": fraud["event_time"] + dt.timedelta(days=1),
                "source": "test",
            }
        )
        lake.append(CREDIT_CARD, "labels", labels)
    return lake


def in_memory(lake: Lake, span: Span | None = None) -> pd.DataFrame:
    """The frame that every build of this lake must equal."""
    span = span or Span()
    return build_frame(
        CREDIT_CARD,
        lake.events(CREDIT_CARD, span.first, span.last, span.as_of),
        lake.labels(CREDIT_CARD, span.first, span.last, span.as_of),
    )


def _ids(kind: str, numbers: np.ndarray) -> pd.Series:
    names = np.array([f"{kind}-{n:027}" for n in range(numbers.max() + 1)], dtype=object)
    return pd.Series(names[numbers], dtype="string[pyarrow]")
