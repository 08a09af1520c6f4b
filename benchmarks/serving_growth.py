"""Years of decisions put into the ledger at once, to see whether they slow the service down."""

from collections.abc import Iterator

from psycopg2.extensions import cursor as Cursor

from fraud.ledger.engine import connect

_COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = %s AND is_generated = 'NEVER' AND is_identity = 'NO'
"""

_COPIES = {
    "transactions": {
        "transaction_id": "%(copy)s || '-' || transaction_id",
        "seq": "seq - %(copy)s::bigint * %(span_us)s",
        "timestamp": "timestamp - %(copy)s::bigint * %(span_us)s * interval '1 microsecond'",
        "observed_at": "observed_at - %(copy)s::bigint * %(span_us)s * interval '1 microsecond'",
    },
    "decisions": {
        "decision_id": "md5(decision_id::text || %(copy)s)::uuid",
        "transaction_id": "%(copy)s || '-' || transaction_id",
        "scored_at": "scored_at - %(copy)s::bigint * %(span_us)s * interval '1 microsecond'",
    },
}
"""What a copy of a row is otherwise than the row: earlier, and of another name."""


def grow(url: str, rows: int) -> Iterator[int]:
    """Repeat what was decided, further and further back, until there are so many transactions.

    Every row has its decision, and stands in every index. Foreign keys are not looked at again.

    Args:
        url: of a ledger in which something was decided; its user is a superuser.
        rows: transactions there shall be at least.

    Yields:
        How many there are, after each round of copies.
    """
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute("CREATE TEMP TABLE first AS SELECT transaction_id FROM transactions")
            cursor.execute("SELECT count(*), max(seq) - min(seq) + 1000000 FROM transactions")
            [(first, span_us)] = cursor.fetchall()
            statements = [_statement(cursor, table) for table in _COPIES]
            for copy in range(1, -(-rows // first)):
                for statement in statements:
                    cursor.execute(statement, {"copy": copy, "span_us": span_us})
                connection.commit()
                yield first * (copy + 1)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE transactions, decisions")
            cursor.execute("CHECKPOINT")
    finally:
        connection.close()


def _statement(cursor: Cursor, table: str) -> str:
    """Copies the first rows of a table."""
    changed = _COPIES[table]
    cursor.execute(_COLUMNS, (table,))
    columns = [name for (name,) in cursor.fetchall()]
    values = [changed.get(name, name) for name in columns]
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) "
        f"SELECT {', '.join(values)} FROM {table} JOIN first USING (transaction_id)"
    )
