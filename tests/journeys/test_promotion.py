"""Models on their way into service: a promotion, a failed gate, a canary, an automatic rollback.

On a real MLflow server, a real PostgreSQL, and the Bento of a promoted model under BentoML.
"""

import contextlib
import dataclasses
import datetime as dt
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import mlflow
import pytest
import yaml

from bentos.scoring.manifest import Calibration
from fraud.domain.deployment import Deployment, meets_canary
from fraud.ledger.audit_check import verify
from fraud.ledger.deployments import deployments, in_service_at
from fraud.ledger.engine import connect
from fraud.ledger.pool import transaction
from fraud.run.model_bento import build_model_bento
from fraud.run.places import Places
from fraud.settings import Settings, load_settings
from fraud.types.credit_card import CREDIT_CARD
from orchestration.assets.deploy import released
from orchestration.assets.promote import live_gates_sensor
from orchestration.decision import decision_of
from orchestration.promotion.check import Finding, check_deployments
from orchestration.promotion.gates import GATES_FILE, load_gates
from orchestration.promotion.moves import bring_in, promote_model
from orchestration.promotion.office import open_office
from orchestration.promotion.offline_gates import Evidence, Skew, offline_gates
from orchestration.promotion.packaging import disagreements
from orchestration.serving import running_model
from orchestration.training.split import Split
from orchestration.training.tracking import log_candidate, register_model
from orchestration.training.train import TrainedCandidate, train_candidate
from orchestration.training.verdict import Verdict, choose, judged
from orchestration.workbench import CandidateRun, Decision
from tests.bentos.fraud_detector.detector import a_token, a_transaction
from tests.fraud.run.free_ports import free_port
from tests.orchestration.mlflow_server import mlflow_server
from tests.orchestration.training.builders import a_split
from tests.servers import temporary_run_dir

pytestmark = pytest.mark.timeout(900)

KIND = CREDIT_CARD.name
FRAUD = str(Path(sys.executable).with_name("fraud"))
SHARE = 0.5
LEAST = 40
"""Decisions at each stage: few, so that the journey is short."""


