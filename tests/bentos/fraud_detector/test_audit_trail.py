"""What the running service leaves in the audit log, outside of it, and in its own log."""

import json
import logging
import time
from collections.abc import Callable

import httpx
import pytest

from fraud.ledger.audit_anchors import read_anchors
from fraud.ledger.audit_check import verify
from fraud.ledger.engine import connect
from tests.bentos.fraud_detector.detector import Detector, a_transaction, running
from tests.servers import temporary_run_dir

HOSTILE = "T1\r\n2026-11-22 INFO all good \x1b[2J\u2028\u202e"


def test_heads_are_noted_while_it_runs_and_when_it_ends(new_ledger: Callable[[], str]) -> None:
    ledger = new_ledger()
    changes = {"audit_anchor_interval_s": 0.2}
    with temporary_run_dir() as run_dir:
        with running(run_dir, ledger, "m-1", **changes) as service:
            path = service.settings.audit_anchor_file
            assert service.predict().status_code == 200
            deadline = time.monotonic() + 5
            while not path.exists() or read_anchors(path)[-1].position < 1:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            during = read_anchors(path)[-1]
            for _ in range(3):
                assert service.predict().status_code == 200
        noted = read_anchors(path)
        assert noted[-1].chain == during.chain
        assert noted[-1].position >= during.position + 3  # the last decisions as well
        connection = connect(ledger)
        report = verify(connection, noted)
        connection.close()
        assert report.is_intact


def test_success_and_failure_say_who_what_when_where_and_on_what(detector: Detector) -> None:
    began = time.time()
    body = a_transaction("T_AUDIT")
    assert detector.predict(body).status_code == 200
    assert detector.predict({**body, "amount": 99.0}).status_code == 409
    assert detector.predict({**body, "amount": "x"}).status_code == 422
    rows = detector.rows(
        "SELECT actor, action, outcome, origin, object_type, object_id,"
        " extract(epoch FROM recorded_at)::float8 FROM audit_log WHERE object_id = 'T_AUDIT'"
        " ORDER BY position"
    )
    assert [row[:6] for row in rows] == [
        ("checkout", action, outcome, "127.0.0.1", "transaction", "T_AUDIT")
        for action, outcome in (
            ("score", "success"),
            ("score", "failure"),
            ("refuse", "failure"),
            ("refuse", "failure"),
        )
    ]
    assert all(began - 1 < row[6] < time.time() + 1 for row in rows)


def test_no_line_can_be_forged(detector: Detector, caplog: pytest.LogCaptureFixture) -> None:
    """Line breaks in ids, paths and headers reach the audit log, and no log, as one line."""
    caplog.set_level(logging.DEBUG)
    before = detector.count("audit_log")
    detector.predict({**a_transaction(), "transaction_id": HOSTILE})
    httpx.get(f"{detector.url}/nothing%0d%0aINFO all good%1b", headers=detector.headers())
    httpx.get(f"{detector.url}/nothing%0d%0aINFO all good", headers={"authorization": "Bearer x"})
    detector.predict_raw(json.dumps({HOSTILE: 1}).encode())
    rows = detector.rows("SELECT object_id, detail::text FROM audit_log ORDER BY position")
    assert len(rows) == before + 3
    assert all(text.isprintable() for row in rows for text in row)
    ours = [record for record in caplog.records if record.name.startswith(("fraud", "uvicorn"))]
    assert all(record.getMessage().isprintable() for record in ours)
    connection = connect(detector.ledger)
    assert verify(connection).is_intact
    connection.close()
