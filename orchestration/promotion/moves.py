"""What people and pipelines ask for: a model one stage further, or a new one into service."""

from fraud.domain.deployment import CHAMPION, SHADOW, Deployment, Stage
from fraud.domain.fraud_type import FraudType
from fraud.ledger.deployments import current_deployment, deployment_of
from fraud.settings import Settings
from orchestration.promotion.check import passed_so_far
from orchestration.promotion.gates import GateResult, load_gates
from orchestration.promotion.ladder import Rung, rung_of
from orchestration.promotion.office import Outcome, PromotionOffice, known_model, open_office


def promote_model(
    settings: Settings,
    fraud_type: FraudType,
    version: str | None,
    *,
    actor: str,
    stage: Stage | None = None,
    share: float | None = None,
    reason: str,
    is_early: bool = False,
) -> str:
    """Take a model a stage further, if it passes its gates.

    Args:
        settings: the configuration.
        fraud_type: whose model.
        version: which one; who challenges if None.
        actor: who decides.
        stage: where to; the next one if None.
        share: of the subjects, for a canary.
        reason: why.
        is_early: before its stage took its least time.

    Returns:
        What became of it, in a sentence.

    Raises:
        NotFound: there is no such model.
        ContractError: it may not go there, or not yet.
    """
    stages = load_gates(settings, fraud_type.name).stages
    with open_office(settings, actor) as office:
        with office.pool.transaction() as cursor:
            model = known_model(cursor, fraud_type.name, version)
            champion = current_deployment(cursor, fraud_type.name)
        rung = rung_of(stages, stage, share, model)
        results: list[GateResult] = []
        if rung.stage != SHADOW and champion is not None:
            results = passed_so_far(office, fraud_type, model, is_early=is_early)
        return office.move(model, rung, reason, results).sentence


def approve_promotion(settings: Settings, actor: str, request_id: int) -> str:
    """Agree to a promotion as the second person; what became of it, in a sentence.

    Raises:
        NotFound: nothing of this number waits.
        Forbidden: it was the same person.
    """
    with open_office(settings, actor) as office:
        return office.approve(request_id).sentence


def bring_in(
    office: PromotionOffice, model: Deployment, gates: tuple[GateResult, ...]
) -> Outcome | None:
    """Put a new model into service, once: where there is no champion it becomes that at once.

    Else it becomes a challenger in shadow, unless `settings.promotion` is `now`.

    Args:
        office: whose person acts.
        model: the new one, with its bundle.
        gates: the offline gates it passed.

    Returns:
        What became of it; None where this bundle serves or challenges already.
    """
    with office.pool.transaction() as cursor:
        champion = current_deployment(cursor, model.fraud_type)
        known = deployment_of(cursor, model.fraud_type, model.model_version)
    if known is not None and known.bundle_digest == model.bundle_digest:
        return None
    if champion is not None and office.settings.promotion == "staged":
        return office.move(model, Rung(SHADOW), model.reason, gates)
    if office.settings.two_person_approval:
        office.move(model, Rung(SHADOW), model.reason, gates)  # so that the request can name it
    return office.move(model, Rung(CHAMPION), model.reason, gates)
