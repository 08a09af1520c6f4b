"""`fraud run` as a stranger uses it: everything up, a request to paste, Ctrl-C, nothing left."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from fraud.run.programs import addresses
from fraud.settings import Settings, load_settings
from tests.fraud.run.free_ports import free_port
from tests.journeys.platform import with_a_model
from tests.keeper import marked
from tests.servers import temporary_run_dir

FRAUD = str(Path(sys.executable).with_name("fraud"))
UP_S = 240  # seconds; about 20 on two idle cores, but tests share them
DOWN_S = 15


@pytest.fixture
def settings(bento_dir: Path) -> Iterator[Settings]:
    with temporary_run_dir() as run_dir:
        yield load_settings(
            run_dir=run_dir,
            bento_dir=bento_dir,
            api_port=free_port(),
            dagster_port=free_port(),
            mlflow_port=free_port(),
        )


def environment(settings: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return {
        **kept,
        "FRAUD_RUN_DIR": str(settings.run_dir),
        "FRAUD_BENTO_DIR": str(settings.bento_dir),
        "FRAUD_API_PORT": str(settings.api_port),
        "FRAUD_DAGSTER_PORT": str(settings.dagster_port),
        "FRAUD_MLFLOW_PORT": str(settings.mlflow_port),
    }


def processes_of(settings: Settings) -> list[str]:
    """Command lines of everything that was started for this run folder."""
    found = []
    for each in marked(str(settings.run_dir), "FRAUD_RUN_DIR"):
        with suppress(OSError):  # it ended meanwhile
            line = Path(f"/proc/{each}/cmdline").read_bytes()
            found.append(line.replace(b"\0", b" ").decode())
    return found


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What a process prints, up to a line with these words."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError(f"it ended before it said {words!r}:\n{''.join(lines)}")


@pytest.mark.timeout(UP_S + 60)
def test_everything_comes_up_works_and_goes_down_again(settings: Settings) -> None:
    with_a_model(settings)
    process = subprocess.Popen(
        [FRAUD, "run"],
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        out = read_until(process, "Ctrl-C stops everything")
        assert "First pipeline run" not in out
        urls = addresses(settings)
        assert httpx.get(f"{urls['api']}/health").json()["status"] == "ok"
        assert "dagster" in httpx.get(urls["dagster"]).text.lower()
        assert "MLflow" in httpx.get(urls["mlflow"]).text
        (line,) = re.findall(r"^curl .*$", out, re.MULTILINE)
        pasted = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
        assert json.loads(pasted.stdout)["model_version"] == "model-1"
        assert any("postgres" in each for each in processes_of(settings))
        asked = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group
        assert process.wait(DOWN_S + 30) == 0
        assert time.monotonic() - asked < DOWN_S
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    deadline = time.monotonic() + 10
    while processes_of(settings) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(settings) == []


def test_a_taken_port_is_one_sentence_before_anything_starts(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.dagster_port)):
        done = subprocess.run(
            [FRAUD, "run"], env=environment(settings), capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith(f"fraud: Port {settings.dagster_port} is taken")
    assert "FRAUD_DAGSTER_PORT" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert processes_of(settings) == []


def test_an_unreachable_database_is_one_sentence(settings: Settings) -> None:
    done = subprocess.run(
        [FRAUD, "run"],
        env=environment(settings) | {"DATABASE_URL": "postgresql://me:hidden@127.0.0.1:1/fraud"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "does not answer" in done.stderr
    assert "hidden" not in done.stdout + done.stderr
    assert processes_of(settings) == []
