"""The door for labels: whom a verdict is about, what it says, when it reached us."""

import datetime as dt
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fraud.domain.event import EARLIEST, FUTURE_TOLERANCE_US, Identifier, to_us
from fraud.domain.label import SOURCES
from orchestration.sources.coercion import Mask, coerce
from orchestration.sources.reasons import Problem, said
from orchestration.sources.validation import Verdict, quarantine

_ID_PATTERN = next(
    part.pattern
    for note in get_args(Identifier)[1:]
    for part in note.metadata
    if hasattr(part, "pattern")
)
_ID_LENGTH = 50


def check_labels(batch: pd.DataFrame, now: dt.datetime) -> Verdict:
    """Let labels in, or say why not.

    Args:
        batch: `transaction_id, is_fraud, reported_at, source`; the index numbers the rows.
        now: nothing can have been reported later than this, give or take five minutes.
    """
    ids = coerce(batch["transaction_id"], "text")
    is_fraud = coerce(batch["is_fraud"], "flag")
    reported_at = coerce(batch["reported_at"], "moment")
    sources = coerce(batch["source"], "text")
    is_late = reported_at.values > to_us(now) + FUTURE_TOLERANCE_US
    checks: tuple[tuple[Mask, str, str, str], ...] = (
        (
            ids.is_typed & _matches(ids.values),
            "transaction_id",
            "must be 1 to 50 visible ASCII characters without spaces",
            "Use the id the transaction was ingested with.",
        ),
        (
            is_fraud.is_typed,
            "is_fraud",
            "must be true or false",
            "Map the source's verdicts onto true and false.",
        ),
        (
            reported_at.is_typed & (reported_at.values >= to_us(EARLIEST)),
            "reported_at",
            "must be ISO 8601 and not before 2000",
            "Write it like 2026-01-15T10:30:00Z.",
        ),
        (
            ~is_late,
            "reported_at",
            "lies in the future: nobody can know this yet",
            "Ingest the source again when that time has come.",
        ),
        (
            sources.is_typed & _is_in(sources.values, SOURCES),
            "source",
            f"must be one of {', '.join(SOURCES)}",
            "Map the source's names onto these.",
        ),
    )
    problems: dict[int, Problem] = {}
    for fits, field, what, remedy in checks:
        for place in np.flatnonzero(~fits).tolist():
            cell = batch[field].iloc[place]
            value = None if pd.isna(cell) else cell
            problems.setdefault(place, Problem(field, said(field, value, what, remedy)))
    good = np.ones(len(batch), bool)
    good[list(problems)] = False
    accepted = pd.DataFrame(
        {
            "transaction_id": pd.array(ids.values.to_pylist(), "string[pyarrow]"),
            "is_fraud": pd.array(is_fraud.values, "boolean"),
            "reported_at": pd.to_datetime(
                reported_at.values.astype("datetime64[us]"), utc=True
            ).as_unit("us"),
            "source": pd.array(sources.values.to_pylist(), "string[pyarrow]"),
        },
        index=batch.index,
    )
    return Verdict(accepted[good], quarantine(batch, problems))


def _matches(texts: Any) -> Mask:
    fits = pc.and_(
        pc.match_substring_regex(texts, _ID_PATTERN),
        pc.less_equal(pc.utf8_length(texts), _ID_LENGTH),
    )
    mask: Mask = pc.fill_null(fits, False).to_numpy(zero_copy_only=False)
    return mask


def _is_in(texts: Any, choices: tuple[str, ...]) -> Mask:
    mask: Mask = pc.is_in(texts, value_set=pa.array(choices)).to_numpy(zero_copy_only=False)
    return mask
