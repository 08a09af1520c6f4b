"""Who gets in: every route of the service, ours and BentoML's, against every kind of token."""

import base64
import json
import re
import time
from collections.abc import Iterator, Sequence

import httpx
import jwt
import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from bentos.fraud_detector.access import ROUTES, Access, AccessTable
from bentos.fraud_detector.api import show_health
from tests.bentos.fraud_detector.detector import Detector, a_token, a_transaction

LINES = [(min(access.methods), access.path, access) for access in ROUTES]


def call(detector: Detector, method: str, path: str, token: str | None) -> httpx.Response:
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    content = json.dumps(a_transaction()) if method == "POST" else None
    url = detector.url + re.sub(r"\{[^}]*\}", "1", path)
    return httpx.request(method, url, headers=headers, content=content, timeout=10)


def mounted(routes: Sequence[BaseRoute], prefix: str = "") -> Iterator[tuple[str, frozenset[str]]]:
    """Path and methods of every route, those of mounted applications as well."""
    for route in routes:
        if isinstance(route, Route):
            yield prefix + route.path, frozenset(route.methods or ())
        elif isinstance(route, Mount) and route.routes:
            yield from mounted(route.routes, prefix + route.path)
        elif isinstance(route, Mount):
            yield f"{prefix}{route.path}/x", frozenset({"GET", "HEAD"})
        else:
            yield f"{prefix}{getattr(route, 'path', route)}", frozenset()


def undeclared(app: Starlette) -> set[str]:
    """Routes the assembled service would answer, were there no guard, that have no line."""
    table = AccessTable()
    found = set()
    for path, methods in mounted(app.routes):
        lines = {method: table.find(path, method) for method in methods}
        covered = [method for method, line in lines.items() if line and method in line.methods]
        if not methods or len(covered) < len(methods):
            found.add(path)
    return found


def assembled() -> Starlette:
    from bentos.fraud_detector.service import FraudDetector  # quiet: detector.py imported it

    return FraudDetector.to_asgi()


CLOSED_PAGES = {"/", "/docs.json", "/schema.json", "/static_content/x", "/assets/x"}
"""BentoML's own; they have no line on purpose, so nobody sees them."""


def test_every_route_has_a_line_or_is_closed() -> None:
    paths = {path for path, _ in mounted(assembled().routes)}
    declared = {access.path for access in ROUTES}
    assert declared <= paths, "a line for a route that does not exist"
    assert undeclared(assembled()) <= CLOSED_PAGES, "a route without a line"
    assert {"/metrics", "/predict", "/health", "/docs.json", "/schema.json"} <= paths


def test_every_line_says_who_may_come() -> None:
    for access in ROUTES:
        ways = (access.is_open, access.is_signed, bool(access.scope))
        assert sum(ways) == (access.path != "/openapi.json"), access.path
    assert {access.path for access in ROUTES if access.is_open} == {
        *("/health", "/livez", "/readyz", "/healthz"),
    }
    assert {access.path for access in ROUTES if access.is_signed} == {"/connectors/stripe/webhook"}


@pytest.mark.parametrize(
    "route",
    [
        Route("/new", show_health),
        Route("/health", show_health, methods=["GET", "POST"]),
        Mount("/new", routes=[Route("/inside", show_health)]),
        Mount("/new", app=lambda *_: None),
        WebSocketRoute("/new", show_health),
    ],
    ids=["path", "method", "mounted route", "mounted app", "websocket"],
)
def test_a_new_route_without_a_line_would_be_found(route: BaseRoute) -> None:
    before = undeclared(assembled())
    app = assembled()
    app.router.routes.append(route)
    assert len(undeclared(app) - before) == 1


