"""What every test shares: a missing server may skip a test at home, never in CI."""

import os
from collections.abc import Generator

import pytest

pytest_plugins = ["tests.servers", "tests.kafka", "tests.mongodb", "tests.stripe_mock"]

# A test that cannot reach its server skips with this prefix: pytest.skip("needs server: MongoDB").
MISSING_SERVER = "needs server:"


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
