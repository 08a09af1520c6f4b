"""The programs of the platform: their command lines and their shared environment.

Addresses with passwords go into the environment, never onto a command line or into a file.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fraud.domain.errors import SettingsError
from fraud.ledger.engine import sqlalchemy_url
from fraud.run.places import Places
from fraud.settings import Settings

DEFINITIONS = "orchestration.definitions"
LOCATION = "fraud"

POSTGRES, MLFLOW, DETECTOR = "postgres", "mlflow", "detector"
DAGSTER_CODE, DAGSTER_WEB, DAGSTER_DAEMON = "dagster-code", "dagster-webserver", "dagster-daemon"


@dataclass(frozen=True)
class Databases:
    """Addresses of the platform's databases, all on one server."""

    fraud: str
    mlflow: str
    dagster: str


@dataclass(frozen=True)
class Program:
    """Something that supervisor keeps running.

    Attributes:
        name: its name, also of its log file.
        command: program and arguments.
        stop_wait_s: seconds it has to end before it is killed.
        is_last: stopped after everything else.
    """

    name: str
    command: tuple[str, ...]
    stop_wait_s: int = 8
    is_last: bool = False


def programs(settings: Settings, places: Places) -> list[Program]:
    """Everything that runs; PostgreSQL only where it is the embedded one.

    Raises:
        SettingsError: a tool is not installed.
    """
    code, workspace = str(places.socket(DAGSTER_CODE)), str(places.dagster_workspace)
    found = [
        Program(
            MLFLOW,
            (
                *(tool("mlflow"), "server", "--host", settings.host),
                *("--port", str(settings.mlflow_port), "--workers", "1"),
                *("--artifacts-destination", str(places.mlflow_artifacts)),
            ),
        ),
        Program(
            DAGSTER_CODE,
            (
                *(tool("dagster"), "code-server", "start", "--socket", code),
                *("-m", DEFINITIONS, "--location-name", LOCATION, "--log-level", "warning"),
            ),
        ),
        Program(
            DAGSTER_WEB,
            (
                *(tool("dagster-webserver"), "--host", settings.host),
                *("--port", str(settings.dagster_port), "--workspace", workspace),
            ),
        ),
        Program(DAGSTER_DAEMON, (tool("dagster-daemon"), "run", "--workspace", workspace)),
        Program(DETECTOR, (tool("fraud"), "serve")),
    ]
    if settings.database_url is None:
        found.insert(0, Program(POSTGRES, (tool("fraud"), "postgres"), 30, is_last=True))
    return found


def environment(settings: Settings, places: Places, databases: Databases) -> dict[str, str]:
    """The environment of every program, and of the pipeline's first run."""
    given = {
        **absolute_paths(settings),
        "FRAUD_MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "FRAUD_HOST": settings.host,
        "FRAUD_API_PORT": str(settings.api_port),
        "FRAUD_DAGSTER_PORT": str(settings.dagster_port),
        "FRAUD_MLFLOW_PORT": str(settings.mlflow_port),
        "DATABASE_URL": databases.fraud,
        "DAGSTER_HOME": str(places.dagster_home),
        "DAGSTER_POSTGRES_URL": sqlalchemy_url(databases.dagster),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "MLFLOW_BACKEND_STORE_URI": sqlalchemy_url(databases.mlflow),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "DO_NOT_TRACK": "true",
        **bentoml_environment(settings, places),
    }
    return {**os.environ, **given}


def absolute_paths(settings: Settings) -> dict[str, str]:
    """Settings that name files, for programs that work in another folder than we do."""
    paths = {
        "FRAUD_RUN_DIR": settings.run_dir,
        "FRAUD_LAKE_URL": settings.lake_url,
        "FRAUD_TYPES_PATH": settings.types_path,
        "FRAUD_BUNDLE_DIR": settings.bundle_dir,
        "FRAUD_BENTO_DIR": settings.bento_dir,
        "FRAUD_SIGNING_KEY_FILE": settings.signing_key_file,
        "FRAUD_VERIFY_KEY_FILE": settings.verify_key_file,
        "FRAUD_JWT_KEYS_DIR": settings.jwt_keys_dir,
        "FRAUD_AUDIT_ANCHOR_FILE": settings.audit_anchor_file,
        "FRAUD_JWKS": settings.jwks or None,
    }
    return {name: str(path) for name, path in paths.items() if path is not None}


def bentoml_environment(settings: Settings, places: Places) -> dict[str, str]:
    """What BentoML is told: our store, no telemetry, no tracing, so many workers.

    The machine code of compiled loops stands beside the store: Bentos hold sources only.

    uvicorn believes X-Forwarded-For of whoever calls from this machine, unless told otherwise:
    any of them could choose the address that is limited and audited.
    """
    service = {
        "workers": settings.workers,
        "tracing": {"excluded_urls": "."},  # spares each request spans that go nowhere
    }
    overrides = {"services": {"fraud_detector": service}}
    return {
        "BENTOML_HOME": str(places.bentoml_home),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_CONFIG_OVERRIDES": json.dumps(overrides),
        "OTEL_SDK_DISABLED": "true",
        "NUMBA_CACHE_DIR": str(places.machine_code),
        "FORWARDED_ALLOW_IPS": settings.trusted_proxies,
    }


def tool(name: str) -> str:
    """The path of a program that is installed beside this interpreter.

    Raises:
        SettingsError: it is not.
    """
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise SettingsError(
            f"The program {name!r} is not installed in this environment.",
            remedy="Run: make setup",
        )
    return str(path)


def write_dagster_files(places: Places) -> None:
    """Write the instance's configuration and its workspace: one code server for all."""
    places.dagster_config.write_text(_DAGSTER_YAML)
    server = {"socket": str(places.socket(DAGSTER_CODE)), "location_name": LOCATION}
    places.dagster_workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))


def addresses(settings: Settings) -> Mapping[str, str]:
    """Where people find what runs."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return {
        "api": f"http://{host}:{settings.api_port}",
        "dagster": f"http://{host}:{settings.dagster_port}",
        "mlflow": f"http://{host}:{settings.mlflow_port}",
    }


_DAGSTER_YAML = """\
# Written at every start; see fraud/run/programs.py.
storage:
  postgres:
    postgres_url:
      env: DAGSTER_POSTGRES_URL
telemetry:
  enabled: false
nux:
  enabled: false
"""