@pytest.mark.parametrize(
    ("method", "path", "access"),
    [*LINES, *(("GET", page, None) for page in sorted(CLOSED_PAGES | {"/nothing"}))],
)
def test_the_token_matrix(
    detector: Detector, method: str, path: str, access: Access | None
) -> None:
    settings = detector.settings
    wrong = {
        "none": None,
        "not a token": "abc",
        "expired": a_token(settings, ["fraud_detection", "metrics"], lifetime_s=-1),
        "other key": a_token(settings, ["fraud_detection", "metrics"], secret="x" * 48),
        "other audience": a_token(settings, ["fraud_detection", "metrics"], audience="else"),
        "other issuer": a_token(settings, ["fraud_detection", "metrics"], issuer="else"),
        "not yet": a_token(settings, ["fraud_detection"], now_s=time.time() + 3600),
        "unsigned": unsigned_token(settings.jwt_issuer, settings.jwt_audience),
    }
    if access is not None and access.is_signed:  # off unless configured; no token opens it
        for token in (*wrong.values(), a_token(settings, ["fraud_detection", "metrics"])):
            assert call(detector, method, path, token).status_code == 404
        return
    if access is not None and access.is_open:
        assert {call(detector, method, path, token).status_code for token in wrong.values()} == {
            200
        }
        return
    for kind, token in wrong.items():
        answer = call(detector, method, path, token)
        assert answer.status_code == 401, f"{kind} got {answer.status_code}"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
    unscoped = call(detector, method, path, a_token(settings, ["something_else"]))
    if access is None:
        assert unscoped.status_code == 404
        return
    if access.scope is None:
        assert unscoped.status_code == 200
        return
    assert unscoped.status_code == 403
    assert access.scope in unscoped.json()["detail"]
    scoped = call(detector, method, path, a_token(settings, [access.scope]))
    # A card payment is not what operations take, and there is no object of id 1.
    fits = path in ("/predict", "/audit/verification") or (method == "GET" and "{" not in path)
    assert scoped.status_code in ({200} if fits else {404, 422}), scoped.text


@pytest.mark.parametrize("scheme", ["Basic dXNlcjpwYXNz", "Bearer", "Digest x", "Bearer a b"])
def test_other_schemes_are_401(detector: Detector, scheme: str) -> None:
    answer = httpx.post(f"{detector.url}/predict", headers={"authorization": scheme})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/predict"),
        ("PUT", "/predict"),
        ("DELETE", "/batch-predict"),
        ("POST", "/health"),
        ("POST", "/livez"),
        ("OPTIONS", "/metrics"),
        ("DELETE", "/rules"),
        ("PUT", "/lists/x"),
    ],
)
def test_other_methods_are_405(detector: Detector, method: str, path: str) -> None:
    headers = detector.headers(["fraud_detection", "metrics", "rules:read"])
    answer = httpx.request(method, detector.url + path, headers=headers)
    assert answer.status_code == 405
    assert answer.headers["allow"]
    assert answer.json()["type"].endswith("method-not-allowed")


def test_a_refused_caller_leaves_an_audit_record(detector: Detector) -> None:
    before = detector.count("audit_log")
    httpx.post(f"{detector.url}/predict", headers={"authorization": "Bearer x"})
    httpx.post(f"{detector.url}/predict", headers=detector.headers(["other"]))
    found = detector.rows(
        "SELECT actor, detail->>'problem', object_id FROM audit_log ORDER BY recorded_at, position"
    )[before:]
    # Whoever proves nothing has no name, not even the one they claim.
    assert found == [
        ("anonymous", "unauthenticated", "/predict"),
        ("checkout", "forbidden", "/predict"),
    ]


def test_websockets_are_refused(detector: Detector) -> None:
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": base64.b64encode(b"0" * 16).decode(),
    }
    answer = httpx.get(f"{detector.url}/predict", headers=headers)
    assert answer.status_code in (401, 403)


def test_answers_carry_security_headers(detector: Detector) -> None:
    for answer in (detector.predict(), httpx.get(f"{detector.url}/")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_the_description_lists_every_line(detector: Detector) -> None:
    document = detector.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    described = {(m, path) for path, each in document["paths"].items() for m in each}
    declared = {(method.lower(), path.replace(":path}", "}")) for method, path, _ in LINES}
    assert described == declared
    for method, path, access in LINES:
        operation = document["paths"][path.replace(":path}", "}")][method.lower()]
        assert "summary" in operation
        assert operation["security"] == (
            []
            if access.is_open or access.is_signed
            else [{"bearer": [access.scope] if access.scope else []}]
        )


def unsigned_token(issuer: str, audience: str) -> str:
    claims = {
        "sub": "checkout",
        "scope": "fraud_detection metrics",
        "iss": issuer,
        "aud": audience,
        "exp": int(time.time()) + 600,
    }
    return jwt.encode(claims, None, algorithm="none")
