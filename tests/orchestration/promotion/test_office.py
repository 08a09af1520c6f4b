"""Steps of models in a real ledger: taken in order, audited, with a second person where asked."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fraud.domain.deployment import Deployment
from fraud.domain.errors import ContractError, Forbidden, NotFound
from fraud.ledger.audit_check import verify
from fraud.ledger.deployments import challengers, current_deployment, deployments
from fraud.ledger.engine import connect
from fraud.ledger.pool import transaction
from fraud.settings import Settings, load_settings
from fraud.types.credit_card import CREDIT_CARD
from orchestration.promotion.gates import GateResult
from orchestration.promotion.ladder import Rung
from orchestration.promotion.moves import approve_promotion, bring_in, promote_model
from orchestration.promotion.office import PromotionOffice, open_office

KIND = CREDIT_CARD.name
PASSED = (GateResult("lift", True, 3.0, 1.5, "It is better than chance."),)


@pytest.fixture
def settings(tmp_path: Path, new_ledger: Callable[[], str]) -> Settings:
    """A registry of its own, which is empty: steps are taken all the same."""
    return load_settings(
        run_dir=tmp_path, database_url=new_ledger(), mlflow_tracking_uri=str(tmp_path / "mlruns")
    )


@pytest.fixture
def office(settings: Settings) -> Iterator[PromotionOffice]:
    with open_office(settings, "anna") as opened:
        yield opened


def a_model(version: str) -> Deployment:
    digest = version[-1] * 64
    return Deployment(KIND, version, f"{KIND}/{version}", digest, "pipeline", "it won", 0)


def in_service(settings: Settings) -> tuple[str | None, str | None]:
    """Versions of champion and challenger."""
    with transaction(settings.database_url or "") as cursor:
        champion, challenger = current_deployment(cursor, KIND), challengers(cursor).get(KIND)
    return champion and champion.model_version, challenger and challenger.model_version


def audited(settings: Settings) -> list[tuple[str, str, str, str]]:
    with transaction(settings.database_url or "") as cursor:
        cursor.execute(
            "SELECT actor, action, outcome, object_id FROM audit_log ORDER BY chain, position"
        )
        return cursor.fetchall()


def test_the_first_model_serves_at_once_and_the_next_challenges(
    office: PromotionOffice, settings: Settings
) -> None:
    bring_in(office, a_model("m-1"), PASSED)
    assert in_service(settings) == ("m-1", None)
    bring_in(office, a_model("m-2"), PASSED)
    assert in_service(settings) == ("m-1", "m-2")
    assert bring_in(office, a_model("m-2"), PASSED) is None, "it challenges already"
    with office.pool.transaction() as cursor:
        steps = deployments(cursor, KIND)
    assert [(each.stage, each.gates[0]["gate"]) for each in steps] == [
        ("shadow", "lift"),
        ("champion", "lift"),
    ]
    done = [("anna", "deployment.promote", "success", name) for name in ("m-1", "m-2")]
    assert audited(settings) == done
    connection = connect(settings.database_url or "")
    assert verify(connection, []).found == 0
    connection.close()


def test_promotion_now_leaves_out_the_stages(settings: Settings) -> None:
    with open_office(settings.replaced(promotion="now"), "anna") as office:
        for version in ("m-1", "m-2"):
            bring_in(office, a_model(version), PASSED)
    assert in_service(settings) == ("m-2", None)


def test_rolling_back_ends_a_challenge_and_then_goes_down_the_champions(
    office: PromotionOffice, settings: Settings
) -> None:
    for version in ("m-1", "m-2", "m-3"):
        office.move(a_model(version), Rung("champion"), "why", ())
    office.move(a_model("m-4"), Rung("canary", 0.2), "why", ())
    seen = [in_service(settings)]
    for _ in range(3):
        office.roll_back(KIND, "it went wrong")
        seen.append(in_service(settings))
    assert seen == [("m-3", "m-4"), ("m-3", None), ("m-2", None), ("m-1", None)]
    with pytest.raises(NotFound, match="no champion to go back to"):
        office.roll_back(KIND, "again")
    assert audited(settings)[-1][1:] == ("deployment.rollback", "success", "m-1")


def test_a_second_person_must_agree_and_must_be_another(settings: Settings) -> None:
    strict = settings.replaced(two_person_approval=True)
    with open_office(strict, "anna") as office:
        outcome = bring_in(office, a_model("m-1"), PASSED)
    assert outcome is not None
    assert outcome.request is not None
    assert in_service(settings) == (None, "m-1"), "in shadow, it answers nobody"
    with pytest.raises(Forbidden, match="anna asked for promotion"):
        approve_promotion(strict, "anna", outcome.request.request_id)
    assert in_service(settings) == (None, "m-1")
    assert "m-1 is champion now" in approve_promotion(strict, "ben", outcome.request.request_id)
    assert in_service(settings) == ("m-1", None)
    with pytest.raises(NotFound, match="No promotion"):
        approve_promotion(strict, "cleo", outcome.request.request_id)
    with transaction(settings.database_url or "") as cursor:
        step = deployments(cursor, KIND)[0]
    assert (step.promoted_by, step.approved_by) == ("anna", "ben")
    assert [each[:3] for each in audited(settings)][-3:] == [
        ("anna", "deployment.request", "success"),
        ("anna", "deployment.approve", "failure"),
        ("ben", "deployment.approve", "success"),
    ]


def test_asking_twice_waits_once_and_going_back_waits_for_nobody(settings: Settings) -> None:
    with open_office(settings, "anna") as office:
        for version in ("m-1", "m-2"):
            office.move(a_model(version), Rung("champion"), "why", ())
    with open_office(settings.replaced(two_person_approval=True), "anna") as office:
        asked = [office.move(a_model("m-3"), Rung("canary", 0.1), "why", ()) for _ in range(2)]
        numbers = {each.request and each.request.request_id for each in asked}
        assert len(numbers) == 1
        office.roll_back(KIND, "it went wrong")
    assert in_service(settings) == ("m-1", None)


def test_a_model_that_was_altered_since_it_was_asked_for_is_not_approved(
    settings: Settings,
) -> None:
    strict = settings.replaced(two_person_approval=True)
    with open_office(strict, "anna") as office:
        outcome = bring_in(office, a_model("m-1"), PASSED)
        other = dataclasses.replace(a_model("m-1"), bundle_digest="f" * 64)
        office.move(other, Rung("shadow"), "another bundle under the same name", ())
    assert outcome is not None
    assert outcome.request is not None
    with pytest.raises(ContractError, match="another bundle"):
        approve_promotion(strict, "ben", outcome.request.request_id)


def test_nobody_jumps_the_shadow_stage(office: PromotionOffice, settings: Settings) -> None:
    for version in ("m-1", "m-2"):
        office.move(a_model(version), Rung("champion"), "why", ())
    with pytest.raises(ContractError, match="has not met live traffic"):
        promote_model(settings, CREDIT_CARD, "m-1", actor="anna", stage="champion", reason="x")
    with pytest.raises(ContractError, match="above 0 and below 1"):
        promote_model(settings, CREDIT_CARD, "m-1", actor="anna", share=1.5, reason="x")
    with pytest.raises(NotFound, match="no challenger"):
        promote_model(settings, CREDIT_CARD, None, actor="anna", reason="x")
    promote_model(settings, CREDIT_CARD, "m-1", actor="anna", stage="shadow", reason="again")
    assert in_service(settings) == ("m-2", "m-1")
