"""Training/serving skew: features as the service computed them, and as training would."""

from bentos.scoring.replay import nearest
from feature_store.lake import Lake
from feature_store.rebuilding import rebuilt_features
from fraud.domain.fraud_type import FraudType
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.recorded import recorded_decisions
from orchestration.promotion.offline_gates import Skew

_LATEST = """
SELECT decision_id FROM decisions WHERE fraud_type = %s AND schema_hash = %s
ORDER BY scored_at DESC, decision_id DESC LIMIT %s
"""


def measured_skew(pool: ConnectionPool, lake: Lake, fraud_type: FraudType, count: int) -> Skew:
    """The last decisions whose features the log does not give again, bit for bit.

    Args:
        pool: connections to the ledger.
        lake: the log beside it.
        fraud_type: whose decisions, and as its code stands.
        count: decisions looked at, at most.
    """
    with pool.transaction() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute(_LATEST, (fraud_type.name, fraud_type.schema_hash, count))
        latest = [row[0] for row in cursor.fetchall()]
        if not latest:
            return Skew(0, 0)
        recorded = recorded_decisions(cursor, latest)
        rebuilt = rebuilt_features(fraud_type, lake, cursor, recorded)
    looked_at = [each for each in recorded if each.event.transaction_id in rebuilt]
    differing = sum(
        nearest(each.feature_values, rebuilt[each.event.transaction_id]) != each.feature_values
        for each in looked_at
    )
    return Skew(len(looked_at), differing)
