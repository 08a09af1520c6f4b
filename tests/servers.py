"""Real servers for tests: one embedded PostgreSQL per run, one fresh ledger per test module.

Fixtures:
    postgres_url: the server; its own database is empty.
    new_ledger: makes another migrated, empty ledger and returns its address.
    ledger_url: a migrated, empty ledger, shared by the tests of a module.
    ledger_pool: connections to it.
    bento_dir: a store with a Bento of these sources and its machine code, built once per run.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg2 import sql

from fraud.ledger import embedded
from fraud.ledger.engine import connect, ensure_database, sibling
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.schema import migrate
from fraud.run.bento import build
from fraud.settings import load_settings
from tests.turns import taking_turns

_numbers = itertools.count(1)


@contextmanager
def temporary_run_dir() -> Iterator[Path]:
    """A run folder with a short path; its embedded PostgreSQL, if any, is stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="fraud-"))
    try:
        yield folder
    finally:
        embedded.stop(folder, at_once=True)  # the folder goes as well
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with temporary_run_dir() as folder:
        yield embedded.url(folder)


@pytest.fixture(scope="session")
def _ledger_template(postgres_url: str) -> str:
    migrate(ensure_database(postgres_url, "ledger_template"))
    return "ledger_template"


@pytest.fixture(scope="session")
def new_ledger(postgres_url: str, _ledger_template: str) -> Callable[[], str]:
    def make() -> str:
        name = f"ledger_{next(_numbers)}"
        connection = connect(postgres_url, autocommit=True)
        with connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(_ledger_template)
                )
            )
        connection.close()
        return sibling(postgres_url, name)

    return make


@pytest.fixture(scope="module")
def ledger_url(new_ledger: Callable[[], str]) -> str:
    return new_ledger()


@pytest.fixture(scope="module")
def ledger_pool(ledger_url: str) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(ledger_url, size=8)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def bento_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whoever comes first builds; compiling takes longer than all else at a first start."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all processes
    with taking_turns("bento"):
        build(load_settings(run_dir=folder / "building", bento_dir=folder / "bentos"))
    return folder / "bentos"
