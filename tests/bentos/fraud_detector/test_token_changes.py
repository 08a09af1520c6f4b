"""Keys that come and go and tokens that are taken back, while the service runs."""

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from bentos.fraud_detector import key_refresh
from fraud.domain.event import to_us
from fraud.ledger.revocations import Revocation
from fraud.ledger.revoking import carry_out
from fraud.run.smoke import development_token
from fraud.security.keyring import retire
from fraud.security.token_keys import UNNAMED, add_token_key
from tests.bentos.fraud_detector.detector import Detector, a_token, a_transaction, running
from tests.servers import temporary_run_dir

OBEYED_WITHIN_S = 1.0


def status(service: Detector, token: str) -> int:
    headers = {"authorization": f"Bearer {token}"}
    answer = httpx.post(f"{service.url}/predict", headers=headers, json=a_transaction())
    return answer.status_code


def seconds_until(service: Detector, token: str, expected: int) -> float:
    began = time.monotonic()
    while status(service, token) != expected:
        assert time.monotonic() - began < 5, f"never {expected}"
        time.sleep(0.02)
    return time.monotonic() - began


def revoke(service: Detector, kind: str, value: str) -> None:
    now_us = to_us(datetime.now(UTC))
    carry_out(service.ledger, Revocation(kind, value, now_us, "ann", "lost"))  # type: ignore[arg-type]


def token_id(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])


def test_a_revoked_token_ends_within_a_second(detector: Detector) -> None:
    token, other = a_token(detector.settings), a_token(detector.settings)
    assert status(detector, token) == 200
    revoke(detector, "token", token_id(token))
    assert seconds_until(detector, token, 401) < OBEYED_WITHIN_S
    assert status(detector, other) == 200


def test_a_revoked_subject_needs_new_tokens(detector: Detector) -> None:
    old = a_token(detector.settings, subject="lost-till", now_s=time.time() - 5)
    other = a_token(detector.settings, subject="other-till", now_s=time.time() - 5)
    assert status(detector, old) == 200
    revoke(detector, "subject", "lost-till")
    assert seconds_until(detector, old, 401) < OBEYED_WITHIN_S
    assert status(detector, other) == 200
    later = a_token(detector.settings, subject="lost-till", now_s=time.time() + 2)
    assert status(detector, later) == 200


