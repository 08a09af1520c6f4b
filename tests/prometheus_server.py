"""A real Prometheus on a free port, scraping what a test runs."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest
import yaml

from fraud.run.readiness import answers
from tests.fraud.run.free_ports import free_port

START_LIMIT_S = 60


@contextlib.contextmanager
def prometheus(
    folder: Path,
    service: str,
    token: str,
    others: Mapping[str, str] = MappingProxyType({}),
    rules: Path | None = None,
) -> Iterator[str]:
    """The address of a server that scrapes a service every second.

    Args:
        folder: for its files.
        service: host and port of the service.
        token: for its metrics.
        others: hosts and ports of what needs no token: relay, stream.
        rules: alerting rules, evaluated as often.
    """
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs server: prometheus")
    port = free_port()
    (folder / "token").write_text(token)
    jobs = [
        {
            "job_name": "fraud_detector",
            "authorization": {"credentials_file": "token"},
            "static_configs": [{"targets": [service]}],
        }
    ]
    jobs += [
        {"job_name": f"fraud_{name}", "static_configs": [{"targets": [target]}]}
        for name, target in others.items()
    ]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)] if rules else [],
        "scrape_configs": jobs,
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
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
