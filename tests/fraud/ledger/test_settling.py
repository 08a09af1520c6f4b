"""After a bulk load: rows are tidied and a checkpoint is written, by whoever may."""

import shutil
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from fraud.ledger.pool import ConnectionPool, transaction
from fraud.ledger.settling import settle


def number(url: str, query: str) -> int:
    with transaction(url) as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(query)
        [(found,)] = cursor.fetchall()
    return int(found)


def checkpoints(url: str) -> int:
    return number(url, "SELECT num_requested FROM pg_stat_checkpointer")


def fill(url: str) -> None:
    with transaction(url) as cursor:
        cursor.execute(
            "INSERT INTO entity_state SELECT 'k' || n, 'credit_card', '', n "
            "FROM generate_series(1, 500) AS n"
        )


def test_a_table_that_was_filled_is_tidied_and_files_of_log_lie_ready(
    new_ledger: Callable[[], str],
) -> None:
    url = new_ledger()
    fill(url)
    before = checkpoints(url)
    settle(url, "entity_state")
    assert checkpoints(url) > before
    ahead = "SELECT count(*) * 16 FROM pg_ls_waldir() WHERE name > {}"
    kept = ahead.format("pg_walfile_name(pg_current_wal_lsn())")
    assert number(url, kept) > 2900, "of 3 GB of log, nearly all lies ahead"
    pages = "SELECT {} FROM pg_class WHERE relname = 'entity_state'"
    assert number(url, pages.format("reltuples")) == 500
    assert number(url, pages.format("relallvisible")) == number(url, pages.format("relpages")) > 0


def test_a_disk_without_room_is_not_filled_with_files_of_log(
    new_ledger: Callable[[], str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = new_ledger()
    fill(url)
    before, files = checkpoints(url), number(url, "SELECT count(*) FROM pg_ls_waldir()")
    full = SimpleNamespace(free=-(2**60))  # less than any number of files needs
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    settle(url, "entity_state")
    assert "No room" in caplog.text
    assert number(url, "SELECT count(*) FROM pg_ls_waldir()") <= files + 1
    assert checkpoints(url) > before


def test_who_may_not_leaves_it_to_the_server(
    new_ledger: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    url = new_ledger()
    fill(url)
    pool = ConnectionPool(url, size=1)
    with pool.transaction() as cursor:
        cursor.execute("DROP ROLE IF EXISTS no_owner")
        cursor.execute("CREATE ROLE no_owner LOGIN")
    pool.close()
    before = checkpoints(url)
    with caplog.at_level("INFO", "fraud.ledger"):
        settle(url.replace("postgres@", "no_owner@", 1), "entity_state")
    assert checkpoints(url) == before
    assert "own schedule" in caplog.text
