"""Rulesets in the ledger: numbered changes, and the state after any of them.

Every change of a rule, a list or a policy is a revision. Revisions are numbered under a lock
that is held until the change is committed, so whoever sees a number also sees everything up
to it; rows say from which revision until which they count. A ruleset read "as of" a revision
is therefore whole, whatever is being written meanwhile, and can be read again years later.
"""

from typing import Literal

from fraud.domain.event import from_us, to_us
from fraud.domain.policy import PassThrough, Thresholds
from fraud.domain.rules import RiskLevel, RuleVersion
from fraud.domain.ruleset import Ruleset, ValueList
from fraud.ledger.statement import Cursor

Part = Literal["rules", "lists", "policy"]

_AS_OF = "{0}.from_revision <= %s AND ({0}.to_revision IS NULL OR {0}.to_revision > %s)"


def new_revision(
    cursor: Cursor, fraud_type: str, part: Part, change: str, actor: str, now_us: int
) -> int:
    """Number a change; other changes wait until the caller's transaction ends.

    Args:
        cursor: of the transaction that makes the change.
        fraud_type: whose ruleset changes.
        part: which part of it.
        change: what happens, for people.
        actor: who makes it.
        now_us: the time, microseconds UTC.
    """
    # Two statements, so that the second one sees what was committed while the first one waited.
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('ruleset_revisions'))")
    cursor.execute(
        """
        INSERT INTO ruleset_revisions (
            revision, fraud_type, part, change, changed_by, changed_at
        )
        SELECT coalesce(max(revision), 0) + 1, %s, %s, %s, %s, %s FROM ruleset_revisions
        RETURNING revision
        """,
        (fraud_type, part, change, actor, from_us(now_us)),
    )
    return int(cursor.fetchall()[0][0])


def latest_revisions(cursor: Cursor) -> dict[tuple[str, str], int]:
    """The last revision of each part of each fraud type's ruleset; one round trip."""
    cursor.execute(
        "SELECT fraud_type, part, max(revision) FROM ruleset_revisions GROUP BY fraud_type, part"
    )
    return {(row[0], row[1]): row[2] for row in cursor.fetchall()}


def load_ruleset(
    cursor: Cursor,
    fraud_type: str,
    *,
    rules_version: int,
    lists_version: int,
    policy_version: int = 0,
    known: Ruleset | None = None,
) -> Ruleset:
    """The ruleset as it was after these revisions.

    Args:
        cursor: of any transaction.
        fraud_type: whose.
        rules_version: revision of the rules.
        lists_version: revision of the lists.
        policy_version: revision of the policy; 0 for the model's own thresholds.
        known: a ruleset loaded before; parts of the same revision are taken from it.
    """
    fresh = known is None or known.fraud_type != fraud_type
    known = Ruleset(fraud_type) if known is None or fresh else known
    rules, lists = known.rules, known.lists
    thresholds, pass_through = known.thresholds, known.pass_through
    if fresh or known.rules_version != rules_version:
        rules = _rules(cursor, fraud_type, rules_version)
    if fresh or known.lists_version != lists_version:
        lists = _lists(cursor, fraud_type, lists_version)
    if fresh or known.policy_version != policy_version:
        thresholds, pass_through = _policy(cursor, fraud_type, policy_version)
    return Ruleset(
        fraud_type=fraud_type,
        rules=rules,
        lists=lists,
        thresholds=thresholds,
        rules_version=rules_version,
        lists_version=lists_version,
        policy_version=policy_version,
        pass_through=pass_through,
    )


def _rules(cursor: Cursor, fraud_type: str, revision: int) -> tuple[RuleVersion, ...]:
    cursor.execute(
        f"""
        SELECT r.code, r.version, r.text, r.level, r.expression, s.state
        FROM rules r JOIN rule_states s ON s.rule_id = r.id
        WHERE r.fraud_type = %s AND s.state IN ('shadow', 'active')
            AND {_AS_OF.format("s")}
        ORDER BY r.code, r.version
        """,
        (fraud_type, revision, revision),
    )
    return tuple(
        RuleVersion(row[0], row[1], row[2], RiskLevel[row[3]], row[4], row[5])
        for row in cursor.fetchall()
    )


def _lists(cursor: Cursor, fraud_type: str, revision: int) -> tuple[ValueList, ...]:
    cursor.execute(
        f"""
        SELECT l.name, l.kind, l.field, e.value, e.expires_at
        FROM lists l LEFT JOIN list_entries e ON e.list_id = l.id AND {_AS_OF.format("e")}
        WHERE l.fraud_type = %s AND l.from_revision <= %s
        ORDER BY l.name
        """,
        (revision, revision, fraud_type, revision),
    )
    found: dict[tuple[str, ...], dict[str, int | None]] = {}
    for name, kind, field, value, expires_at in cursor.fetchall():
        entries = found.setdefault((name, kind, field), {})
        if value is not None:
            entries[value] = None if expires_at is None else to_us(expires_at)
    return tuple(
        ValueList(name, kind, field, entries)  # type: ignore[arg-type]
        for (name, kind, field), entries in found.items()
    )


def _policy(
    cursor: Cursor, fraud_type: str, revision: int
) -> tuple[Thresholds | None, PassThrough | None]:
    cursor.execute(
        f"""
        SELECT p.thresholds, p.pass_through
        FROM policies p JOIN policy_periods t ON t.policy_id = p.id
        WHERE p.fraud_type = %s AND {_AS_OF.format("t")}
        """,
        (fraud_type, revision, revision),
    )
    rows = cursor.fetchall()
    if not rows:
        return None, None
    thresholds, pass_through = rows[0]
    return Thresholds(**thresholds), PassThrough(**pass_through) if pass_through else None