@pytest.fixture(scope="module")
def settings(
    new_ledger: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Gates as they come, but for stages that end after a few decisions."""
    gates = yaml.safe_load(GATES_FILE.read_text())
    minimum = {"least_decisions": LEAST, "least_hours": 0.0}
    gates["stages"]["shadow"] = minimum
    gates["stages"]["canary"] = minimum | {"shares": [SHARE]}
    gates["live"]["least_decisions"] = LEAST
    gates["live"]["most_latency_ms"] = 2_000.0  # other tests share this machine
    gates["offline"]["most_latency_ms"] = 2_000.0
    folder = tmp_path_factory.mktemp("promotion")
    (folder / "gates.yaml").write_text(yaml.safe_dump(gates))
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri, temporary_run_dir() as run_dir:
        yield load_settings(
            run_dir=run_dir,
            database_url=new_ledger(),
            mlflow_tracking_uri=uri,
            gates_file=folder / "gates.yaml",
            api_port=free_port(),
            workers=1,
        )


@dataclass
class Line:
    """What trains, judges and brings in models, as the assets of the pipeline do."""

    settings: Settings
    split: Split
    trained: int = 0

    def train(self, **params: object) -> TrainedCandidate:
        return train_candidate("logistic_regression", self.split, CREDIT_CARD, params=params)

    def judge(self, candidate: TrainedCandidate) -> tuple[Verdict, CandidateRun, Decision]:
        self.trained += 1
        now = dt.datetime(2026, 3, 1, self.trained, tzinfo=dt.UTC)
        uri = self.settings.mlflow_tracking_uri
        logged = log_candidate(candidate, self.split, CREDIT_CARD, tracking_uri=uri, trained_at=now)
        run = CandidateRun(
            candidate, now, logged.experiment_id, logged.run_id, now.date(), now.date()
        )
        runs = {candidate.name: run}
        choice = choose([candidate])
        draft = decision_of(choice, runs, self.split, CREDIT_CARD)
        assert draft.manifest is not None
        with open_office(self.settings, "pipeline") as office:
            running = running_model(office.pool, self.settings, CREDIT_CARD)
        evidence = Evidence(
            candidate, draft.manifest, draft.card, self.split.test, running, Skew(0, 0)
        )
        limits = load_gates(self.settings, KIND).offline
        version = running.version if running else ""
        verdict = judged(choice, offline_gates(evidence, limits), version)
        return verdict, run, decision_of(verdict, runs, self.split, CREDIT_CARD)

    def bring_in(self, candidate: TrainedCandidate) -> Deployment:
        verdict, run, decision = self.judge(candidate)
        assert verdict.is_promoted, verdict.reasons
        assert decision.manifest is not None
        uri = self.settings.mlflow_tracking_uri
        register_model(run.run_id, decision.manifest, decision.card, CREDIT_CARD, tracking_uri=uri)
        model = released(self.settings, CREDIT_CARD, run, decision)
        build_model_bento(self.settings, model)
        with open_office(self.settings, "pipeline") as office:
            outcome = bring_in(office, model, verdict.gates)
        assert outcome is not None
        assert outcome.deployment is not None
        return outcome.deployment

    def check(self) -> Finding:
        with open_office(self.settings, "journey") as office:
            return check_deployments(office, CREDIT_CARD)


@contextlib.contextmanager
def served(settings: Settings, bento: str) -> Iterator[httpx.Client]:
    """A Bento in processes of its own, as `fraud serve` starts it."""
    environment = os.environ | {
        "FRAUD_RUN_DIR": str(settings.run_dir),
        "FRAUD_API_PORT": str(settings.api_port),
        "FRAUD_WORKERS": "1",
        "FRAUD_RATE_PER_ADDRESS": "1000",
        "FRAUD_BUNDLE_DIR": str(settings.bundle_dir),
        "DATABASE_URL": settings.database_url or "",
    }
    log = settings.run_dir / "served.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [FRAUD, "serve", "--bento", bento], env=environment, stdout=output, stderr=output
        )
    headers = {"authorization": f"Bearer {a_token(settings)}"}
    url = f"http://127.0.0.1:{settings.api_port}"
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            until(lambda: is_ready(client), log)
            yield client
    finally:
        process.terminate()
        process.wait(60)


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def until(holds: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 180
    while not holds():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.1)


@dataclass
class Shop:
    """A caller of the service."""

    client: httpx.Client
    log: Path
    paid: int = 0

    def champion(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/health").json()["champions"][KIND]
        return found

    def sees(self, version: str, challenger: str | None = None, stage: str = "") -> None:
        """Wait until the running worker has taken over what the ledger says."""

        def holds() -> bool:
            found = self.champion()
            beside = found.get("challenger", {})
            seen = (found["model_version"], beside.get("model_version"), beside.get("stage", ""))
            return seen == (version, challenger, stage)

        until(holds, self.log)

    def pay(self, count: int) -> list[tuple[str, str]]:
        """Pay so often; each time who paid, and which model answered.

        Everybody pays once, so that one stage looks like the other.
        """
        answers = []
        for number in range(count):
            self.paid += 1
            user, merchant = f"USER_{self.paid}", f"MERCH_{self.paid}"
            body = a_transaction(user_id=user, merchant_id=merchant, amount=20.0 + number)
            answer = self.client.post("/predict", json=body)
            assert answer.status_code == 200, answer.text
            answers.append((user, answer.json()["model_version"]))
        return answers


def versions(answers: Sequence[tuple[str, str]]) -> set[str]:
    return {version for _, version in answers}


def test_models_pass_their_gates_or_go(settings: Settings) -> None:
    line = Line(settings, a_split())
    sound = line.train()
    first = line.bring_in(sound)
    assert first.stage == "champion"
    with served(settings, f"fraud_model_{KIND}:{first.model_version.lower()}") as client:
        shop = Shop(client, settings.run_dir / "served.log")
        shop.sees(first.model_version)
        assert versions(shop.pay(3)) == {first.model_version}
        fails_a_gate(line, sound, first)
        second = passes_shadow_and_canary(line, shop, sound, first)
        third = is_rolled_back_from_canary(line, shop, sound, second)
    the_ledger_tells_it_all(settings, first, second, third)
    registry_and_bentos_agree(settings, second)


def fails_a_gate(line: Line, sound: TrainedCandidate, first: Deployment) -> None:
    """A model that learnt from wrong labels ranks worse than the champion: it stays out."""
    random_truth = dataclasses.replace(
        line.split.train, is_fraud=line.split.train.is_fraud[::-1].copy()
    )
    astray = Line(line.settings, dataclasses.replace(line.split, train=random_truth), line.trained)
    verdict, _, decision = astray.judge(astray.train())
    line.trained = astray.trained
    assert not verdict.is_promoted
    assert "quality" in {gate.gate for gate in verdict.gates if not gate.passed}
    assert verdict.running_version == first.model_version
    assert "**Not promoted.**" in decision.card
    assert line.check().sentence == "There is no champion to go back to."


def passes_shadow_and_canary(
    line: Line, shop: Shop, sound: TrainedCandidate, first: Deployment
) -> Deployment:
    second = line.bring_in(dataclasses.replace(sound, fit_seconds=0.0))
    name = second.model_version
    assert second.stage == "shadow"
    with pytest.raises(Exception, match="too early"):
        promote_model(line.settings, CREDIT_CARD, name, actor="anna", reason="hurry")
    shop.sees(first.model_version, name, "shadow")
    assert versions(shop.pay(LEAST)) == {first.model_version}, "a shadow never answers"

    finding = line.check()
    assert (finding.action, finding.stage) == ("promoted", "shadow"), finding.sentence
    shop.sees(first.model_version, name, "canary")
    for user, version in shop.pay(LEAST):
        wanted = name if meets_canary(name, user, SHARE) else first.model_version
        assert version == wanted, "each person meets one model"

    finding = line.check()
    assert (finding.action, finding.stage) == ("promoted", "canary at 50%"), finding.sentence
    shop.sees(name)
    assert versions(shop.pay(LEAST)) == {name}
    finding = line.check()
    assert finding.action == "none", finding.sentence
    assert len(finding.gates) == 5
    return second


def is_rolled_back_from_canary(
    line: Line, shop: Shop, sound: TrainedCandidate, second: Deployment
) -> Deployment:
    """Its calibration is wrong by four units of log-odds, which its test days did not show."""
    wrong = sound.calibration
    alarmist = dataclasses.replace(
        sound, calibration=Calibration(a=wrong.a, b=wrong.b + 4.0, squeeze=wrong.squeeze)
    )
    third = line.bring_in(alarmist)
    name = third.model_version
    promote_model(
        *(line.settings, CREDIT_CARD, name), actor="anna", reason="trust me", is_early=True
    )
    shop.sees(second.model_version, name, "canary")
    assert versions(shop.pay(LEAST)) == {name, second.model_version}

    sensor = live_gates_sensor(CREDIT_CARD)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance, resources={"settings": line.settings})
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    [event] = result.asset_events
    assert event.metadata["action"].value == "rolled back"
    shop.sees(second.model_version)
    assert versions(shop.pay(10)) == {second.model_version}
    return third


def the_ledger_tells_it_all(
    settings: Settings, first: Deployment, second: Deployment, third: Deployment
) -> None:
    one, two, three = (each.model_version for each in (first, second, third))
    with transaction(settings.database_url or "") as cursor:
        steps = deployments(cursor, KIND)[::-1]
        assert [(each.model_version, each.stage, each.move) for each in steps] == [
            (one, "champion", "promote"),
            (two, "shadow", "promote"),
            (two, "canary", "promote"),
            (two, "champion", "promote"),
            (three, "shadow", "promote"),
            (three, "canary", "promote"),
            (three, "withdrawn", "rollback"),
        ]
        assert {each.bundle_digest for each in steps if each.model_version == two} == {
            second.bundle_digest
        }
        failed = [gate["gate"] for gate in steps[-1].gates if not gate["passed"]]
        assert "score_shift" in failed
        for step, then in ((0, {one}), (2, {one, two}), (3, {two}), (5, {two, three}), (6, {two})):
            found = in_service_at(cursor, steps[step].promoted_at_us, KIND)
            assert {each.model_version for each in found} == then
        cursor.execute(
            "SELECT d.role, d.model_version = s.model_version, count(*) FROM decisions d "
            "JOIN deployments s ON s.id = d.deployment_id GROUP BY 1, 2 ORDER BY 1"
        )
        roles = cursor.fetchall()
        assert [(role, is_right) for role, is_right, _ in roles] == [
            ("canary", True),
            ("champion", True),
        ]
        cursor.execute(
            "SELECT actor, action, object_id FROM audit_log WHERE object_type = 'model' "
            "AND outcome = 'success' ORDER BY (detail->>'deployment_id')::bigint"
        )
        told = cursor.fetchall()
    assert [object_id for _, _, object_id in told] == [each.model_version for each in steps]
    assert told[-1][:2] == ("dagster", "deployment.rollback")
    connection = connect(settings.database_url or "")
    assert verify(connection, []).found == 0
    connection.close()


def registry_and_bentos_agree(settings: Settings, second: Deployment) -> None:
    client = mlflow.MlflowClient(settings.mlflow_tracking_uri)
    champion = client.get_model_version_by_alias(f"fraud-{KIND}", "champion")
    assert champion.tags["bundle_digest"] == second.bundle_digest
    card = mlflow.artifacts.load_text(f"runs:/{champion.run_id}/model_card.md")
    assert "| quality | yes |" in card
    listed = subprocess.run(
        [str(Path(FRAUD).with_name("bentoml")), "list", "-o", "json"],
        env=os.environ | {"BENTOML_HOME": str(Places(settings.run_dir).bentoml_home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"fraud_model_{KIND}:{second.model_version.lower()}" in listed.stdout
    with open_office(settings, "journey") as office:
        assert disagreements(office.pool, settings, KIND) == []
        client.delete_registered_model_alias(f"fraud-{KIND}", "champion")
        [found] = disagreements(office.pool, settings, KIND)
    assert found.startswith("MLflow's alias champion names nothing")
