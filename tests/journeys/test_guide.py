"""The integration guide's own snippets, as they stand: only host and token come from here.

Their text lies in guide/. Each gets its token from outside: a default header, an interceptor, or
an application that adds it on the way.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import aiohttp
import httpx
import pytest
import requests
from starlette.types import Receive, Scope, Send

from tests.bentos.fraud_detector.detector import Detector, running
from tests.clients.toolchains import (
    CLIENTS,
    install_node_packages,
    java_class_path,
    output_of,
)
from tests.servers import temporary_run_dir

GUIDE = Path(__file__).with_name("guide")
ORIGINAL = Path(__file__).resolve().parents[3] / "shared" / "integration-guide.md"
LOAD = 1000
"""Requests of the guide's load test."""


@pytest.fixture(scope="module")
def detector(new_ledger: Callable[[], str]) -> Iterator[Detector]:
    """A service with the default limits of a client."""
    with temporary_run_dir() as run_dir, running(run_dir, new_ledger(), "model-1") as started:
        yield started


@pytest.fixture
def authorization(detector: Detector) -> str:
    return detector.headers()["authorization"]


@pytest.fixture
def snippet(detector: Detector) -> Callable[[str], str]:
    def text(name: str) -> str:
        return (GUIDE / name).read_text().replace("http://localhost:8000", detector.url)

    return text


Snippet = Callable[[str], str]


def run(source: str) -> dict[str, Any]:
    """Run a Python snippet; what it defined."""
    names: dict[str, Any] = {}
    exec(compile(source, "<guide>", "exec"), names)
    return names


def decision_of(detector: Detector, transaction_id: str) -> str:
    [(probability,)] = detector.rows(
        "SELECT fraud_probability::float8 FROM transactions"
        f" WHERE transaction_id = '{transaction_id}'"
    )
    return f"{probability:.4f}"


def test_requests(
    detector: Detector,
    snippet: Snippet,
    authorization: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    headers = requests.sessions.default_headers()
    headers["Authorization"] = authorization
    monkeypatch.setattr(requests.sessions, "default_headers", headers.copy)
    run(snippet("check_fraud.py"))
    printed = capsys.readouterr().out.strip().removeprefix("Fraud probability: ")
    assert f"{float(printed):.4f}" == decision_of(detector, "TXN_123456")


def test_axios(detector: Detector, snippet: Snippet, authorization: str) -> None:
    install_node_packages()
    # What awaits at its top and calls require() is a function's body: no module system takes it.
    runner = f"""
        require("axios").defaults.headers.common.Authorization = {json.dumps(authorization)};
        const AsyncFunction = (async () => undefined).constructor;
        new AsyncFunction("require", {json.dumps(snippet("check_fraud.js"))})(require);
    """
    printed = output_of("node", "--eval", runner, folder=CLIENTS / "node").strip()
    probability = float(printed.removeprefix("Fraud probability: "))
    assert f"{probability:.4f}" == decision_of(detector, "TXN_123456")


JAVA_RUNNER = """
import java.lang.reflect.Field;
import java.math.BigDecimal;
import org.fraudplatform.client.model.CreditCardTransaction;
import org.springframework.web.client.RestTemplate;

public class Runner {
    public static void main(String[] arguments) throws Exception {
        FraudDetectionClient client = new FraudDetectionClient();
        Field field = FraudDetectionClient.class.getDeclaredField("restTemplate");
        field.setAccessible(true);
        ((RestTemplate) field.get(client)).getInterceptors().add((request, body, execution) -> {
            request.getHeaders().set("Authorization", System.getenv("AUTHORIZATION"));
            return execution.execute(request, body);
        });
        BigDecimal amount = new BigDecimal("150.00");
        System.out.println(client.checkFraud(CreditCardTransaction.builder(
            "TXN_123456", amount, "USER_001", "MERCH_001", "electronics").build())
            .fraudProbability());
    }
}
"""


def test_rest_template(
    detector: Detector, snippet: Snippet, authorization: str, tmp_path: Path
) -> None:
    class_path = java_class_path()
    types = ("FraudPrediction", "TransactionData")  # which the guide leaves to the reader
    imports = "".join(f"import org.fraudplatform.client.model.{name};\n" for name in types)
    (tmp_path / "FraudDetectionClient.java").write_text(
        imports + snippet("FraudDetectionClient.java")
    )
    (tmp_path / "Runner.java").write_text(JAVA_RUNNER)
    sources = ("FraudDetectionClient.java", "Runner.java")
    output_of("javac", "--class-path", class_path, *sources, folder=tmp_path)
    printed = output_of(
        *("java", "--class-path", f"{class_path}:{tmp_path}", "Runner"),
        folder=tmp_path,
        AUTHORIZATION=authorization,
    )
    probability = float(printed.splitlines()[-1])
    assert f"{probability:.4f}" == decision_of(detector, "TXN_123456")


def test_the_three_languages_sent_one_transaction(detector: Detector) -> None:
    """Spelt by three JSON libraries, it is one body: otherwise two of them had got a 409."""
    bodies = detector.rows(
        "SELECT outcome, count(*) FROM audit_log WHERE object_id = 'TXN_123456' GROUP BY outcome"
    )
    assert [outcome for outcome, _ in bodies] == ["success"]


def test_the_load_test(
    detector: Detector,
    snippet: Snippet,
    authorization: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    statuses: list[int] = []

    async def note(
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        ended: aiohttp.TraceRequestEndParams,
    ) -> None:
        statuses.append(ended.response.status)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)
    session = functools.partial(
        aiohttp.ClientSession, headers={"Authorization": authorization}, trace_configs=[trace]
    )
    monkeypatch.setattr(aiohttp, "ClientSession", session)
    run(snippet("load_test.py"))
    assert f"Processed {LOAD} requests" in capsys.readouterr().out
    assert statuses == [200] * LOAD
    # The guide's ids run from TXN_0 to TXN_999; another snippet's stands beside them.
    [(count,)] = detector.rows(
        r"SELECT count(*) FROM transactions WHERE transaction_id ~ '^TXN_\d{1,3}$'"
    )
    assert count == LOAD


def test_api_endpoints(
    detector: Detector,
    snippet: Snippet,
    authorization: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """The running service as an ASGI application, which adds the token on the way."""
        body = (await receive()).get("body", b"")
        headers = {"content-type": "application/json", "authorization": authorization}
        async with httpx.AsyncClient(base_url=detector.url) as client:
            answer = await client.request(
                scope["method"], scope["path"], content=body, headers=headers
            )
        await send({"type": "http.response.start", "status": answer.status_code, "headers": []})
        await send({"type": "http.response.body", "body": answer.content})

    module = ModuleType("fraud_detection_api")
    module.app = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fraud_detection_api", module)
    run(snippet("api_endpoints.py"))["test_api_endpoints"]()
    assert detector.rows("SELECT 1 FROM transactions WHERE transaction_id = 'TXN_001'")


@pytest.mark.skipif(not ORIGINAL.is_file(), reason="the integration guide is not beside the clone")
@pytest.mark.parametrize("path", sorted(GUIDE.iterdir()), ids=lambda path: path.name)
def test_the_snippet_is_the_guides(path: Path) -> None:
    assert path.read_text() in ORIGINAL.read_text()
