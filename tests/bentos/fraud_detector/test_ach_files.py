"""NACHA files through the command line and the running service, and returns back as labels."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from bentos.connectors.ach.reading import read_file
from bentos.scoring.manifest import Calibration
from fraud.cli import app
from fraud.types.ach import ACH
from tests.bentos.connectors.nacha_files import ABatch, AnEntry, a_file, a_return
from tests.bentos.fraud_detector.detector import Detector, promote, running
from tests.bentos.fraud_detector.operations.office import ok, post
from tests.servers import temporary_run_dir

HARMLESS = Calibration(a=1e-9, b=-5.0, squeeze=1e-6)
"""Probability 0.0067, whatever the event: what is blocked, the rule below blocked."""


@pytest.fixture(scope="module")
def detector(new_ledger: Callable[[], str]) -> Iterator[Detector]:
    with temporary_run_dir() as run_dir, running(run_dir, new_ledger()) as started:
        promote(started.settings, started.ledger, "ach-1", kind=ACH, calibration=HARMLESS)
        rule = {"code": "LARGE", "text": "Large.", "level": "HIGH", "expression": "amount >= 9000"}
        version = ok(post(started, "/rules", rule, fraud_type="ach"))["version"]
        ok(post(started, f"/rules/LARGE/{version}/state", {"state": "active"}, fraud_type="ach"))
        started.look()
        yield started


def call(detector: Detector, *words: object) -> Result:
    commands = ["ach", *map(str, words), "--api", detector.url]
    return CliRunner().invoke(app, commands)


def decide(
    detector: Detector, folder: Path, content: bytes, exit_code: int = 0
) -> list[dict[str, Any]]:
    path = folder / "in.ach"
    path.write_bytes(content)
    done = call(detector, "decide", path, "--out", folder / "out")
    assert done.exit_code == exit_code, done.output
    return [json.loads(line) for line in (folder / "out/decisions.jsonl").read_text().splitlines()]


def released(folder: Path) -> list[int]:
    content = (folder / "out" / "released.ach").read_bytes()
    return [int(entry.trace[8:]) for _, entry in read_file(content).entries]


def test_a_file_is_decided_and_decided_again_the_same(detector: Detector, tmp_path: Path) -> None:
    entries = [AnEntry(trace, amount=amount) for trace, amount in ((1, 500), (2, 950_000), (3, 7))]
    content = a_file(ABatch(entries))
    first = decide(detector, tmp_path, content)
    assert [each["action"] for each in first] == ["approve", "block", "approve"]
    assert first[1]["rules"] == ["LARGE"]
    assert released(tmp_path) == [1, 3]
    assert decide(detector, tmp_path, content) == first
    names = [each["transaction_id"] for each in first]
    found = detector.rows(
        "SELECT transaction_id, decision_id::text FROM decisions WHERE fraud_type = 'ach' "
        "ORDER BY transaction_id"
    )
    assert found == [(each["transaction_id"], each["decision_id"]) for each in first]
    assert names == sorted(names)


def test_no_account_number_leaves_the_file(detector: Detector, tmp_path: Path) -> None:
    decide(detector, tmp_path, a_file(ABatch([AnEntry(11, account="918273645546372819"[:17])])))
    everything = detector.rows(
        "SELECT t::text FROM transactions t UNION ALL SELECT a::text FROM audit_log a "
        "UNION ALL SELECT o::text FROM outbox o"
    )
    assert everything
    assert not [row for (row,) in everything if "91827364554637281" in row]
    out = [path for path in (tmp_path / "out").iterdir() if path.suffix != ".ach"]
    assert not [path for path in out if "91827364554637281" in path.read_text()]


def test_the_same_trace_number_with_another_content_is_quarantined(
    detector: Detector, tmp_path: Path
) -> None:
    decide(detector, tmp_path, a_file(ABatch([AnEntry(21, amount=500)])))
    changed = a_file(ABatch([AnEntry(21, amount=600), AnEntry(22, amount=500)]))
    decisions = decide(detector, tmp_path, changed, exit_code=1)
    assert [each["trace"][-2:] for each in decisions] == ["22"]
    [fault] = (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()
    assert json.loads(fault)["line"] == 3
    assert "was decided before with another body" in fault
    assert released(tmp_path) == [22]


def test_returns_come_back_as_labels_that_act(detector: Detector, tmp_path: Path) -> None:
    """Trace number 31 was used by the file of the day before, too, for another amount."""
    old = a_file(ABatch([AnEntry(31, amount=4_000)]), created="2603010900")
    new = a_file(ABatch([AnEntry(31, amount=5_000), AnEntry(32, amount=6_000)]))
    decide(detector, tmp_path, old)
    decided = decide(detector, tmp_path, new)
    returned = [
        a_return("R10", "091000010000031", trace=1, amount=5_000),
        a_return("R01", "091000010000032", trace=2, amount=6_000),
        a_return("R10", "091000010000099", trace=3, amount=1),
        a_return("R31", "091000010000032", trace=4, amount=6_000),
    ]
    path = tmp_path / "returns.ach"
    path.write_bytes(a_file(ABatch(returned, odfi="01140153"), created="2603040800"))
    first, again = (call(detector, "returns", path) for _ in range(2))
    assert (first.exit_code, again.exit_code) == (1, 1), first.output
    counts = {"stored": 2, "repeated": 0, "frauds": 1, "without_label": 2}
    assert json.loads(first.stdout) == counts
    assert json.loads(again.stdout) == counts | {"stored": 0, "repeated": 2}
    assert "returns.ach:7: no entry with this trace number was decided" in first.stderr
    assert "returns.ach:9: return code 'R31' has no declared meaning" in first.stderr
    assert detector.rows(
        "SELECT transaction_id, is_fraud, source, (reported_at AT TIME ZONE 'UTC')::text "
        "FROM labels ORDER BY 1"
    ) == [
        (decided[0]["transaction_id"], True, "return", "2026-03-04 13:00:00"),  # 08:00 Eastern
        (decided[1]["transaction_id"], False, "return", "2026-03-04 13:00:00"),
    ]
    acted = detector.rows(
        "SELECT object_id, detail->>'acted' FROM audit_log "
        "WHERE action = 'label' AND detail->>'repeated' IS NULL ORDER BY object_id"
    )
    assert acted == [
        (decided[0]["transaction_id"], "true"),
        (decided[1]["transaction_id"], "false"),
    ]


def test_a_broken_file_is_refused_in_one_sentence(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "in.ach"
    path.write_bytes(a_file(control={"debit": 1}))
    done = call(detector, "decide", path, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "The file control does not agree with its batches" in done.stderr
    assert not (tmp_path / "out").exists()
    assert call(detector, "returns", tmp_path / "absent.ach").exit_code == 2
