"""Reasons: the features that raised a score most, in words."""

from collections.abc import Sequence

from fraud.domain.decision import Reason
from fraud.domain.features import Feature

MAX_REASONS = 5


def top_reasons(
    features: Sequence[Feature], values: Sequence[float], contributions: Sequence[float]
) -> tuple[Reason, ...]:
    """Up to five features with the largest contributions towards fraud, largest first.

    Args:
        features: the model's features, in order.
        values: their values for the event.
        contributions: what each added to the log-odds of the score.
    """
    order = sorted(range(len(features)), key=lambda place: (-contributions[place], place))
    return tuple(
        Reason(
            code=features[place].name.upper(),
            text=_sentence(features[place], values[place]),
            feature=features[place].name,
            value=float(values[place]),
            contribution=float(contributions[place]),
        )
        for place in order[:MAX_REASONS]
        if contributions[place] > 0
    )


def _sentence(feature: Feature, value: float) -> str:
    return f"{feature.description.rstrip('.')}: {feature.shown(value)}"
