"""What every test shares: a missing server may skip a test at home, never in CI."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

pytest_plugins = [
    *("tests.keeper", "tests.servers", "tests.kafka", "tests.mongodb", "tests.stripe_mock"),
]

# A test that cannot reach its server skips with this prefix: pytest.skip("needs server: MongoDB").
MISSING_SERVER = "needs server:"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share the files out, those that may take longest begin: none comes last."""
    if not hasattr(config, "workerinput"):
        return
    longest_s: dict[Path, float] = {}
    for item in items:
        mark = item.get_closest_marker("timeout")
        limit_s = float(mark.args[0]) if mark else 0.0
        longest_s[item.path] = max(limit_s, longest_s.get(item.path, 0.0))
    items.sort(key=lambda item: -longest_s[item.path])


def is_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def fail_if_server_is_missing(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip for want of a server into a failure, when this is a CI run."""
    if not (is_ci() and report.skipped and isinstance(report.longrepr, tuple)):
        return
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if reason.startswith(MISSING_SERVER):
        report.outcome = "failed"
        report.longrepr = f"{reason} - CI must have every server; install it in .ci/run"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fail_if_server_is_missing(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    fail_if_server_is_missing(report)
    return report
