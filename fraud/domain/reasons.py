"""Reasons: the lists and rules that hit, and the features that raised a score most, in words."""

from collections.abc import Sequence

from fraud.domain.decision import Reason
from fraud.domain.features import Feature, shortest_decimal
from fraud.domain.ruleset import ALLOW_LIST, DENY_LIST, Findings, RuleHit, ValueList

MAX_REASONS = 5
MOST_FROM_RULES = 3
"""Reasons that lists and rules may take; the rest is left to the model's features."""

NO_MODEL_REASON = Reason(
    code="MODEL_UNAVAILABLE",
    text="No model could be asked, so a person should look.",
    feature="",
    value=0.0,
    contribution=0.0,
)

NO_HISTORY_REASON = Reason(
    code="HISTORY_UNAVAILABLE",
    text="No history could be read, so a person should look.",
    feature="",
    value=0.0,
    contribution=0.0,
)


def top_reasons(
    features: Sequence[Feature],
    values: Sequence[float],
    contributions: Sequence[float],
    most: int = MAX_REASONS,
) -> tuple[Reason, ...]:
    """The features with the largest contributions towards fraud, largest first.

    Args:
        features: the model's features, in order.
        values: their values for the event.
        contributions: what each added to the log-odds of the score.
        most: reasons at most.
    """
    order = sorted(range(len(features)), key=lambda place: (-contributions[place], place))
    return tuple(
        Reason(
            code=features[place].name.upper(),
            text=_sentence(features[place], values[place]),
            feature=features[place].name,
            value=shortest_decimal(float(values[place])),
            contribution=float(contributions[place]),
        )
        for place in order[:most]
        if contributions[place] > 0
    )


def hit_reasons(findings: Findings) -> tuple[Reason, ...]:
    """Lists and rules that hit, strongest first; they add nothing to the score itself."""
    reasons = []
    if findings.denied is not None:
        reasons.append(_of_list(DENY_LIST, "deny", findings.denied))
    if findings.allowed is not None:
        reasons.append(_of_list(ALLOW_LIST, "allow", findings.allowed))
    reasons += [_of_rule(hit) for hit in findings.fired]
    return tuple(reasons[:MOST_FROM_RULES])


def _of_list(code: str, kind: str, hit: ValueList) -> Reason:
    text = f"The {hit.field} is on the {kind} list {hit.name!r}."
    return Reason(code=code, text=text, feature=hit.field, value=1.0, contribution=0.0)


def _of_rule(hit: RuleHit) -> Reason:
    return Reason(hit.rule.code, hit.rule.text, hit.variable, hit.value, contribution=0.0)


def _sentence(feature: Feature, value: float) -> str:
    return f"{feature.description.rstrip('.')}: {feature.shown(value)}"
