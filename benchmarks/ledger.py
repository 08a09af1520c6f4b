"""A ledger for a benchmark, which nothing of yours is in."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg2 import sql

from fraud.ledger import embedded
from fraud.ledger.engine import connect, ensure_database
from fraud.ledger.schema import migrate
from fraud.settings import load_settings


@contextmanager
def temporary_ledger() -> Iterator[str]:
    """An empty ledger: on your server if DATABASE_URL names one, else on an embedded one."""
    given = load_settings().database_url
    folder = Path(tempfile.mkdtemp(prefix="fraud-"))
    name = f"fraud_bench_{os.getpid()}"
    server = given or embedded.url(folder)
    try:
        url = ensure_database(server, name)
        migrate(url)
        yield url
    finally:
        if given is None:
            embedded.stop(folder, at_once=True)
        else:
            _drop(server, name)
        shutil.rmtree(folder, ignore_errors=True)


def _drop(server: str, name: str) -> None:
    connection = connect(server, autocommit=True)
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
    connection.close()
