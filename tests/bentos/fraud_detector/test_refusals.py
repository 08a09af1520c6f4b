"""Bad input: each its own 4xx that names the field and the remedy, and nothing is stored."""

import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from bentos.fraud_detector import guard
from tests.bentos.fraud_detector.detector import Detector, a_transaction

GOOD = json.dumps(a_transaction("T_BAD"))
STORED = ("transactions", "decisions", "entity_state", "outbox", "fraud_alerts", "labels", "cases")


def with_field(name: str, value: str) -> bytes:
    """A good body in which one field has been given raw JSON as its value."""
    content = json.loads(GOOD)
    content[name] = "@"
    return json.dumps(content).replace('"@"', value).encode()


def without(name: str) -> bytes:
    content = json.loads(GOOD)
    del content[name]
    return json.dumps(content).encode()


MALFORMED = {
    "empty": b"",
    "cut off": GOOD.encode()[:-1],
    "not json": b"amount=12",
    "two objects": (GOOD + GOOD).encode(),
    "not utf-8": GOOD.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "not a number": with_field("amount", "NaN"),
    "infinity": with_field("amount", "-Infinity"),
    "key twice": GOOD.replace('"amount"', '"amount": 1, "amount"').encode(),
    "key twice inside": with_field("user_id", '{"a": 1, "a": 2}'),
    "too deep": b'{"a":' * 50_000,
    "too many digits": with_field("amount", "9" * 5000),
}

INVALID = {
    "list": (b"[]", "body"),
    "text": (b'"x"', "body"),
    "null": (b"null", "body"),
    "missing id": (without("transaction_id"), "transaction_id"),
    "missing amount": (without("amount"), "amount"),
    "missing user": (without("user_id"), "user_id"),
    "missing merchant": (without("merchant_id"), "merchant_id"),
    "missing category": (without("merchant_category"), "merchant_category"),
    "unknown field": (with_field("ammount", "1"), "ammount"),
    "too many fields": (json.dumps({f"f{n}": n for n in range(5000)}).encode(), "transaction"),
    "negative amount": (with_field("amount", "-0.01"), "amount"),
    "absurd amount": (with_field("amount", "100000000"), "amount"),
    "overflowing amount": (with_field("amount", "1e999"), "amount"),
    "amount as text": (with_field("amount", '"12.5"'), "amount"),
    "amount as flag": (with_field("amount", "true"), "amount"),
    "three decimals": (with_field("amount", "1.005"), "amount"),
    "long id": (with_field("transaction_id", f'"{"x" * 51}"'), "transaction_id"),
    "empty id": (with_field("transaction_id", '""'), "transaction_id"),
    "line break in id": (with_field("transaction_id", r'"a\r\nb"'), "transaction_id"),
    "nul in id": (with_field("user_id", r'"a\u0000"'), "user_id"),
    "half surrogate": (with_field("user_id", r'"\ud800"'), "user_id"),
    "id as number": (with_field("user_id", "5"), "user_id"),
    "flag as number": (with_field("card_present", "1"), "card_present"),
    "flag as text": (with_field("used_chip", '"true"'), "used_chip"),
    "distance too far": (with_field("distance_from_home_km", "20039"), "distance_from_home_km"),
    "country in words": (with_field("country", '"Germany"'), "country"),
    "latitude alone": (with_field("latitude", "48.85"), "longitude"),
    "longitude alone": (with_field("longitude", "2.29"), "longitude"),
    "beyond the pole": (with_field("latitude", "90.5"), "latitude"),
    "unknown time zone": (with_field("time_zone", '"Mars/Base"'), "time_zone"),
    "path as time zone": (with_field("time_zone", '"../../etc/passwd"'), "time_zone"),
    "future": (with_field("timestamp", '"2999-01-01T00:00:00Z"'), "timestamp"),
    "end of the calendar": (with_field("timestamp", '"9999-12-31T23:59:59-14:00"'), "timestamp"),
    "before the platform": (with_field("timestamp", '"1999-12-31T23:59:59Z"'), "timestamp"),
    "time as number": (with_field("timestamp", "1700000000"), "timestamp"),
    "time in words": (with_field("timestamp", '"yesterday"'), "timestamp"),
    "unknown fraud type": (with_field("fraud_type", '"tax"'), "fraud_type"),
    "fraud type as list": (with_field("fraud_type", "[]"), "fraud_type"),
}

