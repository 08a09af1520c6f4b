"""A real Prometheus on a free port, scraping what a test runs."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fraud.run.readiness import answers
from tests.fraud.run.free_ports import free_port

START_LIMIT_S = 60


@contextlib.contextmanager
def prometheus(folder: Path, service: str, token: str, relay: str) -> Iterator[str]:
    """The address of a server that scrapes a service and a relay every second."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs server: prometheus")
    port = free_port()
    (folder / "token").write_text(token)
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        "  - job_name: fraud_detector\n"
        "    authorization: {credentials_file: token}\n"
        f"    static_configs: [{{targets: ['{service}']}}]\n"
        "  - job_name: fraud_relay\n"
        f"    static_configs: [{{targets: ['{relay}']}}]\n"
    )
    command = [
        *(program, f"--config.file={folder}/prometheus.yml"),
        *(f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while not answers(f"{url}/-/ready"):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def ask(url: str, query: str) -> list[float]:
    """The values that a query finds now."""
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, timeout=30)
    assert answer.status_code == 200, f"{query}: {answer.text}"
    return [float(each["value"][1]) for each in answer.json()["data"]["result"]]
