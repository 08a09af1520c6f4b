"""How assets are called and grouped: `<fraud_type>/<asset>`, one group per stage."""

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from fraud.domain.fraud_type import FraudType

if TYPE_CHECKING:
    Materialized = dg.MaterializeResult[None]
else:
    # Dagster does not recognise the class with a parameter as what an asset returns.
    Materialized = dg.MaterializeResult

TRANSACTIONS = "transactions"
LABELS = "labels"
TRAINING_FRAME = "training_frame"
ONLINE_STATE = "online_state"
CHAMPION = "champion"
LIVE_GATES = "live_gates"
DEPLOYED_BUNDLE = "deployed_bundle"
DRIFT_REPORT = "drift_report"
PERFORMANCE_REVIEW = "performance_review"
LIVE_QUALITY_ASSET = "live_quality"
PATTERNS_ASSET = "fraud_patterns"

FRESH_DAILY = dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(hours=36))
FRESH_WEEKLY = dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(days=8))
"""How old the newest materialisation of an asset may be before Dagster calls it stale."""


def asset_key(fraud_type: FraudType, name: str) -> dg.AssetKey:
    """The key of a fraud type's asset."""
    return dg.AssetKey([fraud_type.name, name])


def check_key(fraud_type: FraudType, asset: str, check: str) -> dg.AssetCheckKey:
    """The key of a check of a fraud type's asset."""
    return dg.AssetCheckKey(asset_key(fraud_type, asset), check)
