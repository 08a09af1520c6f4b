"""The outbox: what others are to be told, committed together with what it is about.

A message goes to every sink at least once, those of one key in the order of their numbers.
That order is the one in which their transactions were committed, if writers of one key wait
for each other, as scoring transactions do for the state of their subject.

Topics:
    fraud_results: a decision, as `/predict` answers it; its key is the subject, e.g. the user.
    fraud_erasures: `{"erasure_id", "erased_at", "transaction_ids"}`; whoever keeps one of
        these transactions deletes it.
"""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fraud.ledger.statement import Cursor

RESULTS_TOPIC: Final = "fraud_results"
ERASURES_TOPIC: Final = "fraud_erasures"

ERASED_PER_MESSAGE = 1_000
"""Transactions one erasure message names at most, so that it stays far below 1 MB."""

DeliveryState = Literal["delivered", "waiting", "refused"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """How far a message is with one sink; `refused` is one that waits in its dead letters."""

    outbox_id: int
    sink: str
    state: DeliveryState


def announce_erasure(
    cursor: Cursor,
    erasure_id: str,
    key: str,
    transaction_ids: Sequence[str],
    erased_at: dt.datetime,
) -> list[int]:
    """Tell every sink to delete transactions, once the caller's transaction is committed.

    Args:
        cursor: of the transaction that erases them.
        erasure_id: names the erasure, in every message about it.
        key: messages of one key keep their order; e.g. a pseudonym of whose data it was.
        transaction_ids: what to delete.
        erased_at: when, with a time zone.

    Returns:
        Numbers of the messages, for `deliveries_of`.
    """
    numbers: list[int] = []
    for start in range(0, len(transaction_ids), ERASED_PER_MESSAGE):
        payload = {
            "erasure_id": erasure_id,
            "erased_at": erased_at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z"),
            "transaction_ids": list(transaction_ids[start : start + ERASED_PER_MESSAGE]),
        }
        cursor.execute(
            "INSERT INTO outbox (topic, key, payload) VALUES (%s, %s, %s) RETURNING id",
            (ERASURES_TOPIC, key, json.dumps(payload)),
        )
        numbers.append(cursor.fetchall()[0][0])
    return numbers


def deliveries_of(cursor: Cursor, outbox_ids: Sequence[int]) -> list[Delivery]:
    """How far messages are with every known sink, by number and sink.

    A message that was removed from the outbox is with every sink, and not in the list.
    """
    cursor.execute(
        """
        SELECT o.id, s.sink, CASE
            WHEN d.sink IS NOT NULL THEN 'refused'
            WHEN pg_visible_in_snapshot(o.xid, s.delivered)
                OR (o.id <= s.last_id AND pg_visible_in_snapshot(o.xid, s.target))
            THEN 'delivered'
            ELSE 'waiting' END
        FROM outbox o CROSS JOIN outbox_sinks s
            LEFT JOIN outbox_dead_letters d ON d.outbox_id = o.id AND d.sink = s.sink
        WHERE o.id = ANY(%s) ORDER BY 1, 2
        """,
        (list(outbox_ids),),
    )
    return [Delivery(*row) for row in cursor.fetchall()]
