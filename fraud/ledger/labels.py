"""Labels in the ledger: each verdict once, however often it is delivered.

What label writers and scorers lock, and in which order, so that a label's number says for
certain whether it was observed before its transaction: writers of labels take turns (`labels`);
then come the rows of entity states, in key order; then scorers share, and a writer of a label
about an unknown transaction owns, the right to make transactions known (`transactions`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from fraud.domain.event import from_us, to_us
from fraud.domain.label import Label
from fraud.ledger.statement import Cursor

ROWS_PER_STATEMENT = 10_000

_LAST = """
SELECT pg_advisory_xact_lock(hashtext('labels'), hashtext(%s));
SELECT max(seq) FROM labels WHERE fraud_type = %s
"""
"""Two statements, so that the second one sees what was committed while the first one waited."""

MAKE_KNOWN: Final = "pg_advisory_xact_lock_shared(hashtext('transactions'))"
"""Claims to make transactions known in the caller's database transaction.

Until it ends, nobody can store a label that takes one of them for unknown; so read what labels
there are afterwards, in another statement.
"""

_KEEP_UNKNOWN = "SELECT pg_advisory_xact_lock(hashtext('transactions'))"

_UPSERT = """
WITH changed AS (
    INSERT INTO labels (
        transaction_id, fraud_type, is_fraud, reported_at, source, seq, received_at
    )
    SELECT transaction_id, %s, is_fraud, reported_at, source, %s + place, %s
    FROM unnest(%s::text[], %s::boolean[], %s::timestamptz[], %s::text[]) WITH ORDINALITY
        AS label (transaction_id, is_fraud, reported_at, source, place)
    ON CONFLICT (transaction_id, source, reported_at) DO UPDATE
        SET is_fraud = excluded.is_fraud, seq = excluded.seq, received_at = excluded.received_at
        WHERE labels.is_fraud <> excluded.is_fraud
    RETURNING 1
)
SELECT count(*) FROM changed
"""


@dataclass(frozen=True, slots=True)
class StoredLabel:
    """A label of the ledger and its observation number."""

    label: Label
    seq: int


def next_label_seq(cursor: Cursor, fraud_type: str, observed_at_us: int) -> int:
    """The observation number of the next label: the time, or above the last one if that is higher.

    Until the caller's transaction ends, other writers of this fraud type's labels wait.
    """
    cursor.execute(_LAST, (fraud_type, fraud_type))
    last: int | None = cursor.fetchall()[0][0]
    return observed_at_us if last is None else max(observed_at_us, last + 1)


def keep_unknown(cursor: Cursor) -> None:
    """Let no transaction become known until the caller's database transaction ends.

    Waits for the scoring transactions that are under way; look for their transactions again
    afterwards.
    """
    cursor.execute(_KEEP_UNKNOWN)


def upsert_labels(
    cursor: Cursor, fraud_type: str, labels: Iterable[Label], observed_at_us: int
) -> int:
    """Store labels; one that is there already with the same verdict changes nothing.

    A label is the same if transaction, source and time of report are; of several verdicts
    for the same label the last one counts. The transactions need not be in the ledger.
    Observation numbers start at `observed_at_us`, or above the last one if that is higher.

    Args:
        cursor: of the caller's transaction; until it ends, other writers of labels wait.
        fraud_type: of the transactions.
        labels: the verdicts, in the order they were observed.
        observed_at_us: when we saw them, microseconds UTC.

    Returns:
        How many labels are new or changed their verdict.
    """
    before = next_label_seq(cursor, fraud_type, observed_at_us) - 1
    changed = 0
    remaining = iter(labels)
    while chunk := list(islice(remaining, ROWS_PER_STATEMENT)):
        distinct = {(each.transaction_id, each.source, each.reported_at_us): each for each in chunk}
        rows = list(distinct.values())
        cursor.execute(
            _UPSERT,
            (
                fraud_type,
                before,
                from_us(observed_at_us),
                [each.transaction_id for each in rows],
                [each.is_fraud for each in rows],
                [from_us(each.reported_at_us) for each in rows],
                [each.source for each in rows],
            ),
        )
        changed += cursor.fetchall()[0][0]
        before += len(rows)
    return changed


def stored_labels(cursor: Cursor, transaction_ids: Sequence[str]) -> list[StoredLabel]:
    """The labels of these transactions with their numbers, in the order they were observed."""
    cursor.execute(
        """
        SELECT transaction_id, is_fraud, reported_at, source, seq FROM labels
        WHERE transaction_id = ANY(%s::varchar[]) ORDER BY seq
        """,
        (list(transaction_ids),),
    )
    return [
        StoredLabel(Label(transaction_id, is_fraud, to_us(reported_at), source), seq)
        for transaction_id, is_fraud, reported_at, source, seq in cursor.fetchall()
    ]


def labels_of(cursor: Cursor, transaction_ids: Sequence[str]) -> Iterator[Label]:
    """The labels of these transactions, in the order they were reported."""
    cursor.execute(
        """
        SELECT transaction_id, is_fraud, reported_at, source FROM labels
        WHERE transaction_id = ANY(%s::varchar[]) ORDER BY reported_at, id
        """,
        (list(transaction_ids),),
    )
    for transaction_id, is_fraud, reported_at, source in cursor.fetchall():
        yield Label(transaction_id, is_fraud, to_us(reported_at), source)
