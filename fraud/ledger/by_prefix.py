"""Transactions whose ids begin alike, for those who know only the beginning."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from fraud.ledger.statement import Cursor


def transactions_by_prefix(
    cursor: Cursor, fraud_type: str, prefixes: Sequence[str], first: str, last: str
) -> Mapping[str, list[tuple[str, int]]]:
    """Ids and amounts (minor units) by prefix, those observed last first.

    Args:
        cursor: of the caller's transaction.
        fraud_type: whose.
        prefixes: beginnings of ids.
        first: the least that follows a prefix. Both bounds let the index of ids be used,
            whatever the collation of the database is.
        last: the greatest, of the same length.
    """
    cursor.execute(
        """
        SELECT p.prefix, t.transaction_id, t.amount_minor
        FROM (SELECT DISTINCT unnest(%s::text[])) AS p(prefix)
        JOIN transactions t ON t.transaction_id BETWEEN p.prefix || %s AND p.prefix || %s
            AND starts_with(t.transaction_id, p.prefix) AND t.fraud_type = %s
        ORDER BY t.seq DESC
        """,
        (list(prefixes), first, last, fraud_type),
    )
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for prefix, transaction_id, amount_minor in cursor.fetchall():
        found[prefix].append((transaction_id, amount_minor))
    return found
