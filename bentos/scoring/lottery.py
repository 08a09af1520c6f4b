"""The lottery among what would be blocked, inside the scoring transaction."""

from collections.abc import Sequence

from fraud.domain.decision import Decision
from fraud.domain.event import Event
from fraud.domain.pass_through import drawn
from fraud.domain.policy import PassThrough
from fraud.ledger.pass_through import budget_of, spend
from fraud.ledger.statement import Cursor


def draw_lots(
    cursor: Cursor,
    rule: PassThrough,
    events: Sequence[Event],
    decisions: Sequence[Decision],
    now_us: int,
) -> list[Decision]:
    """Decisions of one fraud type, some of those that may be let through.

    The propensity of an event is settled before its lot is drawn: the policy's share, or 0
    where the day's budget does not cover it.

    Args:
        cursor: of the transaction that writes the decisions.
        rule: the policy's.
        events: what happened.
        decisions: about it; those with a propensity may be let through.
        now_us: the time, microseconds UTC.
    """
    if all(decision.propensity is None for decision in decisions):
        return list(decisions)
    fraud_type = decisions[0].fraud_type
    left = budget_of(cursor, fraud_type, rule, now_us)
    settled: list[Decision] = []
    for event, decision in zip(events, decisions, strict=True):
        if decision.propensity is not None:
            share = rule.share if left.covers(event.amount_minor) else 0.0
            settled.append(drawn(decision, rule, share))
            if settled[-1].is_let_through:
                left.spend(event.amount_minor)
        else:
            settled.append(decision)
    if any(decision.is_let_through for decision in settled):
        spend(cursor, fraud_type, rule, left, now_us)
    return settled
