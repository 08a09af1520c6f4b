"""Rules: list, draft, move from state to state, try on decisions of the past."""

import datetime as dt
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field

from bentos.fraud_detector.operations.desk import Work
from bentos.fraud_detector.operations.routing import Answer, Asked, Prose, Sent, StrictRoute
from bentos.fraud_detector.operations.routing import shown_time as shown
from bentos.scoring.backtest import Backtest, backtest
from bentos.scoring.expressions import LONGEST, Language
from fraud.domain.errors import InvalidField
from fraud.domain.rules import RiskLevel, RuleState
from fraud.domain.ruleset import ALLOW_LIST, DENY_LIST
from fraud.ledger.lists import lists_of
from fraud.ledger.past import latest_decisions
from fraud.ledger.rules import StoredRule, change_state, draft_rule, rule_version, rules_of
from fraud.ledger.rulesets import latest_revisions, load_ruleset
from fraud.ledger.statement import Cursor

router = APIRouter(route_class=StrictRoute, tags=["rules"])

MOST_BACKTESTED = 20_000
RESERVED = {DENY_LIST, ALLOW_LIST}

Code = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,49}$")]
InPath = Annotated[str, Path(max_length=50)]
Version = Annotated[int, Path(ge=1, le=2**31 - 1)]


class RuleDraft(Sent):
    """A new version of a rule."""

    code: Code = Field(description="Stable name, e.g. MANY_COUNTRIES; a known one gets a version.")
    text: Prose = Field(min_length=1, max_length=300, description="What it means, for analysts.")
    level: Literal["MEDIUM", "HIGH", "CRITICAL"] = Field(description="Least risk where it fires.")
    expression: str = Field(description=f"When it fires, at most {LONGEST} characters of CEL.")


class StateChange(Sent):
    """Where a version goes."""

    state: Literal["shadow", "active", "retired"]


class RuleShown(Answer):
    """A version of a rule in its present state."""

    code: str
    version: int
    text: str
    level: str
    expression: str
    state: RuleState
    created_by: str
    created_at: dt.datetime


class RulesShown(Answer):
    """Rules, by code and version."""

    rules: list[RuleShown]


class BacktestShown(Answer):
    """What a rule would have done to the last decisions; money in minor units."""

    decisions: int = Field(description="Decisions it was tried on.")
    oldest: dt.datetime | None
    skipped: int = Field(description="Decisions made with other features, left out.")
    hits: int
    hit_share: float
    hit_amount_minor: int
    raised: int = Field(description="Hits whose risk level it would have raised.")
    raised_amount_minor: int
    labelled: int = Field(description="Hits with a label.")
    fraud_hits: int = Field(description="Hits labelled as fraud.")
    fraud_amount_minor: int
    missed_fraud_hits: int = Field(description="Fraud among the hits that had been approved.")
    missed_fraud_amount_minor: int
    precision: float | None = Field(description="Share of fraud among labelled hits.")


@router.get("/rules")
async def list_rules(
    asked: Asked,
    state: Annotated[RuleState | None, Query()] = None,
    code: Annotated[str | None, Query(max_length=50)] = None,
) -> RulesShown:
    """List the rules of a fraud type."""

    def work(at: Work) -> RulesShown:
        found = rules_of(at.cursor, asked.fraud_type, code, [state] if state else [])
        at.record("rules.read", "rules", asked.fraud_type, count=len(found))
        return RulesShown(rules=[_shown(each) for each in found])

    return await asked.run(work)


@router.post("/rules", status_code=201)
async def draft(asked: Asked, sent: RuleDraft) -> RuleShown:
    """Draft a rule, or a new version of one; it acts on nothing yet."""
    if sent.code in RESERVED:
        raise InvalidField([("code", "is the code of list hits", "Choose another.")])

    def work(at: Work) -> RuleShown:
        _language(asked, at.cursor).check(sent.expression)
        rule = draft_rule(
            at.cursor,
            asked.fraud_type,
            sent.code,
            sent.text,
            RiskLevel[sent.level],
            sent.expression,
            at.actor,
            at.now_us,
        )
        at.record(
            *("rule.draft", "rule", f"{rule.code}/{rule.version}"),
            expression=rule.expression,
            level=sent.level,
        )
        return _shown(StoredRule(rule, at.actor, at.now_us))

    return await asked.run(work)


@router.post("/rules/{code}/{version}/state")
async def move(asked: Asked, code: InPath, version: Version, sent: StateChange) -> RuleShown:
    """Move a version on: draft, shadow, active, retired; it counts within a second."""

    def work(at: Work) -> RuleShown:
        before = rule_version(at.cursor, asked.fraud_type, code, version)
        if sent.state != "retired":
            _language(asked, at.cursor).check(before.rule.expression)
        moved = change_state(
            at.cursor, asked.fraud_type, code, version, sent.state, at.actor, at.now_us
        )
        at.record(
            *("rule.state", "rule", f"{code}/{version}"), old=before.rule.state, new=sent.state
        )
        return _shown(moved)

    return await asked.run(work)


@router.post("/rules/{code}/{version}/backtest")
async def try_out(
    asked: Asked,
    code: InPath,
    version: Version,
    last: Annotated[int, Query(ge=1, le=MOST_BACKTESTED, description="Decisions.")] = 1000,
) -> BacktestShown:
    """Try a version on the last decisions: how often it holds, and about how much money."""

    def work(at: Work) -> BacktestShown:
        rule = rule_version(at.cursor, asked.fraud_type, code, version).rule
        latest = latest_revisions(at.cursor)
        ruleset = load_ruleset(
            at.cursor,
            asked.fraud_type,
            rules_version=0,
            lists_version=latest.get((asked.fraud_type, "lists"), 0),
        )
        past = latest_decisions(at.cursor, asked.fraud_type, last, asked.desk.protection)
        found = backtest(asked.kind, rule, ruleset.lists, past)
        at.record("rule.backtest", "rule", f"{code}/{version}", last=last, hits=found.hits)
        return _backtest(found)

    return await asked.run(work)


def _language(asked: Asked, cursor: Cursor) -> Language:
    return Language(asked.kind, [each.name for each in lists_of(cursor, asked.fraud_type)])


def _shown(stored: StoredRule) -> RuleShown:
    rule = stored.rule
    return RuleShown(
        code=rule.code,
        version=rule.version,
        text=rule.text,
        level=rule.level.name,
        expression=rule.expression,
        state=rule.state,
        created_by=stored.created_by,
        created_at=shown(stored.created_at_us),
    )


def _backtest(found: Backtest) -> BacktestShown:
    return BacktestShown(
        decisions=found.decisions,
        oldest=None if found.oldest_us is None else shown(found.oldest_us),
        skipped=found.skipped,
        hits=found.hits,
        hit_share=found.hits / found.decisions if found.decisions else 0.0,
        hit_amount_minor=found.hit_amount_minor,
        raised=found.raised,
        raised_amount_minor=found.raised_amount_minor,
        labelled=found.labelled,
        fraud_hits=found.fraud_hits,
        fraud_amount_minor=found.fraud_amount_minor,
        missed_fraud_hits=found.missed_fraud_hits,
        missed_fraud_amount_minor=found.missed_fraud_amount_minor,
        precision=found.fraud_hits / found.labelled if found.labelled else None,
    )
