"""What the figures of the serving benchmark are held against."""

from collections.abc import Mapping
from typing import Any

MOST_WORKER_MB = 512


def ratios(report: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, float]:
    """Ours against the others at 64 connections."""
    mine, echo, tutorial = (report[name]["c64"] for name in ("ours", "echo", "tutorial"))
    return {
        "ours_to_echo_c64": round(mine["req_s"] / max(echo["req_s"], 1e-9), 3),
        "ours_to_tutorial_c64": round(mine["req_s"] / max(tutorial["req_s"], 1e-9), 3),
        "p99_ours_to_tutorial_c64": round(mine["p99_ms"] / max(tutorial["p99_ms"], 1e-9), 3),
    }


def compared(
    before: Mapping[str, Mapping[str, Mapping[str, float]]],
    after: Mapping[str, Mapping[str, float]],
    rows: int,
) -> dict[str, float]:
    """Ours at 64 connections with so many rows in the ledger, as a share of before.

    Each is held against echo's, which has no ledger: so what else the machine does counts less.
    """
    shares = [
        (run["ours"]["req_s"] / run["echo"]["req_s"], run["ours"]["p99_ms"] / run["echo"]["p99_ms"])
        for run in ({name: before[name]["c64"] for name in after}, after)
    ]
    return {
        "rows": rows,
        "req_s": after["ours"]["req_s"],
        "req_s_share": round(shares[1][0] / shares[0][0], 3),
        "p99_share": round(shares[1][1] / shares[0][1], 3),
    }


def verdicts(report: Mapping[str, Any]) -> dict[str, bool]:
    """Which goals are met."""
    mine = report["ours"]
    grown = report.get("growth")
    flat = {} if grown is None else {"within 15 % when grown": grown["req_s_share"] >= 0.85}
    return {
        **flat,
        "ours >= 0.6 x echo at c=64": report["ours_to_echo_c64"] >= 0.6,
        "ours >= 3 x tutorial at c=64": report["ours_to_tutorial_c64"] >= 3.0,
        "p99 <= 0.5 x tutorial's at c=64": report["p99_ours_to_tutorial_c64"] <= 0.5,
        "c=1 p50 <= 4 ms": mine["c1"]["p50_ms"] <= 4.0,
        "c=1 p99 <= 12 ms": mine["c1"]["p99_ms"] <= 12.0,
        "open-loop p99 <= 25 ms": mine["open"]["p99_ms"] <= 25.0,
        "batches of 500 >= 4,000 tx/s": report["batch_tx_s"] >= 4000,
        f"largest worker <= {MOST_WORKER_MB} MB": report["rss_largest_worker_mb"] <= MOST_WORKER_MB,
        "no errors, nothing degraded": report["errors"] + report["degraded_decisions"] == 0,
    }
