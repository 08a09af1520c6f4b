"""Random pass-through: some of what would be blocked is let through, to learn what it was.

What is blocked never shows whether it was fraud, so that a model judged by the rest looks other
than it is. Letting a few through at random, with a known propensity, mends that: each of them
stands for 1 / propensity of its kind (Horvitz & Thompson 1952).
"""

from dataclasses import dataclass, replace

from fraud.domain.decision import Decision, Reason
from fraud.domain.policy import PassThrough

PASS_THROUGH_REASON = Reason(
    code="RANDOM_PASS_THROUGH",
    text="Let through at random, to learn what blocking would have hidden.",
    feature="",
    value=0.0,
    contribution=0.0,
)


@dataclass(slots=True)
class Budget:
    """What is left of a day's budget.

    Attributes:
        count: events that may still be let through.
        amount_minor: what they may amount to, minor units.
    """

    count: int
    amount_minor: int

    def covers(self, amount_minor: int) -> bool:
        """Whether an event of this amount may be let through."""
        return self.count > 0 and amount_minor <= self.amount_minor

    def spend(self, amount_minor: int) -> None:
        """Take an event off."""
        self.count -= 1
        self.amount_minor -= amount_minor


def drawn(decision: Decision, rule: PassThrough, propensity: float) -> Decision:
    """A decision to block, with its propensity, and let through if the lot falls on it.

    Args:
        decision: one that may be let through.
        rule: the policy's.
        propensity: its share, or 0 where the budget did not cover the event.
    """
    if not rule.is_drawn(decision.transaction_id, propensity):
        return replace(decision, propensity=propensity)
    return replace(
        decision,
        propensity=propensity,
        is_let_through=True,
        reasons=(*decision.reasons, PASS_THROUGH_REASON),
    )
