"""Observation numbers: the order in which events and labels were seen.

Numbers must be taken while the locks on the batch's entity states are held: then, for each
entity, numbers rise in the order its events are committed, as the feature contract needs.
"""

from fraud.ledger.decisions import Cursor


def reserve(cursor: Cursor, count: int) -> list[int]:
    """The next `count` observation numbers, rising; numbers never come twice, gaps happen."""
    cursor.execute("SELECT nextval('observation_seq') FROM generate_series(1, %s)", (count,))
    return sorted(row[0] for row in cursor.fetchall())


def advance(cursor: Cursor, past: int) -> None:
    """Make every number reserved from now on greater than `past`, e.g. a log's last one."""
    cursor.execute(
        """
        SELECT setval('observation_seq', %s) FROM observation_seq
        WHERE NOT is_called OR last_value < %s
        """,
        (past, past),
    )
