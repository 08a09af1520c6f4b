"""The databases of the platform: reachable, made where they are missing, and up to date."""

from fraud.ledger.deployments import current_deployment
from fraud.ledger.engine import database_name, ensure_database, sibling, wait_until_ready
from fraud.ledger.pool import transaction
from fraud.run.programs import Databases

REACH_TIMEOUT_S = 10.0


def planned(url: str, *, is_ours: bool) -> Databases:
    """Where the databases will be; on a server of yours their names begin with the ledger's."""
    prefix = "" if is_ours else f"{database_name(url)}_"
    return Databases(
        fraud=url, mlflow=sibling(url, f"{prefix}mlflow"), dagster=sibling(url, f"{prefix}dagster")
    )


def ensure(databases: Databases) -> None:
    """Make the databases that are missing.

    Raises:
        LedgerUnavailable: the server does not answer.
        SettingsError: the user may not create databases.
    """
    for url in (databases.mlflow, databases.dagster):
        ensure_database(databases.fraud, database_name(url))


def reach(url: str) -> None:
    """Return when the server of `url` answers.

    Raises:
        LedgerUnavailable: it does not.
    """
    wait_until_ready(url, timeout_s=REACH_TIMEOUT_S)


def has_champion(url: str, fraud_type: str) -> bool:
    """Whether a model of this fraud type was ever promoted."""
    with transaction(url) as cursor:
        return current_deployment(cursor, fraud_type) is not None
