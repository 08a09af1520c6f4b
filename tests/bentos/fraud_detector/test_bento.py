"""The Bento as it is built and served: what is in it, several workers, and a graceful end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from fraud.ledger.pool import transaction
from fraud.run.places import Places
from fraud.run.readiness import answers
from fraud.settings import Settings, load_settings
from tests.bentos.fraud_detector.detector import a_token, a_transaction, promote
from tests.fraud.run.free_ports import free_port
from tests.servers import temporary_run_dir

FRAUD = str(Path(sys.executable).with_name("fraud"))
ROOT = Path(__file__).resolve().parents[3]
START_S = 180  # seconds; about 8 on two idle cores, but tests share them


@pytest.fixture(scope="module")
def settings(new_ledger: Callable[[], str]) -> Iterator[Settings]:
    """A run folder with a built Bento, a model and two workers."""
    with temporary_run_dir() as run_dir:
        found = load_settings(
            run_dir=run_dir, database_url=new_ledger(), api_port=free_port(), workers=2
        )
        fraud(found, "bento", "build")
        assert found.database_url is not None
        promote(found, found.database_url, "model-1")
        yield found


def environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "FRAUD_RUN_DIR": str(settings.run_dir),
        "FRAUD_API_PORT": str(settings.api_port),
        "FRAUD_WORKERS": str(settings.workers),
        "DATABASE_URL": settings.database_url or "",
    }


def fraud(settings: Settings, *arguments: str) -> str:
    done = subprocess.run(
        [FRAUD, *arguments], env=environment(settings), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@contextmanager
def served(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    url = f"http://127.0.0.1:{settings.api_port}"
    log = settings.run_dir / "served.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [FRAUD, "serve"], env=environment(settings), stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_S
        while not answers(f"{url}/readyz"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield process, url
    finally:
        process.terminate()
        process.wait(30)


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The worker processes of the service."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    children = [int(pid) for pid in path.read_text().split()]
    return [pid for pid in children if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_it_holds_what_serves_and_nothing_else(settings: Settings) -> None:
    (bento,) = (Places(settings.run_dir).bentoml_home / "bentos" / "fraud_detector").glob("*/src")
    held = {path.relative_to(bento).as_posix() for path in bento.rglob("*") if path.is_file()}
    assert {path.split("/")[0] for path in held} == {
        *("bentos", "feature_store", "fraud", "bentofile.yaml")
    }
    assert "fraud/ledger/roles.sql" in held
    assert not [path for path in held if path.startswith(("fraud/run", "fraud/cli"))]
    assert not [path for path in held if "__pycache__" in path or path.endswith((".pyc", ".onnx"))]


def test_unchanged_sources_are_not_built_again(settings: Settings) -> None:
    first = fraud(settings, "bento", "build")
    assert fraud(settings, "bento", "build") == first


def test_it_runs_from_the_built_copy(settings: Settings) -> None:
    """Not from the clone, although that is installed in the same environment."""
    places = Places(settings.run_dir)
    script = (
        "import bentoml, json\n"
        "bentoml.load('fraud_detector:latest')\n"
        "import fraud, feature_store, bentos.scoring\n"
        "print(json.dumps([m.__file__ for m in (fraud, feature_store, bentos.scoring)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment(settings), "BENTOML_HOME": str(places.bentoml_home)},
        cwd=settings.run_dir,
        capture_output=True,
        text=True,
        check=True,
    )
    files = json.loads(done.stdout.splitlines()[-1])
    assert all(Path(each).is_relative_to(places.bentoml_home) for each in files)


def machine_code(settings: Settings) -> set[str]:
    folder = Places(settings.run_dir).bentoml_home / "compiled"
    return {path.name for path in folder.rglob("*.nbc")}


def predictions(text: str) -> float:
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("fraud_predictions_total{")
    )


def test_two_workers_share_the_work_and_sum_their_metrics(settings: Settings) -> None:
    compiled = machine_code(settings)
    with served(settings) as (process, url):
        assert compiled
        assert machine_code(settings) == compiled  # building it compiled what serving needs
        assert len(workers_of(process)) == 2
        headers = {"authorization": f"Bearer {a_token(settings, ['fraud_detection', 'metrics'])}"}
        for _ in range(40):  # a connection each: the kernel spreads them over both
            answer = httpx.post(f"{url}/predict", json=a_transaction(), headers=headers)
            assert answer.status_code == 200
            assert answer.json()["model_version"] == "model-1"
        deadline = time.monotonic() + 5.0
        text = ""
        while predictions(text) < 40 and time.monotonic() < deadline:
            text = httpx.get(f"{url}/metrics", headers=headers).text
        assert predictions(text) == 40  # each worker counts within 50 ms of its answers
        assert "bentoml_service" not in text
        assert "\nfraud_worker_starts_total 2.0\n" in text
        assert "\nfraud_ledger_up 1.0\n" in text
        assert text.count("\nfraud_clock_seconds ") == text.count("\nfraud_open_cases{") / 4 == 1
        forged = {"authorization": "Bearer x", "x-forwarded-for": "203.0.113.7"}
        assert httpx.post(f"{url}/predict", headers=forged).status_code == 401
        assert settings.database_url is not None
        with transaction(settings.database_url) as cursor:
            cursor.execute("SELECT origin FROM audit_log WHERE action = 'refuse'")
            assert cursor.fetchall() == [("127.0.0.1",)]  # not the address it claims
        assert httpx.get(f"{url}/health").json()["status"] == "ok"


def test_half_sent_headers_are_cut_off_while_others_are_answered(settings: Settings) -> None:
    headers = {"authorization": f"Bearer {a_token(settings)}"}
    with served(settings) as (_, url), httpx.Client(headers=headers) as client:
        slow = [socket.create_connection(("127.0.0.1", settings.api_port)) for _ in range(20)]
        for each in slow:
            each.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\nauthori")
        began = time.monotonic()
        while time.monotonic() - began < 10:  # seconds, as promised
            assert client.post(f"{url}/predict", json=a_transaction()).status_code == 200
        for each in slow:
            each.setblocking(False)
            assert each.recv(4096).startswith(b"HTTP/1.1 408 ")
            assert each.recv(4096) == b""  # the other side hung up
            each.close()


def test_sigterm_under_load_answers_whatever_it_decided(settings: Settings) -> None:
    unanswered: list[object] = []
    answered: list[int] = []
    headers = {"authorization": f"Bearer {a_token(settings)}"}

    def work(url: str) -> None:
        with httpx.Client(headers=headers, timeout=30) as client:
            while True:
                body = a_transaction()
                try:
                    answered.append(client.post(f"{url}/predict", json=body).status_code)
                except httpx.HTTPError:  # nobody listens, or the idle connection was closed
                    unanswered.append(body["transaction_id"])
                    return

    with served(settings) as (process, url):
        threads = [threading.Thread(target=work, args=(url,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        took_s = time.monotonic() - started
        for thread in threads:
            thread.join()
    assert took_s < 12  # `fraud run` promises to stop everything within 15 s
    assert set(answered) <= {200, 503}
    assert answered.count(200) > 20
    assert settings.database_url is not None
    with transaction(settings.database_url) as cursor:
        cursor.execute(
            "SELECT transaction_id FROM decisions WHERE transaction_id = ANY(%s)", (unanswered,)
        )
        assert cursor.fetchall() == []
