"""Alerting: every rule leads somewhere, is shown to fire and not to fire; faults have theirs."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.chaos import FAULTS

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "dashboards/prometheus"

FAULT_ALERTS = {
    "kills": {"WorkerRestarted", "ServiceDown"},
    "database": {"LedgerUnavailable", "JournalWaiting", "ReconciliationConflicts"},
    "disk": {"JournalFull"},
    "swaps": {"ChampionsSwappedOften"},
    "model": {"ChampionDamaged", "ChampionRefused", "DecisionsWithoutModel"},
    "clock": {"ClockWrong"},
    "duplicates": {"TransactionsRepeated"},
}
"""What tells of each fault of the chaos run."""


def rules() -> dict[str, dict[str, Any]]:
    content = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
    return {rule["alert"]: rule for group in content["groups"] for rule in group["rules"]}


def test_every_rule_has_a_severity_and_a_page_that_is_about_it() -> None:
    pages = set()
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in ("warning", "critical")
        page = ROOT / rule["annotations"]["runbook"]
        assert page.read_text().startswith(f"# {name}\n")
        pages.add(page)
    assert pages == set((ROOT / "docs/runbooks").glob("*.md"))


def test_every_rule_is_shown_to_fire_and_to_be_quiet() -> None:
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    fires = {case["alertname"] for case in cases if case["exp_alerts"]}
    quiet = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert fires == quiet == set(rules())


def test_every_fault_of_the_chaos_run_has_its_alert() -> None:
    assert set(FAULT_ALERTS) == set(FAULTS)
    assert set().union(*FAULT_ALERTS.values()) <= set(rules())


def test_every_metric_of_a_rule_is_one_that_is_told() -> None:
    told = "".join(
        (ROOT / path).read_text()
        for path in (
            "bentos/fraud_detector/metrics.py",
            "bentos/fraud_detector/ledger_metrics.py",
            "bentos/stream/stream_metrics.py",
        )
    )
    told += " fraud_live_recall_ratio"  # made of its parts there
    for name, rule in rules().items():
        for metric in re.findall(
            r"\b(?:fraud|prediction|model)_[a-z_]+\b(?=[\[{ )<>]|$)", rule["expr"]
        ):
            if metric not in ("fraud_type", "fraud_detector", "model_version"):
                assert metric.removesuffix("_bucket") in told, f"{name}: {metric}"


def test_prometheus_own_tools_agree() -> None:
    for tool in ("promtool", "amtool"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs server: {tool}")
    done = subprocess.run(
        [ROOT / "dashboards/check.sh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
