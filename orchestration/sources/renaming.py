"""Apply a column mapping to a piece of a source."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from fraud.domain.errors import InvalidField
from fraud.domain.windows import parse_duration
from orchestration.sources.batch import Batch
from orchestration.sources.coercion import coerce, has_offset
from orchestration.sources.mapping import Column, LabelMapping, Mapping

_EPOCH_US = {"s": 1e6, "ms": 1e3, "us": 1.0}
_YEAR_9999_US = 253_370_764_800_000_000
_TIMES = ("timestamp", "observed_at")


def check_columns(mapping: Mapping, present: list[str], source: str) -> None:
    """Make sure that every mapped column exists.

    Raises:
        InvalidField: naming the column that is missing and those that are there.
    """
    missing = [column for column in mapping.columns() if column not in present]
    if missing:
        raise InvalidField(
            [
                (
                    column,
                    f"the mapping names this column, but {source} does not have it",
                    f"Its columns are {', '.join(present)}.",
                )
                for column in missing
            ]
        )


def rename(mapping: Mapping, rows: pd.DataFrame) -> Batch:
    """The batch that a piece of a source becomes.

    Args:
        mapping: what the source calls things.
        rows: its columns; the index numbers its rows.
    """
    columns = {
        field: _values(origin, rows, mapping.time_zone if field in _TIMES else None)
        for field, origin in mapping.transaction.items()
    }
    transactions = pd.DataFrame(columns, index=rows.index)
    if mapping.label is None:
        return Batch(transactions, no_labels())
    return Batch(transactions, _labels(mapping, mapping.label, rows, transactions))


def no_labels() -> pd.DataFrame:
    """An empty frame of raw labels."""
    return pd.DataFrame(columns=["transaction_id", "is_fraud", "reported_at", "source"])


def _labels(
    mapping: Mapping, label: LabelMapping, rows: pd.DataFrame, transactions: pd.DataFrame
) -> pd.DataFrame:
    is_fraud = _values(label.is_fraud, rows)
    if label.reported_at is not None:
        reported_at: Any = _values(label.reported_at, rows, mapping.time_zone)
    else:
        happened = transactions["timestamp" if "timestamp" in transactions else "observed_at"]
        moments = coerce(happened, "moment")
        delayed_us = moments.values + parse_duration(label.report_delay or "")
        reported_at = pd.Series(
            delayed_us.astype("datetime64[us]"), index=rows.index
        ).dt.tz_localize("UTC")
        # A label of a transaction without a readable time has no time either.
        reported_at = reported_at.mask(~moments.is_typed)
    labels = pd.DataFrame(
        {
            "transaction_id": transactions["transaction_id"],
            "is_fraud": is_fraud,
            "reported_at": reported_at,
            "source": _values(label.source, rows),
        },
        index=rows.index,
    )
    verdicts = coerce(is_fraud, "flag")
    is_silent = verdicts.is_null | (verdicts.is_typed & ~verdicts.values)
    return labels[~(verdicts.is_null if label.keep_genuine else is_silent)]


def _values(origin: Column, rows: pd.DataFrame, time_zone: str | None = None) -> pd.Series:
    if origin.digest_of is not None:
        return _digests(rows[list(origin.digest_of)])
    if origin.column is None:
        return pd.Series(origin.constant, index=rows.index)
    values = rows[origin.column]
    if origin.extract is not None:
        values = _texts(values).str.extract(origin.extract, expand=False)
    if origin.map is not None:
        named = _texts(values)
        mapped = named.map(origin.map)
        # What the map does not name stays as it came, for the door to judge.
        values = mapped.where(named.isin(list(origin.map)), values.astype(object))
    if origin.divide_by is not None:
        numbers = coerce(values, "number")
        divided = pd.Series(numbers.values / origin.divide_by, index=rows.index)
        if not numbers.is_typed.all():
            divided = divided.astype(object).where(numbers.is_typed, values.astype(object))
        values = divided
    if origin.epoch is not None:
        return _from_epoch(values, _EPOCH_US[origin.epoch])
    return values if time_zone in (None, "UTC") else _localised(values, str(time_zone))


def _texts(values: pd.Series) -> pd.Series:
    """The cells as text, None where they have none."""
    return pd.Series(coerce(values, "text").values.to_pylist(), index=values.index, dtype=object)


def _digests(rows: pd.DataFrame) -> pd.Series:
    """A name for each row that follows from its cells: BLAKE2b, 24 hexadecimal digits."""
    cells = zip(*(rows[column].astype("string").fillna("") for column in rows), strict=True)
    digests = [
        hashlib.blake2b("\x1f".join(row).encode(), digest_size=12).hexdigest() for row in cells
    ]
    return pd.Series(digests, index=rows.index, dtype=object)


def _from_epoch(values: pd.Series, unit_us: float) -> pd.Series:
    """Numbers since 1970 as UTC times; what is no number, or no year we know, stays."""
    numbers = coerce(values, "number")
    is_moment = numbers.is_typed & (np.abs(numbers.values) * unit_us < _YEAR_9999_US)
    us = np.rint(np.where(is_moment, numbers.values, 0.0) * unit_us).astype(np.int64)
    moments = pd.Series(us.astype("datetime64[us]"), index=values.index).dt.tz_localize("UTC")
    if is_moment.all():
        return moments
    return moments.astype(object).where(is_moment, values.astype(object))


def _localised(values: pd.Series, time_zone: str) -> pd.Series:
    """Times without an offset, read as local times of a zone.

    In the hour that is lived twice the second one is meant; an hour that does not exist
    moves to the first moment that does.
    """
    moments = coerce(values, "moment")
    is_local = moments.is_typed & ~has_offset(values)
    clock = pd.Series(moments.values.astype("datetime64[us]"), index=values.index)
    local = clock.dt.tz_localize(
        time_zone, ambiguous=np.zeros(len(values), bool), nonexistent="shift_forward"
    ).dt.tz_convert("UTC")
    absolute = clock.dt.tz_localize("UTC")
    found = absolute.where(~is_local, local)
    return found if moments.is_typed.all() else found.astype(object).where(moments.is_typed, values)
