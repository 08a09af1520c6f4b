"""What the ledger holds after all faults, against what callers were told."""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from fraud.ledger.audit_check import verify
from fraud.ledger.engine import connect

_AUDITED = """
SELECT object_id, detail->>'decision_id',
    count(*) FILTER (WHERE outcome = 'success' AND detail->>'replayed' IS NULL),
    count(*) FILTER (WHERE detail->>'reconciled' = 'true' AND detail->>'conflict' = 'true')
FROM audit_log
WHERE action = 'score' AND detail->>'decision_id' IS NOT NULL
GROUP BY 1, 2
"""


@dataclass(frozen=True)
class Findings:
    """Counts; all but the first three should be 0.

    Attributes:
        decisions: in the ledger.
        degraded: of these.
        conflicts: acknowledged decisions that lost against the ledger's own, on record.
        lost: acknowledged transactions whose decision is neither in the ledger nor on record
            as a conflict.
        doubled: transactions that were told two decisions without a conflict on record.
        unpaired: decisions without exactly one audit record, transaction and outbox message,
            and the other way round.
        broken: findings of the audit log's own check.
    """

    decisions: int
    degraded: int
    conflicts: int
    lost: int
    doubled: int
    unpaired: int
    broken: int


def check(url: str, acknowledged: Mapping[str, Set[str]]) -> Findings:
    """Compare the ledger with what was acknowledged, ids of decisions by transaction."""
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT transaction_id, decision_id::text, degraded FROM decisions")
        rows = cursor.fetchall()
        cursor.execute("SELECT transaction_id FROM transactions")
        transactions = Counter(row[0] for row in cursor.fetchall())
        cursor.execute("SELECT payload->>'decision_id' FROM outbox")
        messages = Counter(row[0] for row in cursor.fetchall())
        cursor.execute(_AUDITED)
        audited = cursor.fetchall()
    connection.rollback()
    report = verify(connection)
    connection.close()
    held = Counter((row[0], row[1]) for row in rows)
    successes = Counter({(row[0], row[1]): row[2] for row in audited if row[2]})
    conflicts = {(row[0], row[1]) for row in audited if row[3]}
    told = {(name, each) for name, ids in acknowledged.items() for each in ids}
    twice = {name for name, ids in acknowledged.items() if len(ids) > 1}
    unpaired = (
        _differing(held, successes)
        + _differing(Counter(row[0] for row in rows), transactions)
        + _differing(Counter(row[1] for row in rows), messages)
    )
    return Findings(
        decisions=len(rows),
        degraded=sum(row[2] for row in rows),
        conflicts=len(conflicts),
        lost=len(told - set(held) - conflicts),
        doubled=len(twice - {name for name, _ in conflicts})
        + sum(n > 1 for n in Counter(row[0] for row in rows).values()),
        unpaired=unpaired,
        broken=report.found,
    )


def _differing(one: Counter[Any], other: Counter[Any]) -> int:
    """Keys whose counts differ, or are not 1."""
    return sum(one[key] != 1 or other[key] != 1 for key in {*one, *other})
