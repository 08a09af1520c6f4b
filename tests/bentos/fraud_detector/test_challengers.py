"""Shadow and canary in the running service: taken over within a second, told in /health."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bentos.scoring.bundle import MODEL_FILE
from fraud.domain.deployment import CANARY, SHADOW, WITHDRAWN, meets_canary
from tests.bentos.fraud_detector.detector import Detector, promote, running
from tests.servers import temporary_run_dir


@pytest.fixture
def detector(new_ledger: Callable[[], str]) -> Iterator[Detector]:
    with temporary_run_dir() as run_dir, running(run_dir, new_ledger(), "model-1") as started:
        yield started


def challenger(detector: Detector) -> dict[str, Any]:
    champions = detector.client.get("/health").json()["champions"]
    found: dict[str, Any] = champions["credit_card"].get("challenger", {})
    return found


def roles(detector: Detector) -> list[tuple[Any, ...]]:
    return detector.rows(
        "SELECT t.user_id, d.model_version, d.role, s.stage, d.shadow->>'model_version' "
        "FROM decisions d JOIN transactions t USING (transaction_id) "
        "LEFT JOIN deployments s ON s.id = d.deployment_id ORDER BY t.id"
    )


def test_a_challenger_passes_its_stages_while_serving(detector: Detector) -> None:
    def step(stage: Any, share: float = 0.0) -> None:
        promote(detector.settings, detector.ledger, "model-2", stage=stage, share=share)
        detector.look()

    def ask(user: str) -> None:
        assert detector.predict(user_id=user).status_code == 200

    users = [f"USER_{number}" for number in range(8)]
    met = {each for each in users if meets_canary("model-2", each, 0.5)}
    assert 0 < len(met) < len(users)
    ask(users[0])
    step(SHADOW)
    assert challenger(detector) == {
        "model_version": "model-2", "stage": "shadow", "status": "ok"
    }  # fmt: skip
    ask(users[0])
    step(CANARY, 0.5)
    assert challenger(detector)["share"] == 0.5
    for user in users:
        ask(user)
    step(WITHDRAWN)
    assert challenger(detector) == {}
    ask(users[0])
    champion = ("model-1", "champion", "champion")
    assert roles(detector) == [
        (users[0], *champion, None),
        (users[0], *champion, "model-2"),
        *(
            (each, "model-2", "canary", "canary", "model-1")
            if each in met
            else (each, *champion, "model-2")
            for each in users
        ),
        (users[0], *champion, None),
    ]


def test_a_running_worker_takes_a_challenger_over_within_a_second(detector: Detector) -> None:
    began = time.monotonic()
    promote(detector.settings, detector.ledger, "model-2", stage=SHADOW)
    while not challenger(detector):
        assert time.monotonic() - began < 30
        time.sleep(0.05)
    # Half a second between looks; the rest is for a loaded machine.
    assert time.monotonic() - began < 5


def test_a_challenger_that_does_not_verify_takes_part_in_nothing(detector: Detector) -> None:
    folder = promote(detector.settings, detector.ledger, "model-2", stage=CANARY, share=0.9)
    graph = folder / MODEL_FILE
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    detector.look()
    found = challenger(detector)
    assert found["status"] == "refused"
    assert str(detector.settings.run_dir) not in found["problem"]
    assert detector.predict().json()["model_version"] == "model-1"
    graph.write_bytes(whole)
    detector.look()
    assert challenger(detector)["status"] == "ok"


def test_nothing_is_lost_while_stages_change_under_load(detector: Detector, tmp_path: Path) -> None:
    end, answers = threading.Event(), []

    def work(name: int) -> None:
        number = 0
        while not end.is_set():
            number += 1
            answers.append(detector.predict(user_id=f"USER_{name}_{number}").status_code)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(2)]
    for thread in threads:
        thread.start()
    try:
        for stage, share in ((SHADOW, 0.0), (CANARY, 0.1), (CANARY, 0.6), (WITHDRAWN, 0.0)):
            promote(detector.settings, detector.ledger, "model-2", stage=stage, share=share)
            detector.look()
            asked, deadline = len(answers), time.monotonic() + 60
            while len(answers) < asked + 15:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {200}
    found = detector.rows("SELECT role, count(*) FROM decisions GROUP BY role ORDER BY role")
    assert [role for role, _ in found] == ["canary", "champion"]
