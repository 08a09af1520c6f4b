"""The proof of parity holds on a small stream, and breaks where somebody breaks the contract."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import parity
from benchmarks.parity_check import answer_differences
from benchmarks.parity_scorers import Answers
from benchmarks.parity_stream import AHEAD, CORRECTED, LATE, TWICE, a_stream
from feature_store.batch import type_layout
from fraud.domain import windows

EVENTS = 400  # few, yet every card holder has dozens
SECOND_US = (
    1_000_000  # a hop that is off by one second; of so few events none is at an edge of 1 us
)


@pytest.fixture
def console() -> Console:
    return Console(stderr=True, width=200)


def test_what_was_served_is_what_is_rebuilt(
    new_ledger: Callable[[], str], console: Console
) -> None:
    report = parity.run(new_ledger(), EVENTS, 11, console)
    assert parity.is_equal(report), report
    assert report["compared"] == EVENTS * report["features"]
    assert (report["late"], report["duplicates"]) == (LATE * EVENTS, TWICE * EVENTS)
    assert report["corrections_refused"] == CORRECTED * EVENTS
    assert 0 < report["labels_acted"] <= report["labels"]


def test_an_off_by_one_in_a_hop_is_found(
    new_ledger: Callable[[], str],
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The scorers run in processes of their own, so only the offline execution is broken."""
    type_layout("credit_card")  # kept for other tests: made before anything is broken
    true_hop = windows.hop_us
    monkeypatch.setattr(windows, "hop_us", lambda length_us: true_hop(length_us) + SECOND_US)
    report = parity.run(new_ledger(), EVENTS, 12, console)
    assert report["unequal"] > 0
    assert (report["answers_wrong"], report["lost"]) == (0, 0)
    assert not parity.is_equal(report)
    assert "differs: user_" in capsys.readouterr().err


@pytest.mark.parametrize(("unequal", "code"), [(0, 0), (3, 1)])
def test_the_command_says_so_in_one_line_and_in_its_exit_code(
    unequal: int,
    code: int,
    new_ledger: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    report = {"compared": 9, "unequal": unequal, "states_unequal": 0, "answers_wrong": 0, "lost": 0}
    monkeypatch.setattr(parity, "run", lambda *arguments: report)
    monkeypatch.setenv("DATABASE_URL", new_ledger())
    app = parity.typer.Typer()
    app.command()(parity.main)
    done = CliRunner().invoke(app, ["--n", "100", "--out", str(tmp_path / "out.json")])
    assert done.exit_code == code
    assert json.loads(done.stdout.splitlines()[-1]) == report
    assert json.loads((tmp_path / "out.json").read_text()) == report


def test_the_stream_is_what_it_is_said_to_be() -> None:
    stream = a_stream(1000, 3)
    times = [batch.now_us for batch in stream.batches]
    assert times == sorted(times)
    first: dict[str, int] = {}
    bodies: dict[str, bytes] = {}
    late, repeated, corrected = 0, 0, 0
    for place, batch in enumerate(stream.batches):
        for request in batch.requests:
            name = request.event.transaction_id
            late += name not in first and request.event.event_time_us < batch.now_us - 3_000_000_000
            if bodies.setdefault(name, request.body_digest) != request.body_digest:
                corrected += 1
                assert place - first[name] > AHEAD
            elif name in first:
                repeated += 1
            first.setdefault(name, place)
    assert (len(first), repeated, corrected) == (1000, 20, 10)
    assert late >= stream.late == 50
    told = [each for batch in stream.batches for each in batch.labels]
    assert len(told) == stream.labels > 0
    again = a_stream(1000, 3)
    assert [each.labels for each in again.batches] == [each.labels for each in stream.batches]


@pytest.mark.parametrize(
    ("decided", "refused"),
    [
        ([("T", b"1", "d1", False), ("T", b"1", "d2", True)], []),
        ([("T", b"1", "d1", False), ("T", b"1", "d1", False)], []),
        ([("T", b"1", "d1", False), ("T", b"2", "d1", True)], []),
        ([("T", b"1", "d1", False)], [("T", b"1")]),
    ],
)
def test_answers_that_contradict_each_other_are_found(
    decided: list[tuple[str, bytes, str, bool]], refused: list[tuple[str, bytes]]
) -> None:
    assert answer_differences(Answers(decided, refused)).count == 1
    fine = Answers([("T", b"1", "d", False), ("T", b"1", "d", True)], [("T", b"2")])
    assert answer_differences(fine).count == 0
