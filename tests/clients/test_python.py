"""The Python client against the running service; what is lost on the way, a gateway loses."""

import asyncio
import contextlib
import datetime as dt
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from fraud_client import (
    AsyncFraudClient,
    Conflict,
    Forbidden,
    FraudClient,
    InvalidRequest,
    NoAnswer,
    ProblemError,
    RateLimited,
    Retry,
    Unauthenticated,
    Unavailable,
)
from fraud_client.exchange import retry_after_s
from tests.bentos.fraud_detector.detector import LEAST, Detector, a_body, a_transaction
from tests.clients.conftest import BURST, client_token, expired_token
from tests.clients.gateway import LATE_S, Fault, Gateway
from tests.fraud.run.free_ports import closed_port

ROOT = Path(__file__).resolve().parents[2] / "clients" / "python"
QUICK = Retry(attempts=3, base_s=0.01)


class _Blocking:
    """The asynchronous client, called as the synchronous one is: both pass the same tests."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncFraudClient(*args, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            async def awaited() -> Any:
                found: Awaitable[Any] = getattr(self._client, name)(*args, **options)
                return await found

            return self._runner.run(awaited())

        return call

    def end(self) -> None:
        self.close()
        self._runner.close()


Make = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    with contextlib.ExitStack() as stack:

        def client(*args: Any, **options: Any) -> Any:
            if request.param == "sync":
                return stack.enter_context(FraudClient(*args, **options))
            blocking = _Blocking(*args, **options)
            stack.callback(blocking.end)
            return blocking

        yield client


@pytest.mark.parametrize("name", sorted(LEAST))
def test_every_fraud_type_is_decided(detector: Detector, make: Make, token: str, name: str) -> None:
    decision = make(detector.url, token).predict(a_body(name, f"{token[-20:]}-{name}"))
    assert (decision["fraud_type"], decision["model_version"]) == (name, f"{name}-1")


def test_a_batch_gives_each_item_its_decision_or_its_error(
    detector: Detector, make: Make, token: str
) -> None:
    items = [a_transaction(), a_transaction(amount=-1), a_transaction()]
    first, refused, last = make(detector.url, token).batch_predict(iter(items))
    assert [first["transaction_id"], last["transaction_id"]] == [
        items[0]["transaction_id"],
        items[2]["transaction_id"],
    ]
    assert isinstance(refused, InvalidRequest)
    assert (refused.transaction_id, refused.kind) == (items[1]["transaction_id"], "invalid-field")
    assert refused.errors[0]["field"] == "amount"


def test_labels_are_told_once(detector: Detector, gateway: Gateway, make: Make, token: str) -> None:
    transfer = a_body("ach", f"LABEL_{time.time_ns()}")
    make(detector.url, token).predict(transfer)
    label = {"transaction_id": transfer["transaction_id"], "is_fraud": True, "source": "return"}
    client = make(f"{gateway.url}/lost/{token[-20:]}", token, retry=QUICK)
    assert client.labels([label], "ach")[0]["status"] == "repeated", "the first answer was lost"


def test_health_needs_no_token(detector: Detector, make: Make) -> None:
    assert set(make(detector.url).health()["champions"]) == set(LEAST)


def test_every_refusal_has_its_error(detector: Detector, make: Make, token: str) -> None:
    client = make(detector.url, token)
    known = a_transaction()
    client.predict(known)
    with pytest.raises(Conflict) as conflict:
        client.predict(known | {"amount": 99.0})
    assert conflict.value.errors[0]["field"] == "transaction_id"
    with pytest.raises(InvalidRequest, match="422") as invalid:
        client.predict(a_transaction(merchant_id=None))
    assert invalid.value.problem["instance"] == "/predict"
    with pytest.raises(Unauthenticated):
        make(detector.url).predict(a_transaction())
    with pytest.raises(Forbidden):
        make(detector.url, detector.headers(["metrics"])["authorization"][7:]).predict(known)


def test_a_lost_answer_is_asked_for_again(gateway: Gateway, make: Make, token: str) -> None:
    decision = make(f"{gateway.url}/lost/{token[-20:]}", token, retry=QUICK).predict(
        a_transaction()
    )
    assert decision["replayed"], "the first attempt was decided, too"


def test_a_late_answer_is_asked_for_again(gateway: Gateway, make: Make, token: str) -> None:
    client = make(f"{gateway.url}/late/{token[-20:]}", token, retry=QUICK, timeout=LATE_S / 2)
    assert client.predict(a_transaction())["replayed"]


def test_a_503_is_waited_for_as_long_as_it_says(gateway: Gateway, make: Make, token: str) -> None:
    began_s = time.monotonic()
    decision = make(f"{gateway.url}/away/{token[-20:]}", token, retry=QUICK).predict(
        a_transaction()
    )
    assert time.monotonic() - began_s >= 1.0
    assert not decision["replayed"]


def test_a_429_is_waited_for(detector: Detector, make: Make, token: str) -> None:
    client, impatient = make(detector.url, token), make(detector.url, token, retry=Retry(1))

    def ask_without_end() -> None:
        while True:
            impatient.predict(a_transaction())

    with pytest.raises(RateLimited) as limited:
        ask_without_end()
    assert limited.value.retry_after_s == 1
    assert client.predict(a_transaction())["decision_id"]


def test_who_is_sent_away_for_long_is_told_at_once(
    gateway: Gateway, make: Make, token: str
) -> None:
    name = f"banned-{token[-20:]}"
    with pytest.raises(RateLimited) as banned:
        make(f"{gateway.url}/{Fault.BANNED}/{name}", token).predict(a_transaction())
    assert banned.value.retry_after_s == 3600
    assert gateway.count[name] == 1


def test_what_is_no_problem_object_is_an_error_too(
    gateway: Gateway, make: Make, token: str
) -> None:
    name = f"broken-{token[-20:]}"
    with pytest.raises(Unavailable, match="502") as broken:
        make(f"{gateway.url}/{Fault.BROKEN}/{name}", token, retry=QUICK).predict(a_transaction())
    assert broken.value.problem["type"] == "about:blank"
    assert gateway.count[name] == QUICK.attempts


def test_nobody_there_is_no_answer(make: Make) -> None:
    with pytest.raises(NoAnswer) as nobody:
        make(f"http://127.0.0.1:{closed_port()}", "t", retry=QUICK).predict(a_transaction())
    assert isinstance(nobody.value.__cause__, httpx.ConnectError)


def test_a_refused_token_is_renewed_once(detector: Detector, make: Make, token: str) -> None:
    tokens = [expired_token(detector), token]
    client = make(detector.url, lambda: tokens.pop(0))
    for _ in range(2):
        client.predict(a_transaction())
    assert tokens == []
    given: list[str] = []

    def always_late() -> str:
        given.append(expired_token(detector))
        return given[-1]

    with pytest.raises(Unauthenticated):
        make(detector.url, always_late).predict(a_transaction())
    assert len(given) == 2


def test_many_at_once_share_one_renewal(detector: Detector, token: str) -> None:
    fetched: list[str] = []

    async def fetch() -> str:
        fetched.append(token if fetched else expired_token(detector))
        return fetched[-1]

    async def crowd() -> list[Any]:
        async with AsyncFraudClient(detector.url, fetch) as client:
            return await asyncio.gather(*(client.predict(a_transaction()) for _ in range(20)))

    assert len(asyncio.run(crowd())) == 20
    assert len(fetched) == 2


def test_a_crowd_larger_than_the_limit_is_served_in_the_end(detector: Detector, token: str) -> None:
    async def crowd() -> list[Any]:
        async with AsyncFraudClient(detector.url, token) as client:
            return await asyncio.gather(
                *(client.predict(a_transaction()) for _ in range(2 * BURST))
            )

    assert len({each["decision_id"] for each in asyncio.run(crowd())}) == 2 * BURST


def test_pauses_double_and_stay_below_their_bounds() -> None:
    retry = Retry(attempts=9, base_s=1.0, longest_s=20.0)
    longest = [max(retry.pause_s(attempt, None) or 0 for _ in range(200)) for attempt in (1, 3, 7)]
    # 200 draws from (0, b) have their maximum below b / 2 once in 2**200 runs.
    for found, bound in zip(longest, (1.0, 4.0, 20.0), strict=True):
        assert bound / 2 < found <= bound
    assert retry.pause_s(9, None) is None
    assert 5.0 <= (retry.pause_s(1, 5.0) or 0) <= 6.0
    assert retry.pause_s(1, 21.0) is None


def test_retry_after_may_be_a_date() -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
    date = format_datetime(soon, usegmt=True)
    assert 28 <= (retry_after_s(httpx.Response(503, headers={"retry-after": date})) or 0) <= 30
    assert retry_after_s(httpx.Response(503, headers={"retry-after": "soon"})) is None


def test_problems_are_told_apart_from_decisions_by_type(detector: Detector, token: str) -> None:
    with FraudClient(detector.url, token) as client:
        outcomes = client.batch_predict([a_transaction(), a_transaction(amount="much")])
    assert [isinstance(each, ProblemError) for each in outcomes] == [False, True]


def test_the_example_of_the_readme_runs(detector: Detector) -> None:
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        env={
            **os.environ,
            "FRAUD_URL": detector.url,
            "FRAUD_TOKEN": client_token(detector, "readme-python"),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1:3] == [line for line in lines[1:3] if line.startswith("README_PYTHON_")]
    assert lines[3:] == ["README_PYTHON_1 duplicate-conflict", "transaction_id", "stored"]


def test_the_package_can_be_built(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    files = zipfile.ZipFile(wheel).namelist()
    assert {"fraud_client/client.py", "fraud_client/models.py", "fraud_client/py.typed"} <= {*files}
