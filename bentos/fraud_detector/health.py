"""What `/health` says: can this process answer predictions, and what is wrong if not."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from bentos.fraud_detector.runtime import Runtime
from fraud.ledger.schema import head_revision
from fraud.types.registry import fraud_types

DISTRIBUTION = "fraud-platform"


def is_ready(runtime: Runtime) -> bool:
    """Whether predictions can be answered, be it by rules alone.

    Without the ledger that takes a type that declares so, and a journal that takes decisions.
    """
    if not runtime.is_alive:
        return False
    if _has_ledger(runtime):
        return runtime.champions.has_any() or _has_fallback()
    return _has_fallback() and not runtime.journal.problem


def health(runtime: Runtime) -> tuple[int, dict[str, object]]:
    """Status code and body of `/health`; no I/O, so that nobody can load the ledger with it."""
    ledger = runtime.watch.status
    champions = runtime.champions.report()
    expected = _expected_revision()
    has_current_schema = ledger.revision == expected
    is_impaired = (
        not has_current_schema
        or not _has_ledger(runtime)
        or runtime.journal.count > 0
        or not runtime.champions.has_any()
        or any(each["status"] in ("stale", "refused") for each in champions.values())
    )
    database: dict[str, object] = {
        "status": "ok" if _has_ledger(runtime) else "unavailable",
        "latency_ms": ledger.took_ms,
        "checked_at": ledger.looked_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if not _has_ledger(runtime):  # the log knows which host and why; strangers need not
        database["problem"] = "The ledger does not answer."
    ready = is_ready(runtime)
    status = ("degraded" if is_impaired else "ok") if ready else "unavailable"
    body: dict[str, object] = {
        "status": status,
        "database": database,
        "journal": _journal(runtime),
        "champions": champions,
        "schema": {
            "ledger": ledger.revision,
            "ledger_expected": expected,
            "features": {name: kind.schema_hash for name, kind in fraud_types().items()},
        },
        "version": software_version(),
    }
    return (200 if ready else 503), body


def _journal(runtime: Runtime) -> dict[str, object]:
    journal = runtime.journal
    content: dict[str, object] = {
        "decisions": journal.count,
        "bytes": journal.size_bytes,
        "breaker": runtime.breaker.state.name.lower(),
    }
    if journal.problem:
        content["problem"] = journal.problem
    return content


def _has_ledger(runtime: Runtime) -> bool:
    """What the watch saw last, unless a request has learned better since."""
    return runtime.watch.status.is_up and runtime.breaker.is_closed


@cache
def _has_fallback() -> bool:
    return any(kind.on_failure == "rules_only" for kind in fraud_types().values())


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
