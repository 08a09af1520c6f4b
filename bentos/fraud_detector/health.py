"""What `/health` says: can this process answer predictions, and what is wrong if not."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from bentos.fraud_detector.runtime import Runtime
from fraud.ledger.schema import head_revision
from fraud.types.registry import fraud_types

DISTRIBUTION = "fraud-platform"


def is_ready(runtime: Runtime) -> bool:
    """Whether predictions can be answered: ledger up, some model loaded, threads alive."""
    return runtime.is_alive and runtime.watch.status.is_up and runtime.champions.has_any()


def health(runtime: Runtime) -> tuple[int, dict[str, object]]:
    """Status code and body of `/health`; no I/O, so that nobody can load the ledger with it."""
    ledger = runtime.watch.status
    champions = runtime.champions.report()
    expected = _expected_revision()
    has_current_schema = ledger.revision == expected
    is_impaired = not has_current_schema or any(
        each["status"] == "stale" for each in champions.values()
    )
    database: dict[str, object] = {
        "status": "ok" if ledger.is_up else "unavailable",
        "latency_ms": ledger.took_ms,
        "checked_at": ledger.looked_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if not ledger.is_up:  # the log knows which host and why; strangers need not
        database["problem"] = "The ledger does not answer."
    ready = is_ready(runtime)
    status = ("degraded" if is_impaired else "ok") if ready else "unavailable"
    body: dict[str, object] = {
        "status": status,
        "database": database,
        "champions": champions,
        "schema": {
            "ledger": ledger.revision,
            "ledger_expected": expected,
            "features": {name: kind.schema_hash for name, kind in fraud_types().items()},
        },
        "version": software_version(),
    }
    return (200 if ready else 503), body


@cache
def software_version() -> str:
    """Version of the installed distribution; `unknown` where only the sources are there."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


@cache
def _expected_revision() -> str:
    return head_revision()
