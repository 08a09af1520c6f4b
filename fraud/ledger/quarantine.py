"""Rows refused at the door, kept with the reason: as they came, but for what must not be kept.

Card numbers are masked, sensitive fields are there as their pseudonyms. Who needs more looks at
the source, where the row's number leads.
"""

import datetime as dt
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from fraud.ledger.audit import one_line
from fraud.ledger.statement import Cursor
from fraud.security.encryption import FieldProtection
from fraud.security.masking import masked, masked_record

ROWS_PER_STATEMENT = 5_000


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row of a source that is no valid event or label.

    Attributes:
        row_number: its place in the source, from 1.
        raw: the row as it came, by the platform's names where it has one.
        reason: what is wrong with it.
    """

    row_number: int
    raw: Mapping[str, object]
    reason: str


_INSERT = """
WITH added AS (
    INSERT INTO quarantine (fraud_type, source, ingest_id, row_number, raw, reason)
    SELECT %s, %s, %s, row_number, raw, reason
    FROM unnest(%s::bigint[], %s::jsonb[], %s::text[]) AS refused (row_number, raw, reason)
    ON CONFLICT (ingest_id, source, row_number) DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM added
"""


def quarantine_rows(
    cursor: Cursor,
    fraud_type: str,
    source: str,
    ingest_id: str,
    rows: Iterable[RefusedRow],
    protection: FieldProtection,
) -> int:
    """Keep refused rows; a row of this ingest that is there already stays as it is.

    Args:
        cursor: of the caller's transaction.
        fraud_type: what the source was read as.
        source: file or table the rows come from.
        ingest_id: names this run of the ingest, at most 64 characters.
        rows: what was refused.
        protection: of what is sensitive.

    Returns:
        How many rows were added.
    """
    added = 0
    remaining = iter(rows)
    while chunk := list(islice(remaining, ROWS_PER_STATEMENT)):
        cursor.execute(
            _INSERT,
            (
                fraud_type,
                one_line(source),
                ingest_id,
                [row.row_number for row in chunk],
                [_storable(protection.hidden_record(fraud_type, row.raw)) for row in chunk],
                [masked(row.reason.replace("\x00", "\\u0000")) for row in chunk],
            ),
        )
        added += cursor.fetchall()[0][0]
    return added


def _storable(raw: Mapping[str, object]) -> str:
    plain = {_text(str(name)): _plain(value) for name, value in raw.items()}
    return json.dumps(masked_record(plain))


def _plain(value: object) -> object:
    """The value as JSONB can hold it; what it cannot (NaN, NUL, dates) becomes text."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {_text(str(name)): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return _text(str(value))


def _text(value: str) -> str:
    whole = value.encode("utf-8", "backslashreplace").decode()  # no half surrogate pairs
    return whole.replace("\x00", "\\u0000")
