"""Rules in the ledger: versions that never change, and the states they pass through."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fraud.domain.errors import InvalidField, NotFound
from fraud.domain.event import from_us, to_us
from fraud.domain.rules import RiskLevel, RuleState, RuleVersion
from fraud.ledger.rulesets import new_revision
from fraud.ledger.statement import Cursor

PLATFORM = "platform"
"""Who created the rules that came with a fraud type."""

NEXT_STATES: dict[RuleState, tuple[RuleState, ...]] = {
    "draft": ("shadow", "active", "retired"),
    "shadow": ("active", "retired"),
    "active": ("shadow", "retired"),
    "retired": (),
}
"""Retired is the end: what comes back comes back as a new version, with its own history."""


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A version of a rule, and where it came from."""

    rule: RuleVersion
    created_by: str
    created_at_us: int


def seed_rules(
    cursor: Cursor, fraud_type: str, rules: Iterable[RuleVersion], now_us: int
) -> list[str]:
    """Make a fraud type's own rules version 1 in the ledger, each unless its code is known.

    What is in the ledger wins: a built-in rule that an analyst retired stays retired.

    Returns:
        The codes that were new.
    """
    wanted = {rule.code: rule for rule in rules}
    missing = _unknown(cursor, fraud_type, list(wanted))
    if missing:
        change = f"seeded {', '.join(missing)}"
        revision = new_revision(cursor, fraud_type, "rules", change, PLATFORM, now_us)
        missing = _unknown(cursor, fraud_type, missing)  # another process may have been quicker
        for code in missing:
            _insert(cursor, fraud_type, wanted[code], PLATFORM, now_us, revision)
    return missing


def _unknown(cursor: Cursor, fraud_type: str, codes: list[str]) -> list[str]:
    cursor.execute(
        "SELECT code FROM rules WHERE fraud_type = %s AND code = ANY(%s)", (fraud_type, codes)
    )
    known = {row[0] for row in cursor.fetchall()}
    return [code for code in codes if code not in known]


def draft_rule(
    cursor: Cursor,
    fraud_type: str,
    code: str,
    text: str,
    level: RiskLevel,
    expression: str,
    actor: str,
    now_us: int,
) -> RuleVersion:
    """Store a new version of a rule as a draft; the expression must have been checked."""
    revision = new_revision(cursor, fraud_type, "rules", f"drafted {code}", actor, now_us)
    cursor.execute(
        "SELECT coalesce(max(version), 0) + 1 FROM rules WHERE fraud_type = %s AND code = %s",
        (fraud_type, code),
    )
    version = int(cursor.fetchall()[0][0])
    rule = RuleVersion(code, version, text, level, expression, "draft")
    _insert(cursor, fraud_type, rule, actor, now_us, revision)
    return rule


def rules_of(
    cursor: Cursor, fraud_type: str, code: str | None = None, states: Sequence[str] = ()
) -> list[StoredRule]:
    """Rules with their present states, by code and version; all of them unless narrowed."""
    cursor.execute(
        """
        SELECT r.code, r.version, r.text, r.level, r.expression, s.state, r.created_by,
            r.created_at
        FROM rules r JOIN rule_states s ON s.rule_id = r.id AND s.to_revision IS NULL
        WHERE r.fraud_type = %s AND (%s::text IS NULL OR r.code = %s)
            AND (%s OR s.state = ANY(%s))
        ORDER BY r.code, r.version
        """,
        (fraud_type, code, code, not states, list(states)),
    )
    return [_stored(row) for row in cursor.fetchall()]


def rule_version(cursor: Cursor, fraud_type: str, code: str, version: int) -> StoredRule:
    """One version of a rule with its present state.

    Raises:
        NotFound: there is none.
    """
    for each in rules_of(cursor, fraud_type, code):
        if each.rule.version == version:
            return each
    raise NotFound(
        f"There is no version {version} of the rule {code!r} for {fraud_type}.",
        remedy="GET /rules lists what there is.",
    )


def change_state(
    cursor: Cursor,
    fraud_type: str,
    code: str,
    version: int,
    state: RuleState,
    actor: str,
    now_us: int,
) -> StoredRule:
    """Move a version to another state; the version of that rule it replaces is retired.

    Raises:
        NotFound: there is no such version.
        InvalidField: it cannot go there from where it is.
    """
    change = f"{code} version {version} becomes {state}"
    revision = new_revision(cursor, fraud_type, "rules", change, actor, now_us)
    before = rule_version(cursor, fraud_type, code, version).rule.state
    if state not in NEXT_STATES[before]:
        to = " or ".join(NEXT_STATES[before]) or "nothing else: draft a new version instead"
        what = f"version {version} of {code} is {before}"
        raise InvalidField([("state", what, f"From there it becomes {to}.")])
    if state != "retired":
        for each in rules_of(cursor, fraud_type, code, (state,)):
            _move(cursor, fraud_type, code, each.rule.version, "retired", revision)
    _move(cursor, fraud_type, code, version, state, revision)
    return rule_version(cursor, fraud_type, code, version)


def _move(
    cursor: Cursor, fraud_type: str, code: str, version: int, state: RuleState, revision: int
) -> None:
    cursor.execute(
        """
        UPDATE rule_states SET to_revision = %(revision)s
        WHERE to_revision IS NULL AND rule_id = (
            SELECT id FROM rules
            WHERE fraud_type = %(fraud_type)s AND code = %(code)s AND version = %(version)s
        )
        RETURNING rule_id
        """,
        {"revision": revision, "fraud_type": fraud_type, "code": code, "version": version},
    )
    _enter(cursor, cursor.fetchall()[0][0], state, revision)


def _insert(
    cursor: Cursor,
    fraud_type: str,
    rule: RuleVersion,
    actor: str,
    now_us: int,
    revision: int,
) -> None:
    cursor.execute(
        """
        INSERT INTO rules (
            fraud_type, code, version, text, level, expression, created_by, created_at
        ) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        RETURNING id
        """,
        (
            *(fraud_type, rule.code, rule.version, rule.text, rule.level.name),
            *(rule.expression, actor, from_us(now_us)),
        ),
    )
    _enter(cursor, cursor.fetchall()[0][0], rule.state, revision)


def _enter(cursor: Cursor, rule_id: int, state: RuleState, revision: int) -> None:
    cursor.execute(
        "INSERT INTO rule_states (rule_id, state, from_revision) VALUES (%s, %s, %s)",
        (rule_id, state, revision),
    )


def _stored(row: Sequence[Any]) -> StoredRule:
    rule = RuleVersion(row[0], row[1], row[2], RiskLevel[row[3]], row[4], row[5])
    return StoredRule(rule, created_by=row[6], created_at_us=to_us(row[7]))
