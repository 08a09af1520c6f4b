"""What serves now, as the ledger says and the bundle proves."""

import logging

from bentos.scoring.bundle import Bundle, read_bundle
from bentos.scoring.model import ScoringModel
from fraud.domain.deployment import Deployment
from fraud.domain.errors import BundleError, NotFound
from fraud.domain.fraud_type import FraudType
from fraud.ledger.deployments import current_deployment
from fraud.ledger.pool import ConnectionPool
from fraud.settings import Settings

log = logging.getLogger("fraud.pipeline")


def serving_model(pool: ConnectionPool, settings: Settings, fraud_type: FraudType) -> ScoringModel:
    """The champion that serves.

    Raises:
        NotFound: nothing was ever deployed.
        BundleError: its bundle is damaged, or was built for other features.
    """
    with pool.transaction() as cursor:
        deployment = current_deployment(cursor, fraud_type.name)
    if deployment is None:
        raise NotFound(
            f"No model of {fraud_type.name} was ever deployed.",
            remedy="Materialise `deployed_bundle` first.",
        )
    return ScoringModel(deployed_bundle(deployment, settings, fraud_type))


def running_model(
    pool: ConnectionPool, settings: Settings, fraud_type: FraudType
) -> ScoringModel | None:
    """The champion that serves, if there is one and it can be scored by the running code."""
    try:
        return serving_model(pool, settings, fraud_type)
    except NotFound:
        return None
    except BundleError as error:
        log.warning("The running champion cannot be compared: %s", error)
        return None


def deployed_bundle(deployment: Deployment, settings: Settings, fraud_type: FraudType) -> Bundle:
    """The bundle of a deployment.

    Raises:
        BundleError: it is damaged, or was built for other features.
    """
    folder = settings.bundle_dir / deployment.bundle_path
    return read_bundle(folder, settings.verify_key_pem, fraud_type)
