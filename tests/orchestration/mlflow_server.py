"""A real MLflow server on a free port, with tables of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow

from fraud.run.readiness import answers
from tests.fraud.run.free_ports import free_port

START_LIMIT_S = 120  # its first start makes some fifty tables


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """The address of a server that keeps everything in a folder.

    Where clients of this process look is afterwards what it was before.
    """
    before = mlflow.get_tracking_uri()
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = folder / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | quiet,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        mlflow.set_tracking_uri(before)
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)
