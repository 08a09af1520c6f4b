"""Where `fraud run` keeps its files, all below the run folder."""

import hashlib
import os
import tempfile
from pathlib import Path

LONGEST_SOCKET_PATH = 103
"""Bytes; the kernel's 107, less what supervisor and gRPC add."""


class Places:
    """Files and folders of one run folder.

    Args:
        run_dir: the run folder.
        bento_dir: the store of Bentos; a folder of the run folder unless given.
    """

    def __init__(self, run_dir: Path, bento_dir: Path | None = None) -> None:
        self.run_dir = run_dir
        self.logs = run_dir / "logs"
        self.dagster_home = run_dir / "dagster"
        self.dagster_config = self.dagster_home / "dagster.yaml"
        self.dagster_workspace = self.dagster_home / "workspace.yaml"
        self.dagster_tables = self.dagster_home / "tables-of.txt"
        self.mlflow_artifacts = run_dir / "mlartifacts"
        self.bentoml_home = bento_dir or run_dir / "bentoml"
        self.machine_code = self.bentoml_home / "compiled"
        self.supervisor_config = run_dir / "supervisord.conf"
        self.lock = run_dir / "run.lock"

    def make(self) -> None:
        """Make the folders that are missing."""
        for folder in (self.logs, self.dagster_home, self.mlflow_artifacts, self.bentoml_home):
            folder.mkdir(parents=True, exist_ok=True)

    def log(self, program: str) -> Path:
        """The log file of a program."""
        return self.logs / f"{program}.log"

    def socket(self, name: str) -> Path:
        """A path for a Unix socket: in the run folder, or in a short one where that is deep."""
        path = self.run_dir / f"{name}.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        digest = hashlib.sha256(os.fsencode(self.run_dir)).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"fraud-run-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / f"{name}.sock"
