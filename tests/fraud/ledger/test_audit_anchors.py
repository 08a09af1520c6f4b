"""Heads noted outside the ledger: what is written, and what they uncover."""

import datetime as dt
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from fraud.domain.errors import ContractError, NotFound
from fraud.ledger.audit import claim_chain
from fraud.ledger.audit_anchors import AnchorFile, read_anchors
from fraud.ledger.audit_check import Anchor, anchors, verify
from fraud.ledger.engine import connect
from tests.fraud.ledger.test_audit import an_entry, kinds, tamper, write

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
HEAD = Anchor("detector-1", 7, bytes(32))


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def url(new_ledger: Callable[[], str]) -> str:
    return new_ledger()


@pytest.fixture
def writer(url: str) -> Iterator[Connection]:
    connection = connect(url)
    yield connection
    connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit" / "anchors.jsonl"


def noted(path: Path, writer: Connection) -> None:
    AnchorFile(path).note(anchors(writer))
    writer.commit()


def check(url: str, path: Path) -> list[tuple[int, str]]:
    connection = connect(url)
    try:
        return kinds(verify(connection, read_anchors(path)))
    finally:
        connection.close()


REWRITE_HEAD = """
UPDATE audit_anchor SET position = {last},
    hash = (SELECT hash FROM audit_log WHERE position = {last})
"""


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        ([], []),
        (["UPDATE audit_log SET actor = 'nobody' WHERE position = 3"], [(3, "edited")]),
        (["DELETE FROM audit_log WHERE position = 3"], [(3, "removed")]),
        (
            ["DELETE FROM audit_log WHERE position > 6", REWRITE_HEAD.format(last=6)],
            [(7, "truncated")],
        ),
        (["DELETE FROM audit_log", "DELETE FROM audit_anchor"], [(1, "truncated"), (0, "anchor")]),
        (
            ["DELETE FROM audit_log", f"UPDATE audit_anchor SET position = 0, hash = '{'x' * 4}'"],
            [(1, "truncated")],
        ),
    ],
    ids=["untouched", "edited", "removed", "truncated", "vanished", "emptied"],
)
def test_what_was_done_to_the_log_is_found(
    url: str, writer: Connection, path: Path, statements: list[str], found: list[tuple[int, str]]
) -> None:
    chain = claim_chain(writer, "service")
    write(writer, chain, *(an_entry(f"tx-{n}") for n in range(10)))
    noted(path, writer)
    if statements:
        tamper(url, *statements)
    assert check(url, path) == found


def test_a_log_rewritten_from_an_earlier_record_on_is_found(
    url: str, writer: Connection, path: Path
) -> None:
    """A forger who cuts off the end and goes on writing leaves a log that is whole in itself."""
    chain = claim_chain(writer, "service")
    write(writer, chain, *(an_entry(f"tx-{n}") for n in range(10)))
    noted(path, writer)
    tamper(url, "DELETE FROM audit_log WHERE position > 6", REWRITE_HEAD.format(last=6))
    write(writer, chain, *(an_entry("forged") for _ in range(8)))
    connection = connect(url)
    assert verify(connection).is_intact
    connection.close()
    assert check(url, path) == [(10, "replaced")]


def test_records_since_the_last_note_are_no_finding(
    url: str, writer: Connection, path: Path
) -> None:
    chain = claim_chain(writer, "service")
    write(writer, chain, an_entry())
    noted(path, writer)
    write(writer, chain, an_entry(), an_entry())
    assert check(url, path) == []


def test_a_line_says_what_was_seen_when(path: Path) -> None:
    AnchorFile(path, clock=Clock()).note([HEAD])
    assert json.loads(path.read_text()) == {
        "at": "2026-11-22T12:00:00.000Z",
        "chain": "detector-1",
        "position": 7,
        "hash": "00" * 32,
    }
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_anchors(path) == [HEAD]


def test_only_heads_that_moved_are_noted(path: Path) -> None:
    file = AnchorFile(path, clock=Clock())
    other = Anchor("operator-1", 1, bytes(32))
    moved = Anchor("detector-1", 8, bytes(32))
    file.note([HEAD, Anchor("new", 0, bytes(32))])
    file.note([HEAD, other])
    file.note([moved, other])
    assert read_anchors(path) == [HEAD, other, moved]


def test_it_is_due_once_in_an_interval(path: Path) -> None:
    clock = Clock()
    file = AnchorFile(path, interval_s=60, clock=clock)
    assert file.is_due
    file.note([])
    assert not file.is_due
    clock.now += dt.timedelta(seconds=60)
    assert file.is_due


def test_what_stands_there_is_never_rewritten(path: Path) -> None:
    for position in range(1, 4):
        before = path.read_bytes() if path.exists() else b""
        AnchorFile(path).note([Anchor("detector-1", position, bytes(32))])
        assert path.read_bytes().startswith(before)
    assert [each.position for each in read_anchors(path)] == [1, 2, 3]


def test_a_second_sink_gets_the_same_line(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    AnchorFile(path, sink="stdout", clock=Clock()).note([HEAD])
    assert capfd.readouterr().out == f"audit anchor {path.read_text()}"


def test_a_file_that_cannot_be_written_stops_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir(parents=True)  # a folder stands in its place
    file = AnchorFile(path)
    file.note([HEAD])
    assert "cannot be written" in caplog.text
    path.rmdir()
    file.note([HEAD])
    assert read_anchors(path) == [HEAD]


def test_a_full_disk_leaves_no_half_line(path: Path) -> None:
    """A limit on the size of files stands for the disk; the process it is set in is another."""
    AnchorFile(path).note([HEAD])
    whole = path.read_bytes()
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from fraud.ledger.audit_anchors import AnchorFile\n"
        "from fraud.ledger.audit_check import Anchor\n"
        "AnchorFile(Path(sys.argv[1])).note([Anchor('detector-1', 8, bytes(32))])\n"
    )
    limit = len(whole) + 20

    def small_files() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        preexec_fn=small_files,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot be written" in done.stderr
    assert path.read_bytes() == whole


@pytest.mark.parametrize("line", ["x", "{}", '{"chain": "a", "position": 1, "hash": "zz"}', "7"])
def test_a_line_that_is_no_anchor_is_named(path: Path, line: str) -> None:
    AnchorFile(path).note([HEAD])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ContractError, match=r"Line 2 of .* is no audit anchor"):
        read_anchors(path)


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(NotFound, match="cannot be read"):
        read_anchors(path)
