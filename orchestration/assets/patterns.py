"""Fraud patterns: where fraud rises or is missed, and drafted rules that would have caught it."""

import datetime as dt
import hashlib

import dagster as dg

from bentos.scoring.backtest import Backtest, backtest
from fraud.domain.event import to_us
from fraud.domain.fraud_type import FraudType
from fraud.domain.rules import RiskLevel, RuleVersion
from fraud.ledger.audit import AuditEntry, append, claim_chain
from fraud.ledger.engine import connect
from fraud.ledger.measurements import PATTERNS, Measurement, record_measurements
from fraud.ledger.past import latest_decisions
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.rules import draft_rule, rules_of
from fraud.ledger.statement import Cursor
from fraud.security.encryption import FieldProtection
from orchestration.assets.naming import DEPLOYED_BUNDLE, PATTERNS_ASSET, Materialized, asset_key
from orchestration.assets.pictures import table
from orchestration.live import judged_decisions
from orchestration.patterns import Segment, find_segments, with_features
from orchestration.resources import LedgerResource

ACTOR = "fraud-patterns"
BACKTESTED = 5_000


def fraud_patterns_asset(fraud_type: FraudType) -> dg.AssetsDefinition:
    """Segments of matured decisions where fraud rises or was missed."""

    @dg.asset(
        key=asset_key(fraud_type, PATTERNS_ASSET),
        deps=[asset_key(fraud_type, DEPLOYED_BUNDLE)],
        group_name="monitoring",
        kinds={"scikitlearn", "postgres"},
        description=(
            "**Segments of matured decisions where fraud is frequent and was missed or is "
            "rising, with their money.**\n\n"
            "Each becomes a rule in draft, which acts on nothing until an analyst moves it on, "
            f"with its backtest on the last {BACKTESTED:,} decisions."
        ),
    )
    def fraud_patterns(ledger: LedgerResource) -> Materialized:
        now = dt.datetime.now(dt.UTC)
        with ledger.pool() as pool:
            with pool.transaction() as cursor:
                judged = judged_decisions(cursor, fraud_type, now)
                decisions = with_features(cursor, fraud_type, judged)
            segments = find_segments(decisions, fraud_type.feature_names)
            drafted = draft_segments(pool, fraud_type, segments, now, ledger.protection())
        return dg.MaterializeResult(
            metadata={
                "decisions": len(decisions),
                "segments": len(segments),
                "missed_minor": sum(each.missed_minor for each in segments),
                "rules": table(
                    [
                        *("rule", "expression", "events", "frauds", "missed", "missed money"),
                        *("lift", "rising", "backtest hits", "frauds among them"),
                    ],
                    [
                        [
                            rule.code,
                            f"`{each.expression}`",
                            each.events,
                            each.frauds,
                            each.missed,
                            each.missed_minor / 100,
                            each.lift,
                            each.is_rising,
                            tried.hits,
                            tried.fraud_hits,
                        ]
                        for each, (rule, tried) in zip(segments, drafted, strict=True)
                    ],
                ),
            }
        )

    return fraud_patterns


def draft_segments(
    pool: ConnectionPool,
    fraud_type: FraudType,
    segments: list[Segment],
    now: dt.datetime,
    protection: FieldProtection,
) -> list[tuple[RuleVersion, Backtest]]:
    """A rule in draft for each segment, unless the same one was drafted before; with backtests."""
    session = connect(pool.url)
    try:
        chain = claim_chain(session, ACTOR)
        with pool.transaction() as cursor:
            rules = [_drafted(cursor, fraud_type, each, now, chain) for each in segments]
            past = (
                latest_decisions(cursor, fraud_type.name, BACKTESTED, protection) if rules else []
            )
            found = Measurement(
                fraud_type.name,
                PATTERNS,
                to_us(now),
                {
                    "segments": len(segments),
                    "missed_minor": sum(each.missed_minor for each in segments),
                },
            )
            record_measurements(cursor, [found])
    finally:
        session.close()
    return [(rule, backtest(fraud_type, rule, (), past)) for rule in rules]


def _drafted(
    cursor: Cursor, fraud_type: FraudType, segment: Segment, now: dt.datetime, chain: str
) -> RuleVersion:
    digest = hashlib.sha256(segment.expression.encode()).hexdigest()[:8]
    code = f"PATTERN_{digest.upper()}"
    known = rules_of(cursor, fraud_type.name, code)
    if known:
        return known[-1].rule
    text = (
        f"Fraud {segment.lift:.0f} times as frequent as elsewhere; "
        f"{segment.missed} of {segment.frauds} frauds were missed."
    )
    now_us = to_us(now)
    rule = draft_rule(
        cursor, fraud_type.name, code, text, RiskLevel.MEDIUM, segment.expression, ACTOR, now_us
    )
    entry = AuditEntry(
        actor=ACTOR,
        action="rule.draft",
        outcome="success",
        origin="pipeline",
        object_type="rule",
        object_id=f"{rule.code}/{rule.version}",
        detail={"expression": rule.expression, "level": rule.level.name},
    )
    append(cursor, chain, [entry], now_us)
    return rule
