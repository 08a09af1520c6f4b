"""New pages of the embedded server are written soon, by whoever started it."""

import os
import threading
from pathlib import Path

import pytest

from fraud.ledger import embedded, writeback
from fraud.ledger.pool import transaction
from fraud.ledger.writeback import Writeback
from tests.servers import temporary_run_dir

needs_call = pytest.mark.skipif(
    writeback._sync_file_range is None, reason="this system has no sync_file_range"
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    folder = tmp_path / "base" / "16384"
    folder.mkdir(parents=True)
    for name in ("1259", "2600"):
        (folder / name).write_bytes(b"page")
    os.utime(folder / "2600", (0, 0))  # not lately
    return folder


@needs_call
def test_files_are_written_once_for_every_time_they_changed(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    real = writeback._begin_to_write

    def begin_to_write(path: str) -> None:
        called.append(path)
        real(path)

    monkeypatch.setattr(writeback, "_begin_to_write", begin_to_write)
    files = Writeback(tmp_path)
    changed = str(database / "1259")
    assert files.begin() == [changed]
    assert files.begin() == []
    os.utime(changed)
    assert files.begin() == [changed]
    assert called == [changed, changed]


def test_files_that_come_are_found_and_those_that_go_are_not_missed(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writeback, "LOOK_S", 0.0)  # look every time
    files = Writeback(tmp_path)
    files.begin()
    (database / "1259").unlink()
    (database / "24576").write_bytes(b"page")
    assert files.begin() == [str(database / "24576")]
    (database / "24576").unlink()
    (database / "2600").unlink()
    database.rmdir()
    assert files.begin() == []


@needs_call
def test_the_thread_ends_with_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writeback, "PERIOD_S", 0.01)
    (tmp_path / "postmaster.pid").write_text("1\n")
    thread = writeback.start(tmp_path)
    assert thread is not None
    thread.join(0.1)
    assert thread.is_alive()
    assert writeback.start(tmp_path) is thread, "a server that was started again has one too"
    (tmp_path / "postmaster.pid").unlink()
    thread.join(5.0)
    assert not thread.is_alive()


@needs_call
def test_who_starts_a_server_keeps_up_with_its_tables() -> None:
    with temporary_run_dir() as run_dir:
        before = set(threading.enumerate())
        url = embedded.url(run_dir)
        assert [each.name for each in set(threading.enumerate()) - before] == ["writeback"]
        with transaction(url) as cursor:
            cursor.execute("CREATE TABLE grows AS SELECT generate_series(1, 500)")
            cursor.execute("SELECT pg_relation_filepath('grows')")
            [(path,)] = cursor.fetchall()
        data_dir = run_dir / "postgres"
        assert str(data_dir / path) in Writeback(data_dir).begin()
        embedded.url(run_dir)  # it runs already
        started = [each for each in threading.enumerate() if each.name == "writeback"]
        assert len(set(started) - before) == 1
