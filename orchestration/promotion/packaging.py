"""Whether ledger, bundles, Bentos and MLflow's registry speak of the same models."""

from collections.abc import Iterator

from bentos.scoring.bundle import read_signed_bundle
from fraud.domain.deployment import CHAMPION, Deployment
from fraud.domain.errors import FraudError
from fraud.ledger.deployments import challengers, current_deployment
from fraud.ledger.pool import ConnectionPool
from fraud.run.model_bento import bento_labels, bento_tag
from fraud.settings import Settings
from orchestration.training.tracking import RegisteredModel, registered_models


def disagreements(pool: ConnectionPool, settings: Settings, fraud_type: str) -> list[str]:
    """What does not fit the models in service, in sentences; none where all agree.

    Raises:
        LedgerUnavailable: PostgreSQL does not answer.
        UnavailableError: MLflow does not answer.
    """
    with pool.transaction() as cursor:
        champion = current_deployment(cursor, fraud_type)
        challenger = challengers(cursor).get(fraud_type)
    registry = registered_models(fraud_type, tracking_uri=settings.mlflow_tracking_uri)
    found: list[str] = []
    for alias, model in ((CHAMPION, champion), ("challenger", challenger)):
        found += _of_alias(alias, model, registry)
        if model is not None:
            found += _of_bundle(settings, model)
            found += _of_bento(settings, model)
    return found


def _of_alias(
    alias: str, model: Deployment | None, registry: dict[str, RegisteredModel]
) -> Iterator[str]:
    holders = [name for name, entry in registry.items() if alias in entry.aliases]
    wanted = [] if model is None else [model.model_version]
    if holders != wanted:
        yield (
            f"MLflow's alias {alias} names {holders[0] if holders else 'nothing'}, the ledger "
            f"{wanted[0] if wanted else 'nothing'}."
        )
    entry = registry.get(model.model_version) if model else None
    if model is not None and entry is not None and entry.bundle_digest != model.bundle_digest:
        yield (
            f"MLflow keeps {model.model_version} with the bundle {entry.bundle_digest[:12]}, the "
            f"ledger with {model.bundle_digest[:12]}."
        )


def _of_bundle(settings: Settings, model: Deployment) -> Iterator[str]:
    try:
        folder = settings.bundle_dir / model.bundle_path
        digest = read_signed_bundle(folder, settings.verify_key_pem).digest
    except FraudError as error:
        yield str(error)
        return
    if digest != model.bundle_digest:
        yield f"{folder} holds another bundle than the ledger names for {model.model_version}."


def _of_bento(settings: Settings, model: Deployment) -> Iterator[str]:
    labels = bento_labels(settings, model)
    if not labels:
        yield f"There is no Bento {bento_tag(model)}: fraud deployments pack builds it."
    elif labels.get("bundle_digest") != model.bundle_digest:
        yield f"The Bento {bento_tag(model)} holds another bundle than the ledger names."