def test_requests_do_not_ask_the_ledger_for_revocations(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was seen last stays in force while the ledger is away."""
    token = a_token(detector.settings)
    revoke(detector, "token", token_id(token))
    seconds_until(detector, token, 401)
    monkeypatch.setattr(detector.runtime.engine, "lookout", None)  # the only way to the revocations
    assert status(detector, token) == 401


def test_keys_are_added_and_retired_within_a_second(new_ledger: Callable[[], str]) -> None:
    with temporary_run_dir() as run_dir, running(run_dir, new_ledger(), "m-1") as service:
        folder = service.settings.token_keys_dir
        unnamed = development_token(service.settings)
        assert status(service, unnamed) == 200
        first = add_token_key(folder, datetime.now(UTC))
        old = development_token(service.settings)
        assert seconds_until(service, old, 200) < OBEYED_WITHIN_S
        add_token_key(folder, datetime.now(UTC))
        new = development_token(service.settings)
        assert seconds_until(service, new, 200) < OBEYED_WITHIN_S
        assert [status(service, each) for each in (unnamed, old, new)] == [200, 200, 200]
        retire(service.settings, first)
        assert seconds_until(service, old, 401) < OBEYED_WITHIN_S
        retire(service.settings, UNNAMED)
        assert seconds_until(service, unnamed, 401) < OBEYED_WITHIN_S
        assert status(service, new) == 200


class Issuer:
    """An identity provider on this machine: a key set at a URL, and tokens to match."""

    def __init__(self) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.fetches = 0
        self.delay_s = 0.0
        self.status = 200
        self.url = ""

    def rotate(self, *names: str) -> None:
        self.keys = {
            name: self.keys.get(name) or ec.generate_private_key(ec.SECP256R1()) for name in names
        }

    def token(self, name: str, key: ec.EllipticCurvePrivateKey | None = None) -> str:
        now_s = int(time.time())
        claims = {
            "sub": "checkout",
            "iss": "https://id.example",
            "aud": "fraud-api",
            "iat": now_s,
            "exp": now_s + 600,
            "scope": "fraud_detection",
        }
        return jwt.encode(claims, key or self.keys[name], "ES256", headers={"kid": name})

    def unknown(self) -> str:
        """A token whose key the key set has never held."""
        return self.token("unknown", ec.generate_private_key(ec.SECP256R1()))

    def answer(self) -> bytes:
        self.fetches += 1
        time.sleep(self.delay_s)
        keys: list[dict[str, Any]] = [
            {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name}
            for name, key in self.keys.items()
        ]
        return json.dumps({"keys": keys}).encode()


@contextmanager
def issuing() -> Iterator[Issuer]:
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = issuer.answer()
            self.send_response(issuer.status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}/jwks.json"
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def trusting(issuer: Issuer, ledger: str) -> Iterator[Detector]:
    changes = {"jwks": issuer.url, "jwks_issuer": "https://id.example"}
    with temporary_run_dir() as run_dir, running(run_dir, ledger, "m-1", **changes) as service:
        yield service


def test_an_issuers_new_key_is_found_by_its_first_token(
    new_ledger: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_refresh, "LEAST_PAUSE_S", 0.0)
    with issuing() as issuer:
        issuer.rotate("one")
        with trusting(issuer, new_ledger()) as service:
            old = issuer.token("one")
            assert status(service, old) == 200
            assert status(service, old) == 200
            fetches = issuer.fetches
            issuer.rotate("one", "two")
            assert status(service, issuer.token("two")) == 200  # at once
            assert status(service, old) == 200
            assert issuer.fetches == fetches + 1
            issuer.status = 500  # what was fetched stays in force
            assert status(service, issuer.unknown()) == 401
            assert status(service, old) == 200
            issuer.status = 200
            issuer.rotate("two")  # a removed key ends with the next fetch
            assert status(service, issuer.unknown()) == 401
            assert status(service, old) == 401


def test_unknown_keys_cause_no_storm_and_no_wait(
    new_ledger: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert key_refresh.LEAST_PAUSE_S >= 10
    monkeypatch.setattr(key_refresh, "LEAST_PAUSE_S", 3600.0)  # longer than any test machine takes
    with issuing() as issuer:
        issuer.rotate("one")
        with trusting(issuer, new_ledger()) as service:
            deadline = time.monotonic() + 10
            while status(service, issuer.token("one")) != 200:
                assert time.monotonic() < deadline
            assert issuer.fetches == 1  # that at the start
            stranger = ec.generate_private_key(ec.SECP256R1())
            tokens = [issuer.token(f"key-{n}", stranger) for n in range(200)]
            with ThreadPoolExecutor(8) as threads:
                found = set(threads.map(lambda token: status(service, token), tokens))
            assert found == {401}
            assert issuer.fetches == 1


def test_others_are_answered_while_keys_are_fetched(
    new_ledger: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_refresh, "LEAST_PAUSE_S", 0.0)
    with issuing() as issuer:
        issuer.rotate("one")
        with trusting(issuer, new_ledger()) as service:
            assert status(service, issuer.token("one")) == 200
            fetches, issuer.delay_s = issuer.fetches, 2.0
            issuer.rotate("one", "two")
            with ThreadPoolExecutor(4) as threads:
                began = time.monotonic()
                waiting = [threads.submit(status, service, issuer.token("two")) for _ in range(4)]
                took_s = []
                while not all(each.done() for each in waiting):
                    started = time.perf_counter()
                    assert service.predict().status_code == 200
                    took_s.append(time.perf_counter() - started)
                assert [each.result() for each in waiting] == [200] * 4
            assert time.monotonic() - began > 1.5
            assert len(took_s) > 50
            assert statistics.median(took_s) < 0.1
            assert max(took_s) < 1.5  # nobody waited for the fetch
            assert issuer.fetches == fetches + 1  # the four shared it


def test_the_service_starts_without_the_issuer(new_ledger: Callable[[], str]) -> None:
    issuer = Issuer()
    issuer.url = "http://127.0.0.1:9/jwks.json"
    issuer.rotate("one")
    with trusting(issuer, new_ledger()) as service:
        assert status(service, issuer.token("one")) == 401
        assert service.predict().status_code == 200
