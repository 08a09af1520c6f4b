"""Stripe's API for tests: stripe-mock, Stripe's own server, checks every request by its OpenAPI.

It remembers nothing and answers with fixtures. Ours differ from Stripe's in one object: the
PaymentIntent is authorised and waits for capture.

Fixtures:
    stripe_mock: its address, e.g. http://127.0.0.1:12111.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import MISSING_SERVER
from tests.fraud.run.free_ports import free_port
from tests.golang import go

MODULE = "github.com/stripe/stripe-mock"
VERSION = "v0.203.0"
FIXTURES = "embedded/openapi/fixtures3.json"
BUILD_TIMEOUT_S = 280.0
START_TIMEOUT_S = 60.0

WAITS_FOR_CAPTURE = {
    "status": "requires_capture",
    "capture_method": "manual",
    "amount_capturable": 1099,
    "customer": "cus_123",
    "created": 1767225600,  # 2026-01-01
    "metadata": {"merchant_id": "MERCH_001", "category": "electronics"},
}


def built(cache: Path) -> Path:
    """A folder with the program and its fixtures; built by Go once, and kept in `cache`."""
    folder = cache / f"stripe-mock-{VERSION}"
    if (folder / "stripe-mock").is_file():
        return folder
    program = go()
    cache.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=cache))
    install = [program, "install", f"{MODULE}@{VERSION}"]
    environment = {**os.environ, "GOBIN": str(draft), "GOFLAGS": "-buildvcs=false"}
    for command in (install, [program, "mod", "download", "-json", f"{MODULE}@{VERSION}"]):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S,
            check=False, cwd=draft,
        )  # fmt: skip
        if done.returncode != 0:
            pytest.skip(f"{MISSING_SERVER} stripe-mock - {done.stderr.strip()[-300:]}")
    shutil.copy(Path(json.loads(done.stdout)["Dir"]) / FIXTURES, draft / "fixtures.json")
    try:
        draft.rename(folder)
    except OSError:  # another run was faster
        shutil.rmtree(draft)
    return folder


def fixtures(folder: Path) -> dict[str, Any]:
    """Stripe's fixtures, with a PaymentIntent that waits for capture."""
    content: dict[str, Any] = json.loads((folder / "fixtures.json").read_text())
    content["resources"]["payment_intent"] |= WAITS_FOR_CAPTURE
    return content


@contextmanager
def serving(folder: Path, content: dict[str, Any]) -> Iterator[str]:
    """A stripe-mock with these fixtures, on a port of its own; gives its address."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="fraud-stripe-") as place:
        path = Path(place) / "fixtures.json"
        path.write_text(json.dumps(content))
        command = [
            *(folder / "stripe-mock", "-fixtures", path),
            *("-http-addr", f"127.0.0.1:{port}"),
            *("-https-addr", f"127.0.0.1:{free_port()}"),  # it listens there anyway, at one port
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(process, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        assert process.poll() is None, "stripe-mock ended while it started"
        assert time.monotonic() < deadline, "stripe-mock does not answer"
        try:
            httpx.get(url, timeout=5)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def stripe_mock() -> Iterator[str]:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fraud-platform"
    folder = built(cache)
    with serving(folder, fixtures(folder)) as url:
        yield url
