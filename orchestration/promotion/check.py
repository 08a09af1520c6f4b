"""The check: live gates of who challenges and of a new champion, and what follows from them.

A failed gate leads back by itself; a stage that was passed leads on. A Dagster sensor and
`fraud deployments check` both call `check_deployments`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bentos.scoring.bundle import read_signed_bundle
from bentos.scoring.manifest import Manifest
from fraud.domain.deployment import Deployment, standing_champions
from fraud.domain.errors import ContractError, NotFound
from fraud.domain.fraud_type import FraudType
from fraud.domain.windows import HOUR_US
from fraud.ledger.challenges import before_promotion, beside_the_champion, since_promotion
from fraud.ledger.deployments import challengers, champions
from fraud.ledger.policies import policies_of
from fraud.ledger.statement import Cursor
from fraud.settings import Settings
from orchestration.promotion.gates import GateResult, Gates, load_gates
from orchestration.promotion.ladder import Rung, is_ripe, next_rung
from orchestration.promotion.live_gates import LiveEvidence, Terms, live_gates, paired, succeeded
from orchestration.promotion.office import Outcome, PromotionOffice
from orchestration.training.score_profile import ScoreProfile
from orchestration.training.train import TEST_SCORES

COMPARED = 5_000
"""Decisions of the champion before that a new one is held against."""

Action = Literal["none", "promoted", "asked", "rolled back"]


@dataclass(frozen=True)
class Finding:
    """What a check found, and did.

    Attributes:
        fraud_type: whose models.
        model_version: which model was looked at; '' where there was none.
        stage: at which stage.
        gates: what each live gate said.
        action: what was done.
        sentence: all of it in words.
    """

    fraud_type: str
    model_version: str = ""
    stage: str = ""
    gates: Sequence[GateResult] = ()
    action: Action = "none"
    sentence: str = "Nobody challenges, and no champion is new."


def check_deployments(
    office: PromotionOffice, fraud_type: FraudType, *, is_trial: bool = False
) -> Finding:
    """Judge who challenges, or a champion that is still watched, and act on it.

    Args:
        office: whose person acts.
        fraud_type: whose models.
        is_trial: only say what would be found.

    Raises:
        LedgerUnavailable: PostgreSQL does not answer.
        SettingsError: the gates cannot be read.
    """
    gates = load_gates(office.settings, fraud_type.name)
    with office.pool.transaction() as cursor:
        challenger = challengers(cursor).get(fraud_type.name)
        standing = standing_champions(champions(cursor, fraud_type.name))
    if challenger is not None:
        return _challenge(office, fraud_type, gates, challenger, standing, is_trial)
    return _succession(office, fraud_type, gates, standing, is_trial)


def challenge_evidence(
    office: PromotionOffice,
    fraud_type: FraudType,
    challenger: Deployment,
    standing: Sequence[Deployment],
) -> LiveEvidence:
    """What live gates look at of a challenger."""
    now_us = office.clock_us()
    with office.pool.transaction() as cursor:
        seen = beside_the_champion(cursor, challenger)
        sides = (challenger, standing[0] if standing else challenger)
        terms = _terms(cursor, office.settings, sides)
    return paired(seen, challenger.model_version, terms, fraud_type.maturity_us, now_us)


def _challenge(
    office: PromotionOffice,
    fraud_type: FraudType,
    gates: Gates,
    challenger: Deployment,
    standing: Sequence[Deployment],
    is_trial: bool,
) -> Finding:
    evidence = challenge_evidence(office, fraud_type, challenger, standing)
    results = live_gates(evidence, gates.live)
    failed = [each for each in results if not each.passed]
    now_us = office.clock_us()
    is_due, progress = is_ripe(gates.stages, challenger, evidence.asked, now_us)
    outcome: Outcome | None = None
    action: Action = "none"
    sentence = f"{challenger.model_version} is {progress}."
    if failed:
        action, sentence = "rolled back", " ".join(each.sentence for each in failed)
        if not is_trial:
            outcome = office.withdraw(challenger, sentence, results)
    elif is_due:
        rung = next_rung(gates.stages, challenger)
        action, sentence = "promoted", f"It has been {progress}, and passed every live gate."
        if not is_trial:
            outcome = office.move(challenger, rung, sentence, results)
            action = "asked" if outcome.request else action
    return Finding(
        fraud_type.name,
        challenger.model_version,
        str(Rung(challenger.stage, challenger.share)),
        results,
        action,
        f"{sentence} {outcome.sentence}" if outcome else sentence,
    )


def _succession(
    office: PromotionOffice,
    fraud_type: FraudType,
    gates: Gates,
    standing: Sequence[Deployment],
    is_trial: bool,
) -> Finding:
    """A champion that has just taken over is held against the one before it."""
    now_us = office.clock_us()
    watch_us = gates.stages.champion.watch_hours * HOUR_US
    is_watched = bool(standing) and now_us - standing[0].promoted_at_us <= watch_us
    if not is_watched or standing[0].move == "rollback":
        return Finding(fraud_type.name)
    champion = standing[0]
    try:
        previous = office.previous(standing)
    except NotFound:
        return Finding(fraud_type.name, sentence="There is no champion to go back to.")
    with office.pool.transaction() as cursor:
        evidence = succeeded(
            since_promotion(cursor, champion),
            before_promotion(cursor, champion, previous, COMPARED),
            _terms(cursor, office.settings, (champion, previous)),
            fraud_type.maturity_us,
            now_us,
        )
    results = live_gates(evidence, gates.live)
    failed = [each for each in results if not each.passed]
    if not failed:
        sentence = f"{champion.model_version} passes every live gate."
        return Finding(
            fraud_type.name, champion.model_version, champion.stage, results, sentence=sentence
        )
    sentence = " ".join(each.sentence for each in failed)
    if not is_trial:
        sentence += f" {office.roll_back(fraud_type.name, sentence, results).sentence}"
    return Finding(
        fraud_type.name, champion.model_version, champion.stage, results, "rolled back", sentence
    )


def passed_so_far(
    office: PromotionOffice, fraud_type: FraudType, model: Deployment, *, is_early: bool
) -> list[GateResult]:
    """The live gates of a challenger that a person wants to promote.

    Raises:
        ContractError: a gate is not passed, or its stage has not taken long enough.
    """
    gates = load_gates(office.settings, fraud_type.name)
    with office.pool.transaction() as cursor:
        challenger = challengers(cursor).get(fraud_type.name)
        standing = standing_champions(champions(cursor, fraud_type.name))
    if challenger is None or challenger.model_version != model.model_version:
        raise ContractError(
            f"{model.model_version} has not met live traffic beside the champion.",
            remedy="Let it pass the shadow stage first: fraud promote MODEL --to shadow",
        )
    evidence = challenge_evidence(office, fraud_type, challenger, standing)
    results = live_gates(evidence, gates.live)
    failed = [each.sentence for each in results if not each.passed]
    if failed:
        office.refused(model, next_rung(gates.stages, challenger), results)
        raise ContractError(
            f"{model.model_version} does not pass its live gates. {' '.join(failed)}",
            remedy="Roll it back: fraud rollback",
        )
    is_due, progress = is_ripe(gates.stages, challenger, evidence.asked, office.clock_us())
    if not is_due and not is_early:
        raise ContractError(
            f"It is too early: {model.model_version} is {progress}.",
            remedy="Wait, or take it upon you with --early.",
        )
    return results


def _terms(
    cursor: Cursor, settings: Settings, models: tuple[Deployment, Deployment]
) -> tuple[Terms, Terms]:
    """What two models were promoted with; an active policy says for both what makes an alert."""
    active = next((p for p in policies_of(cursor, models[0].fraud_type) if p.is_active), None)
    review = active.thresholds.review if active is not None else None
    one, other = (
        read_signed_bundle(settings.bundle_dir / each.bundle_path, settings.verify_key_pem)
        for each in models
    )
    return _terms_of(one.manifest, review), _terms_of(other.manifest, review)


def _terms_of(manifest: Manifest, review: float | None) -> Terms:
    own = manifest.thresholds.review
    if review is not None and review != own:
        return Terms(review)
    return Terms(own, ScoreProfile.read(manifest.metrics.get(TEST_SCORES, {})))
