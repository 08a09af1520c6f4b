"""Talking to the operations of a running service."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from bentos.fraud_detector.access import ROUTES
from tests.bentos.fraud_detector.detector import Detector

ALL_SCOPES = sorted({access.scope for access in ROUTES if access.scope})
SOON_S = 1.0
"""Within which a change has to act, in every worker."""


def get(detector: Detector, path: str, **parameters: object) -> httpx.Response:
    headers = detector.headers(ALL_SCOPES, subject="ann")
    return detector.client.get(path, params=parameters or None, headers=headers)


def post(
    detector: Detector, path: str, body: object = None, subject: str = "ann", **parameters: object
) -> httpx.Response:
    headers = detector.headers(ALL_SCOPES, subject=subject)
    return detector.client.post(path, json=body, params=parameters, headers=headers)


def ok(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


def a_rule(
    detector: Detector, code: str, expression: str, state: str | None = None, level: str = "HIGH"
) -> int:
    """Draft a rule and move it to a state; its version."""
    body = {"code": code, "text": "A test.", "level": level, "expression": expression}
    version: int = ok(post(detector, "/rules", body))["version"]
    if state is not None:
        move(detector, code, version, state)
    return version


def move(detector: Detector, code: str, version: int, state: str) -> None:
    ok(post(detector, f"/rules/{code}/{version}/state", {"state": state}))


def a_list(detector: Detector, name: str, kind: str, field: str = "user_id") -> None:
    ok(post(detector, "/lists", {"name": name, "kind": kind, "field": field}))


def put_on(detector: Detector, name: str, *values: str, **entry: object) -> None:
    entries = [{"value": value, "reason": "A test.", **entry} for value in values]
    ok(post(detector, f"/lists/{name}/entries", {"entries": entries}))


def soon(check: Callable[[], bool]) -> None:
    """Wait until a check holds; fails if that takes longer than promised."""
    started = time.monotonic()
    while not check():
        assert time.monotonic() - started < SOON_S, "not in effect within a second"
        time.sleep(0.02)
