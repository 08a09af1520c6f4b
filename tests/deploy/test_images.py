"""The images' Dockerfiles: what they copy is there, and the serving one's steps make a service."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from fraud.run.readiness import answers
from fraud.settings import load_settings
from tests.bentos.fraud_detector.detector import a_token, a_transaction
from tests.conftest import MISSING_SERVER
from tests.deploy.dockerfile import carry_out, stages
from tests.fraud.run.free_ports import closed_port, free_port
from tests.servers import temporary_run_dir

ROOT = Path(__file__).resolve().parents[2]
IMAGES = [ROOT / "deploy" / f"{name}.Dockerfile" for name in ("serve", "train")]
USER = 10001
JWT_SECRET = "a secret of this test, long enough for HS256"

each_image = pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)


@each_image
def test_what_is_copied_is_there_and_not_ignored(path: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")}
    for arguments in stages(path)[0].arguments("COPY"):
        for source in arguments.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert {source, source.partition("/")[0]} & allowed, f".dockerignore hides {source}"


@each_image
def test_an_image_runs_without_privileges_from_a_pinned_base(path: Path) -> None:
    *_, last = stages(path)
    assert last.arguments("USER") == [f"{USER}:{USER}"]
    assert last.arguments("HEALTHCHECK")
    assert "ARG BASE=python:3.11." in path.read_text()


@contextmanager
def serving(root: Path, environment: dict[str, str]) -> Iterator[str]:
    """The command of the image without any privilege: even root cannot write what is read-only."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = root / "served.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*unprivileged(), str(root / "app" / "venv" / "bin" / "fraud"), "serve"],
            cwd=environment["FRAUD_RUN_DIR"],
            env={**environment, "FRAUD_API_PORT": str(port), "FRAUD_HOST": "127.0.0.1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 120
        while not answers(f"{url}/readyz"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def unprivileged() -> list[str]:
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip(f"{MISSING_SERVER} setpriv")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]


def test_the_steps_of_the_serving_image_make_a_service() -> None:
    """Its ledger is away, so it answers by rules and writes its journal: all that it may write.

    Loops stay uncompiled here, which saves half a minute; tests of the Bento compile them.
    """
    build, last = stages(IMAGES[0])
    assert last.arguments("CMD") == ['["fraud", "serve"]']
    with temporary_run_dir() as root:
        carry_out(build, ROOT, root, NUMBA_DISABLE_JIT="1")
        machine_code = root / "app" / "bento" / "compiled" / "loop"
        machine_code.parent.mkdir(exist_ok=True)
        machine_code.touch()
        state = root / "var" / "lib" / "fraud"
        state.mkdir(parents=True, mode=0o700)
        subprocess.run(["chmod", "-R", "a-w", root / "app"], check=True)
        moved = {"/app": str(root / "app"), "/var/lib/fraud": str(state)}
        environment = last.environment()
        for old, new in moved.items():
            environment = {name: each.replace(old, new) for name, each in environment.items()}
        environment["PATH"] = environment["PATH"].replace("$PATH", os.environ["PATH"])
        environment |= {
            "DATABASE_URL": f"postgresql://fraud@127.0.0.1:{closed_port()}/fraud",
            "FRAUD_JWT_SECRET": JWT_SECRET,
            "FRAUD_WORKERS": "1",
            "NUMBA_DISABLE_JIT": "1",
        }
        settings = load_settings(run_dir=root, jwt_secret_given=JWT_SECRET)
        try:
            with serving(root, environment) as url:
                token = {"authorization": f"Bearer {a_token(settings)}"}
                answer = httpx.post(f"{url}/predict", json=a_transaction(), headers=token)
                assert answer.status_code == 200, answer.text
                assert answer.json()["degraded"]
            assert (state / "journal" / "decisions.jsonl").exists()
            assert (state / "compiled" / "loop").exists(), "numba needs a folder it may write to"
        finally:
            subprocess.run(["chmod", "-R", "u+w", root], check=True)
