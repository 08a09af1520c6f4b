"""Which model serves: take-over under load, altered bundles, restarts, and what /health says."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bentos.scoring.bundle import MANIFEST_FILE, MODEL_FILE, SIGNATURE_FILE
from bentos.scoring.signing import new_signing_keys, sign
from fraud.settings import load_settings
from tests.bentos.fraud_detector.detector import (
    Detector,
    a_transaction,
    deploy,
    promote,
    running,
)
from tests.servers import temporary_run_dir


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with temporary_run_dir() as folder:
        yield folder


@pytest.fixture
def fresh(run_dir: Path, new_ledger: Callable[[], str]) -> Iterator[Detector]:
    with running(run_dir, new_ledger(), "model-1") as started:
        yield started


def champion(detector: Detector) -> dict[str, str]:
    found: dict[str, str] = detector.client.get("/health").json()["champions"]["credit_card"]
    return found


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@contextmanager
def load(detector: Detector, clients: int = 4) -> Iterator[list[httpx.Response]]:
    """Requests without a pause, and all their answers once the block has ended."""
    answers: list[httpx.Response] = []
    end = threading.Event()

    def work() -> None:
        with httpx.Client(headers=detector.headers(), timeout=30) as client:
            while not end.is_set():
                answers.append(client.post(f"{detector.url}/predict", json=a_transaction()))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        end.set()
        for thread in threads:
            thread.join()


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_promotion_is_taken_over_under_load_without_one_failure(fresh: Detector) -> None:
    with load(fresh) as answers:
        wait_for(lambda: len(answers) > 20)
        promote(fresh.settings, fresh.ledger, "model-2")
        wait_for(lambda: champion(fresh)["model_version"] == "model-2")  # the watch found it
        seen = len(answers)
        wait_for(lambda: len(answers) > seen + 20)
    assert {answer.status_code for answer in answers} == {200}
    versions = [answer.json()["model_version"] for answer in answers]
    assert set(versions) == {"model-1", "model-2"}
    assert champion(fresh)["status"] == "ok"


@pytest.mark.parametrize("name", [MODEL_FILE, MANIFEST_FILE, SIGNATURE_FILE])
def test_a_flipped_byte_keeps_the_old_champion(fresh: Detector, name: str) -> None:
    settings, ledger = fresh.settings, fresh.ledger
    # Altered before the service can see it: the deployment row comes last.
    folder = promote(settings, ledger, "model-2")
    flip_a_byte(folder / name)
    wait_for(lambda: champion(fresh)["status"] == "stale")
    found = champion(fresh)
    assert found["model_version"] in ("model-1", "model-2")
    assert "model-2" in found["problem"]
    answer = fresh.predict()
    assert answer.status_code == 200
    assert answer.json()["model_version"] == found["model_version"]
    body = fresh.client.get("/health")
    assert (body.status_code, body.json()["status"]) == (200, "degraded")


def test_a_bundle_altered_before_its_promotion_is_never_loaded(fresh: Detector) -> None:
    folder = promote(fresh.settings, fresh.ledger, "model-2")
    fresh.look()
    digest = fresh.rows("SELECT bundle_digest FROM deployments ORDER BY id DESC LIMIT 1")[0][0]
    copy = fresh.settings.bundle_dir / "model-3"
    shutil.copytree(folder, copy)
    flip_a_byte(copy / MODEL_FILE)
    deploy(fresh.ledger, "model-3", digest)
    fresh.look()
    found = champion(fresh)
    assert (found["model_version"], found["status"]) == ("model-2", "stale")
    assert "SHA-256" in found["problem"]
    assert str(fresh.settings.run_dir) not in found["problem"]  # /health is open to strangers
    assert fresh.predict().json()["model_version"] == "model-2"


def test_altering_what_serves_changes_nothing_but_health(fresh: Detector) -> None:
    flip_a_byte(fresh.settings.bundle_dir / "model-1" / MODEL_FILE)
    fresh.look()
    found = champion(fresh)
    assert (found["model_version"], found["status"]) == ("model-1", "stale")
    assert "goes on" in found["problem"]
    assert not fresh.predict().json()["degraded"]


def test_a_repaired_bundle_is_well_again(fresh: Detector) -> None:
    file = fresh.settings.bundle_dir / "model-1" / MODEL_FILE
    good = file.read_bytes()
    flip_a_byte(file)
    fresh.look()
    file.write_bytes(good)
    fresh.look()
    assert champion(fresh)["status"] == "ok"


def test_a_restart_falls_back_to_the_newest_deployment_that_verifies(
    run_dir: Path, new_ledger: Callable[[], str]
) -> None:
    ledger = new_ledger()
    settings = load_settings(run_dir=run_dir, database_url=ledger)
    for version in ("model-1", "model-2", "model-3"):
        folder = promote(settings, ledger, version)
    flip_a_byte(folder / MODEL_FILE)
    with running(run_dir, ledger) as detector:
        found = champion(detector)
        assert (found["model_version"], found["status"]) == ("model-2", "stale")
        assert detector.predict().json()["model_version"] == "model-2"


def test_a_bundle_signed_by_somebody_else_is_refused(fresh: Detector) -> None:
    folder = promote(fresh.settings, fresh.ledger, "model-2")
    fresh.look()
    private, _ = new_signing_keys()
    forged = fresh.settings.bundle_dir / "model-3"
    shutil.copytree(folder, forged)
    (forged / SIGNATURE_FILE).write_bytes(sign(private, (forged / MANIFEST_FILE).read_bytes()))
    deploy(fresh.ledger, "model-3", "0" * 64)
    fresh.look()
    found = champion(fresh)
    assert (found["model_version"], found["status"]) == ("model-2", "stale")
    assert "signature" in found["problem"]


def test_a_roll_back_is_a_promotion_of_the_older_bundle(fresh: Detector) -> None:
    digest = fresh.rows("SELECT bundle_digest FROM deployments")[0][0]
    promote(fresh.settings, fresh.ledger, "model-2")
    fresh.look()
    deploy(fresh.ledger, "model-1", digest)
    fresh.look()
    assert fresh.predict().json()["model_version"] == "model-1"
    assert champion(fresh)["status"] == "ok"


def test_without_any_model_the_rules_answer_and_health_says_so(
    run_dir: Path, new_ledger: Callable[[], str]
) -> None:
    with running(run_dir, new_ledger()) as detector:
        body = detector.client.get("/health")
        assert (body.status_code, body.json()["status"]) == (200, "degraded")
        assert body.json()["champions"]["credit_card"]["status"] == "missing"
        assert detector.client.get("/readyz").status_code == 200
        assert detector.client.get("/livez").status_code == 200
        answer = detector.predict().json()  # credit_card declares on_failure="rules_only"
        assert answer["degraded"]
        assert answer["recommended_action"] != "approve"
