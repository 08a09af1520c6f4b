"""What auditors ask about a stretch of time, counted in the ledger."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from fraud.ledger.statement import Cursor


@dataclass(frozen=True)
class Count:
    """A table of the report: its columns and the query behind it."""

    columns: tuple[str, ...]
    query: str


COUNTS = {
    "decisions": Count(
        ("fraud type", "model", "policy", "action", "decisions", "without model or history"),
        """
        SELECT fraud_type, model_version, policy_version, action, count(*),
            count(*) FILTER (WHERE degraded)
        FROM decisions WHERE scored_at >= %s AND scored_at < %s
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        """,
    ),
    "deployments": Count(
        ("fraud type", "model", "stage", "by", "at", "why"),
        """
        SELECT fraud_type, model_version, stage, promoted_by, promoted_at::timestamp(0), reason
        FROM deployments WHERE promoted_at >= %s AND promoted_at < %s ORDER BY id
        """,
    ),
    "acts": Count(
        ("actor", "action", "succeeded", "failed"),
        """
        SELECT actor, action, count(*) FILTER (WHERE outcome = 'success'),
            count(*) FILTER (WHERE outcome = 'failure')
        FROM audit_log WHERE recorded_at >= %s AND recorded_at < %s AND action <> 'score'
        GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 500
        """,
    ),
    "cases": Count(
        ("fraud type", "verdict", "closed"),
        """
        SELECT fraud_type, verdict, count(*) FROM cases
        WHERE closed_at >= %s AND closed_at < %s GROUP BY 1, 2 ORDER BY 1, 2
        """,
    ),
    "audit_checks": Count(
        ("checks", "records at the last", "findings in all"),
        """
        SELECT count(*), coalesce(max((measured->>'records')::float8), 0)::bigint,
            coalesce(sum((measured->>'findings')::float8), 0)::bigint
        FROM measurements WHERE name = 'audit_check' AND taken_at >= %s AND taken_at < %s
        """,
    ),
}
"""Tables of the report; each query takes the first moment and the first one after."""


def compliance_counts(
    cursor: Cursor, since: dt.datetime, until: dt.datetime
) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table of the report."""
    found = {}
    for name, count in COUNTS.items():
        cursor.execute(count.query, (since, until))
        found[name] = cursor.fetchall()
    return found
