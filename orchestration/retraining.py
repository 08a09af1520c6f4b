"""Whether a model should be trained again, and when it was asked for often enough already."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fraud.domain.event import from_us
from fraud.ledger.deployments import current_deployment
from fraud.ledger.measurements import (
    DRIFT,
    LIVE_QUALITY,
    RETRAINING,
    Measurement,
    measurement_history,
    newest_measurements,
)
from fraud.ledger.statement import Cursor

MOST_DRIFTED = 0.3
"""Share of drifted features from which the training data no longer describe today."""

LEAST_ACCURACY = 0.8
MOST_LOST = 0.15
"""How much live recall may fall below the recall that the champion's test promised."""

LEAST_JUDGED = 1_000
"""Matured decisions without which live quality says nothing."""

LEAST_FRAUDS = 50
"""Matured frauds without which recall says nothing: of 50, its standard error is 7 points."""

FIRST_WAIT = dt.timedelta(days=1)
LONGEST_WAIT = dt.timedelta(days=32)
"""After a request the next one waits; twice as long each time, until a new champion serves."""


@dataclass(frozen=True)
class Need:
    """Why a model should be trained again.

    Attributes:
        reasons: in words; none where it should not.
        attempt: how many requests this one would follow since a champion last changed.
        not_before: when the next request may be made.
    """

    reasons: tuple[str, ...]
    attempt: int
    not_before: dt.datetime | None

    def is_due(self, now: dt.datetime) -> bool:
        """Whether to ask for it now."""
        return bool(self.reasons) and (self.not_before is None or now >= self.not_before)


def need(
    found: Sequence[Measurement],
    requests: Sequence[Measurement],
    model_version: str,
    promoted_at: dt.datetime,
    promised: Mapping[str, float],
    judged_after: dt.timedelta = dt.timedelta(0),
) -> Need:
    """What measurements of a fraud type say about its champion.

    Drift alone asks again only once the days that choose a model and report on it can lie after
    the last request: before that, training would judge by the same days again.

    Args:
        found: the newest of each name.
        requests: earlier requests of retraining, newest first.
        model_version: the champion's.
        promoted_at: when it began to serve.
        promised: the metrics of its test.
        judged_after: how old an event is by the time that all of training judges by such events.
    """
    mine = [
        each
        for each in found
        if each.model_version == model_version and from_us(each.taken_at_us) >= promoted_at
    ]
    drift = [reason for each in mine if each.name == DRIFT for reason in _of_drift(each)]
    decay = [
        reason for each in mine if each.name != DRIFT for reason in _of_quality(each, promised)
    ]
    asked_at = [from_us(each.taken_at_us) for each in requests]
    since = [moment for moment in asked_at if moment >= promoted_at]
    waits = [since[0] + min(FIRST_WAIT * 2 ** (len(since) - 1), LONGEST_WAIT)] if since else []
    if asked_at and not decay:
        waits.append(asked_at[0] + judged_after)
    return Need((*drift, *decay), len(since), max(waits, default=None))


def needs_retraining(
    cursor: Cursor,
    fraud_type: str,
    promised: Mapping[str, float],
    judged_after: dt.timedelta = dt.timedelta(0),
) -> Need | None:
    """What the ledger says about a fraud type's champion; None where it has none."""
    deployment = current_deployment(cursor, fraud_type)
    if deployment is None:
        return None
    return need(
        newest_measurements(cursor, [fraud_type], [DRIFT, LIVE_QUALITY]),
        measurement_history(cursor, fraud_type, RETRAINING, limit=20),
        deployment.model_version,
        from_us(deployment.promoted_at_us),
        promised,
        judged_after,
    )


def _of_drift(each: Measurement) -> list[str]:
    share, distance = each.values["drifted_share"], each.values["score_distance"]
    if not each.values.get("served"):
        return []
    found = []
    if share > MOST_DRIFTED:
        found.append(f"{share:.0%} of the features drifted.")
    if distance >= each.values.get("score_threshold", 0.1):
        found.append(f"The score drifted by {distance:.2f}.")
    return found


def _of_quality(each: Measurement, promised: Mapping[str, float]) -> list[str]:
    if each.decisions < LEAST_JUDGED:
        return []
    found = []
    if each.values["accuracy"] < LEAST_ACCURACY:
        found.append(f"Live accuracy is {each.values['accuracy']:.1%}.")
    recall, expected = each.values.get("recall"), promised.get("recall_alert")
    if each.values.get("frauds", LEAST_FRAUDS) < LEAST_FRAUDS:
        return found
    if recall is not None and expected is not None and recall < expected - MOST_LOST:
        found.append(f"Live recall is {recall:.1%}; the test promised {expected:.1%}.")
    return found
