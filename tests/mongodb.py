"""A real MongoDB for tests: one server per run, an empty database per test.

Fixtures:
    mongod: the run's server; `mongod.url` is its address.
    new_mongod: starts another one and ends it with the test.
    mongodb: an empty database of its own on the run's server.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from fraud.domain.errors import SettingsError
from fraud.run.mongod import Mongod, program
from tests.conftest import MISSING_SERVER
from tests.fraud.run.free_ports import free_port

_numbers = itertools.count(1)


@contextmanager
def a_mongod() -> Iterator[Mongod]:
    """A server on a free port that is gone afterwards, whatever happened."""
    try:
        found = program()
    except SettingsError as error:
        pytest.skip(f"{MISSING_SERVER} MongoDB - {error}")
    server = Mongod(Path(tempfile.mkdtemp(prefix="fraud-mongodb-")), found, free_port())
    try:
        server.start()
        yield server
    finally:
        server.discard()


@pytest.fixture(scope="session")
def mongod() -> Iterator[Mongod]:
    with a_mongod() as server:
        yield server


@pytest.fixture
def new_mongod() -> Iterator[Callable[[], Mongod]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(a_mongod())


@pytest.fixture
def mongodb(mongod: Mongod) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongod.url, tz_aware=True) as client:
        yield client[f"test_{next(_numbers)}"]
