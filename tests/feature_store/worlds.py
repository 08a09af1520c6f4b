"""Small adversarial logs: late, tied, edge-of-tile, null, huge and tiny events, and labels."""

import random
from collections.abc import Sequence

import numpy as np
import pandas as pd

from feature_store.batch import BatchFeatures, TypeLayout, label_columns
from feature_store.offline import feature_matrix
from fraud.domain.event import Event, field_kinds
from fraud.domain.features import Category, Number
from fraud.domain.fraud_type import FraudType
from fraud.types.credit_card import CREDIT_CARD
from fraud.types.registry import fraud_type
from tests.feature_store.oracle import Facts, Known, Log, Oracle, Seen
from tests.feature_store.specimen import SPECIMEN

HOUR, DAY = 3_600_000_000, 86_400_000_000
START = 1_774_000_000 * 1_000_000  # 2026-03-20, nine days before DST begins in Europe
STEPS = (0, 1, 299_999_999, 300_000_000, HOUR - 1, HOUR, 11 * HOUR, DAY, 6 * DAY, 15 * DAY)
PLACES = (  # both poles, antipodes, both sides of the date line, a decimetre apart
    *((90.0, 0.0), (-90.0, 45.0), (0.0, 0.0), (0.0, 180.0), (0.0, -180.0), (12.0, 179.999)),
    *((12.0, -179.999), (48.858222, 2.2945), (48.858223, 2.2945), (-48.858222, -177.7055)),
)
ZONES = (  # DST in the north, in the south, by half an hour, in Ramadan, and never
    *("Europe/Paris", "America/Santiago", "Australia/Lord_Howe", "Africa/Casablanca"),
    *("Asia/Kathmandu", "Pacific/Kiritimati"),
)
LATENESSES = (0, 0, 0, 0, HOUR, 13 * HOUR, 3 * DAY, 40 * DAY)
AMOUNTS = (0, 1, 99, 100, 12_345, 9_999_999_999)


def a_log(
    seed: int,
    size: int = 60,
    kind: FraudType = CREDIT_CARD,
    latenesses: Sequence[int] = LATENESSES,
) -> Log:
    """A log of few entities, so that their histories are long and collide."""
    rng = random.Random(seed)
    log, clock, seq = an_empty_log(kind), START, START
    unlabelled: list[Seen] = []
    for number in range(size):
        clock += rng.choice(STEPS)
        seq = max(seq + 1, clock)
        event = Seen(
            seq,
            clock - rng.choice(latenesses),
            f"T{number}",
            rng.choice(AMOUNTS),
            a_body(rng, kind),
        )
        log.events.append(event)
        unlabelled.append(event)
        while unlabelled and rng.random() < 0.4:
            seq += 1
            about = unlabelled.pop(rng.randrange(len(unlabelled)))
            reported = clock - rng.choice((0, HOUR, DAY))
            log.labels.append(Known(seq, reported, about.transaction_id))
    return log


def an_empty_log(kind: FraudType) -> Log:
    """A log of a fraud type, and what an oracle must be told of it."""
    if kind in (CREDIT_CARD, SPECIMEN):
        return Log(fraud_type=kind.name)
    facts = Facts(
        entities={entity.name: entity.fields for entity in kind.entities},
        categories={f.field: f.values for f in kind.features if isinstance(f, Category)},
        maturity=kind.maturity_us,
        zeros=frozenset(f.field for f in kind.features if isinstance(f, Number) and f.default == 0),
    )
    return Log(facts=facts, fraud_type=kind.name)


def a_body(rng: random.Random, kind: FraudType = CREDIT_CARD) -> dict[str, object]:
    """Fields of an event, often null, from few values."""
    if kind.transaction is not CREDIT_CARD.transaction:
        return _a_body_of(rng, kind)
    place = rng.choice((None, *PLACES))
    return {
        "user_id": rng.choice("AB"),
        "merchant_id": rng.choice("XYZ"),
        "merchant_category": rng.choice(("travel", "grocery", "unheard_of")),
        "distance_from_home_km": rng.choice((None, 0.0, 12.5)),
        "foreign_transaction": rng.choice((None, True, False)),
        "card_present": rng.choice((None, True, False)),
        "used_chip": rng.choice((None, True, False)),
        "device_id": rng.choice((None, "d1", "d2")),
        "country": rng.choice((None, "US", "FR")),
        "latitude": None if place is None else place[0],
        "longitude": None if place is None else place[1],
        "time_zone": rng.choice((None, None, *ZONES)),
    }


def _a_body_of(rng: random.Random, kind: FraudType) -> dict[str, object]:
    declared = {f.field: f.values[:3] for f in kind.features if isinstance(f, Category)}
    texts = {name: ("unheard_of", *values) for name, values in declared.items()}
    texts["time_zone"] = ZONES
    body: dict[str, object] = {}
    for name, what in field_kinds(kind.transaction).items():
        values = {"number": (0.0, 12.5, 700.25), "flag": (True, False)}.get(
            what, texts.get(name, (f"{name}1", f"{name}2", "x"))
        )
        is_required = kind.transaction.model_fields[name].is_required()
        body[name] = rng.choice(values if is_required else (None, *values))
    if "latitude" in body:
        place = rng.choice((None, *PLACES))
        body |= {"latitude": place and place[0], "longitude": place and place[1]}
    return body


