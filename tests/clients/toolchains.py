"""The other languages' own test runs, and what they are told of the service."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.bentos.fraud_detector.detector import LEAST, Detector
from tests.clients.conftest import client_token, expired_token
from tests.clients.gateway import Gateway
from tests.conftest import MISSING_SERVER
from tests.fraud.run.free_ports import closed_port
from tests.turns import taking_turns

CLIENTS = Path(__file__).resolve().parents[2] / "clients"


def needed(*commands: str) -> None:
    """Skip the test if a command is not installed."""
    for command in commands:
        if shutil.which(command) is None:
            pytest.skip(f"{MISSING_SERVER} {command}")


def install_node_packages() -> None:
    """Bring `node_modules` to what the lock file says, unless it is there."""
    needed("node", "npm")
    folder = CLIENTS / "node"
    installed, lock = folder / "node_modules" / ".package-lock.json", folder / "package-lock.json"
    with taking_turns("npm"):
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            output_of("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
            installed.touch()


@cache
def java_class_path() -> str:
    """The compiled Java client and everything its tests may use, for `java --class-path`."""
    needed("javac", "mvn")
    folder = CLIENTS / "java"
    found = folder / "target" / "class-path"
    goals = ("compile", "dependency:build-classpath", f"-Dmdep.outputFile={found}")
    with taking_turns("maven"):
        output_of("mvn", "--batch-mode", "--no-transfer-progress", *goals, folder=folder)
    return f"{folder / 'target' / 'classes'}{os.pathsep}{found.read_text()}"


def output_of(*command: str, folder: Path, **environment: str) -> str:
    """What a command prints; the test fails with it if the command does."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-6000:]}"
    return done.stdout


def told(detector: Detector, gateway: Gateway, language: str) -> dict[str, str]:
    """What a client's own tests need to know, as environment variables."""
    return {
        "FRAUD_URL": detector.url,
        "FRAUD_TOKEN": client_token(detector, language),
        "EXPIRED_TOKEN": expired_token(detector),
        "HASTY_TOKEN": client_token(detector, f"hasty-{language}"),
        "NARROW_TOKEN": detector.headers(["metrics"])["authorization"][7:],
        "GATEWAY_URL": gateway.url,
        "NOBODY_URL": f"http://127.0.0.1:{closed_port()}",
        "EVERY_TYPE": json.dumps(LEAST),
    }
