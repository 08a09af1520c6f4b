"""Stored ciphertexts under the newest key: batch by batch, while the service goes on.

Which rows are left is told by their ciphertexts, which begin with the name of their key: a run
that was cut off is taken up by the next one, and nothing else has to be remembered.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fraud.ledger.pool import ConnectionPool
from fraud.ledger.statement import Cursor
from fraud.security.data_keys import DataKeys

ROWS_PER_BATCH = 500
"""Rows that one transaction holds; a batch takes some 20 ms."""

_LEFT = "sealed IS NOT NULL AND NOT starts_with(sealed, %s)"

_NEXT = f"""
SELECT id, sealed FROM transactions WHERE id > %s AND {_LEFT} ORDER BY id LIMIT %s FOR UPDATE
"""

_UPDATE = """
UPDATE transactions AS kept SET sealed = new.sealed
FROM unnest(%s::bigint[], %s::text[]) AS new (id, sealed) WHERE kept.id = new.id
"""


@dataclass(frozen=True)
class Resealed:
    """What a run did: rows that were encrypted again, in so many transactions."""

    rows: int
    batches: int


def rows_left(cursor: Cursor, newest: str) -> int:
    """Rows whose ciphertext is not under this key."""
    cursor.execute(f"SELECT count(*) FROM transactions WHERE {_LEFT}", (f"{newest}:",))
    count: int = cursor.fetchall()[0][0]
    return count


def rows_under(cursor: Cursor, key: str) -> int:
    """Rows whose ciphertext needs this key."""
    cursor.execute("SELECT count(*) FROM transactions WHERE starts_with(sealed, %s)", (f"{key}:",))
    count: int = cursor.fetchall()[0][0]
    return count


def reseal(
    pool: ConnectionPool, keys: DataKeys, progress: Callable[[int], None] = lambda rows: None
) -> Resealed:
    """Encrypt every stored value under the newest key; the values stay bound to their rows.

    Args:
        pool: connections of a role that may change transactions.
        keys: all keys; the newest is used.
        progress: called with the number of rows done, after every batch.

    Raises:
        ProtectionError: a row cannot be decrypted; what was done before it stays done.
        LedgerUnavailable: run again to finish.
    """
    newest, rows, batches, last = keys.newest, 0, 0, 0
    while True:
        with pool.transaction() as cursor:
            cursor.execute(_NEXT, (last, f"{newest}:", ROWS_PER_BATCH))
            batch = cursor.fetchall()
            if not batch:
                return Resealed(rows, batches)
            resealed = [keys.encrypt(keys.decrypt(sealed)) for _, sealed in batch]
            cursor.execute(_UPDATE, ([row_id for row_id, _ in batch], resealed))
        rows, batches, last = rows + len(batch), batches + 1, batch[-1][0]
        progress(rows)