BATCHES = {
    "no list": (b'{"transactions": {}}', "transactions"),
    "missing": (b"{}", "transactions"),
    "none": (b'{"transactions": []}', "transactions"),
    "too many": (b'{"transactions": [' + b"1," * 1000 + b"1]}", "transactions"),
    "unknown field": (b'{"transactions": [], "mode": 1}', "mode"),
}


@pytest.fixture(autouse=True)
def _nothing_but_an_audit_record(detector: Detector) -> Iterator[None]:
    before = {table: detector.count(table) for table in STORED}
    audited = detector.count("audit_log")
    yield
    assert {table: detector.count(table) for table in STORED} == before
    assert detector.count("audit_log") == audited + 1
    (last,) = detector.rows(
        "SELECT actor, action, outcome, origin FROM audit_log ORDER BY recorded_at DESC, position"
        " DESC LIMIT 1"
    )
    assert last == ("checkout", "refuse", "failure", "127.0.0.1")


def assert_problem(answer: httpx.Response, status: int, slug: str) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(body)
    assert body["type"] == f"urn:fraud-platform:problem:{slug}"
    assert body["status"] == status
    assert "Traceback" not in answer.text
    return body


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_body_is_400(detector: Detector, case: str) -> None:
    body = assert_problem(detector.predict_raw(MALFORMED[case]), 400, "malformed-body")
    assert body["detail"]


@pytest.mark.parametrize("case", INVALID)
def test_a_bad_field_is_422_and_named(detector: Detector, case: str) -> None:
    content, field = INVALID[case]
    body = assert_problem(detector.predict_raw(content), 422, "invalid-field")
    errors = body["errors"]
    assert isinstance(errors, list)
    assert field in [each["field"] for each in errors]
    assert all(each["problem"] and each["remedy"] for each in errors)
    assert len(errors) <= 20  # a body of thousands of bad fields is not echoed back


def test_a_misspelt_field_is_recognised(detector: Detector) -> None:
    body = assert_problem(detector.predict_raw(with_field("ammount", "1")), 422, "invalid-field")
    assert "'amount'" in str(body["errors"])


@pytest.mark.parametrize("case", BATCHES)
def test_a_batch_that_is_none_is_422(detector: Detector, case: str) -> None:
    content, field = BATCHES[case]
    body = assert_problem(detector.predict_raw(content, "/batch-predict"), 422, "invalid-field")
    assert field in str(body["errors"])


def test_a_malformed_batch_is_400(detector: Detector) -> None:
    assert_problem(
        detector.predict_raw(b'{"transactions": [', "/batch-predict"), 400, "malformed-body"
    )


@pytest.mark.parametrize(
    "media",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/vnd.bentoml+pickle",
        "application/json; charset=latin-1",
        "",
    ],
)
def test_other_content_types_are_415(detector: Detector, media: str) -> None:
    answer = detector.client.post("/predict", content=GOOD, headers={"content-type": media})
    assert_problem(answer, 415, "unsupported-media")


def test_a_compressed_body_is_415(detector: Detector) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = detector.client.post("/predict", content=GOOD, headers=headers)
    assert_problem(answer, 415, "unsupported-media")


@pytest.mark.parametrize(
    ("path", "limit"), [("/predict", 256 * 1024), ("/batch-predict", 5 * 1024 * 1024)]
)
def test_too_many_bytes_are_413(detector: Detector, path: str, limit: int) -> None:
    assert_problem(detector.predict_raw(b" " * (limit + 1), path), 413, "body-too-large")


def test_too_many_bytes_are_413_without_a_stated_length(detector: Detector) -> None:
    parts = (b" " * 65536 for _ in range(8))
    headers = {"content-type": "application/json"}
    answer = detector.client.post("/predict", content=parts, headers=headers)
    assert_problem(answer, 413, "body-too-large")


def test_a_stated_length_is_refused_before_the_body_is_sent(detector: Detector) -> None:
    with raw_post(detector, length=10**9) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_slow_body_is_cut_off(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_TIMEOUT_S", 0.2)
    with raw_post(detector, length=100) as connection:
        connection.sendall(b'{"tra')
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert connection.recv(4096) in (b"", answer)  # the connection ends


def raw_post(detector: Detector, length: int) -> socket.socket:
    """A connection on which the headers of a POST were sent, and none of its body."""
    host, port = detector.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    authorization = detector.headers()["authorization"]
    connection.sendall(
        f"POST /predict HTTP/1.1\r\nhost: {host}\r\nauthorization: {authorization}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n".encode()
    )
    return connection
