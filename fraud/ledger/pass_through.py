"""What was let through today: the budget is locked until the batch that draws is committed."""

import datetime as dt

from sqlalchemy import BigInteger, Column, Date, String, Table

from fraud.domain.event import from_us
from fraud.domain.pass_through import Budget
from fraud.domain.policy import PassThrough
from fraud.ledger.columns import metadata
from fraud.ledger.statement import Cursor, Statement

pass_through_spent = Table(
    "pass_through_spent",
    metadata,
    Column("fraud_type", String(50), primary_key=True),
    Column("day", Date, primary_key=True, comment="UTC."),
    Column("events", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
)

_LOCK = Statement(
    "pass_through_lock",
    ("varchar", "date"),
    """
    INSERT INTO pass_through_spent AS spent (fraud_type, day, events, amount_minor)
    VALUES ($1, $2, 0, 0)
    ON CONFLICT (fraud_type, day) DO UPDATE SET events = spent.events
    RETURNING events, amount_minor
    """,
)

_SPEND = Statement(
    "pass_through_spend",
    ("varchar", "date", "bigint", "bigint"),
    """
    UPDATE pass_through_spent SET events = $3, amount_minor = $4
    WHERE fraud_type = $1 AND day = $2
    """,
)


def budget_of(cursor: Cursor, fraud_type: str, rule: PassThrough, now_us: int) -> Budget:
    """What is left of today's budget; other batches that draw wait until this one ends."""
    _LOCK.execute(cursor, (fraud_type, _day(now_us)))
    events, amount_minor = cursor.fetchall()[0]
    return Budget(rule.daily_count - events, rule.daily_minor - amount_minor)


def spend(cursor: Cursor, fraud_type: str, rule: PassThrough, left: Budget, now_us: int) -> None:
    """Note what is left of a budget that `budget_of` locked."""
    spent = rule.daily_count - left.count, rule.daily_minor - left.amount_minor
    _SPEND.execute(cursor, (fraud_type, _day(now_us), *spent))


def _day(now_us: int) -> dt.date:
    return from_us(now_us).date()