def kind_of(log: Log) -> FraudType:
    """The fraud type of a log: a declared one, or the specimen."""
    return SPECIMEN if log.fraud_type == SPECIMEN.name else fraud_type(log.fraud_type)


def by_oracle(log: Log) -> np.ndarray:
    """Features by the naive oracle, rows in observation order."""
    kind = kind_of(log)
    return np.array(
        [
            [Oracle(log, event).feature(name) for name in kind.feature_names]
            for event in sorted(log.events, key=lambda e: e.seq)
        ]
    )


def frames(log: Log) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The log as the lake gives it."""
    events = sorted(log.events, key=lambda e: e.seq)
    frame = pd.DataFrame(
        {
            "transaction_id": pd.array([e.transaction_id for e in events], dtype=object),
            "seq": [e.seq for e in events],
            "event_time": pd.to_datetime([e.time for e in events], unit="us", utc=True),
            "observed_at": pd.to_datetime([e.seq for e in events], unit="us", utc=True),
            "amount_minor": [e.amount for e in events],
        }
    )
    for name, what in field_kinds(kind_of(log).transaction).items():
        dtype = {"text": object, "number": "float64", "flag": "boolean"}[what]
        frame[name] = pd.array([e.body.get(name) for e in events], dtype=dtype)
    labels = pd.DataFrame(
        {
            "transaction_id": pd.array([k.transaction_id for k in log.labels], dtype=object),
            "is_fraud": [True] * len(log.labels),
            "reported_at": pd.to_datetime(
                [known.reported for known in log.labels], unit="us", utc=True
            ),
            "seq": np.array([known.seq for known in log.labels], np.int64),
        }
    )
    return frame, labels


def by_offline(log: Log) -> np.ndarray:
    """Features by the offline frame, float32 held as float64 as the others have them."""
    return feature_matrix(kind_of(log), *frames(log)).astype(np.float64)


def by_online(log: Log, batch_size: int = 1, kind: FraudType | None = None) -> np.ndarray:
    """Features by online states, encoded and decoded again between batches."""
    return _run_online(log, batch_size, kind)[0]


def states_by_online(log: Log) -> dict[str, bytes]:
    """The states that are left at the end, by key."""
    return _run_online(log, 1)[1]


def _run_online(
    log: Log, batch_size: int, kind: FraudType | None = None
) -> tuple[np.ndarray, dict[str, bytes]]:
    layout = TypeLayout(kind or kind_of(log))
    encoded: dict[str, bytes] = {}
    by_id = {e.transaction_id: e for e in log.events}
    labels = acting(log)
    events = sorted(log.events, key=lambda e: e.seq)
    rows = []
    while events:
        while labels and labels[0].seq < events[0].seq:
            _apply_label(layout, encoded, labels.pop(0), by_id)
        until = labels[0].seq if labels else 2**63
        batch = [e for e in events[:batch_size] if e.seq < until]
        events = events[len(batch) :]
        rows.append(_score(layout, encoded, batch))
    for label in labels:
        _apply_label(layout, encoded, label, by_id)
    return np.concatenate(rows) if rows else np.empty((0, 0)), encoded


def acting(log: Log) -> list[Known]:
    """The labels that reach the states: each transaction's first, if observed after it.

    The product keeps the others out where labels come in: `bentos/scoring/labeller.py`.
    """
    seq = {event.transaction_id: event.seq for event in log.events}
    first: dict[str, Known] = {}
    for label in sorted(log.labels, key=lambda known: known.seq):
        if seq.get(label.transaction_id, label.seq) < label.seq:
            first.setdefault(label.transaction_id, label)
    return list(first.values())


def _event(layout: TypeLayout, seen: Seen) -> Event:
    return Event(layout.fraud_type.name, seen.transaction_id, seen.time, seen.amount, seen.body)


def _apply_label(layout, encoded, label, by_id) -> None:
    about = by_id[label.transaction_id]
    for name, key in layout.keys(_event(layout, about)).items():
        if not layout.plans[name].uses_labels:
            continue
        told = label_columns([(label.seq, label.reported, _event(layout, about))])
        (encoded[key],) = layout.after_labels(name, [encoded[key]], told, np.zeros(1, np.int64))


def _score(layout, encoded, batch) -> np.ndarray:
    events = [_event(layout, seen) for seen in batch]
    keys = [layout.keys(event) for event in events]
    states = {key: encoded.get(key) for each in keys for key in each.values()}
    features = BatchFeatures(layout, events, keys, states)
    encoded.update(features.states)
    return features.matrix
