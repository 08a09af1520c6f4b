"""Load on one server for a few seconds, and the figures that are kept of it.

Closed-loop load comes from wrk where it is installed, since it takes least from the machine
that the servers share with it; open-loop load, and closed-loop load elsewhere, from
`benchmarks.serving_client`. Either is a process of its own.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.serving_plan import Figures, Plan
from fraud.domain.errors import FraudError

OWN_CLIENT = "asyncio client"
GRACE_S = 30.0
"""What a run may take beyond its seconds before it is given up."""

# Bodies come from a file, one a line; each is sent once. `done` prints the whole histogram.
_WRK_SCRIPT = """\
local file = assert(io.open(os.getenv("BODIES"), "r"))
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
if os.getenv("TOKEN") ~= "" then
  wrk.headers["authorization"] = "Bearer " .. os.getenv("TOKEN")
end
local last
request = function()
  local body = file:read("*l")
  if body == nil then
    wrk.thread:stop()
    return last
  end
  last = wrk.format(nil, nil, nil, body)
  return last
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write("FIGURES ", summary.duration, " ", summary.requests, " ",
    errors.status + errors.connect + errors.read + errors.write + errors.timeout)
  for place = 1, #latency do
    local value, count = latency(place)
    io.write(" ", value, ":", count)
  end
  io.write("\\n")
end
"""


def closed_loop_tool() -> str:
    """What loads closed-loop here."""
    return "wrk" if shutil.which("wrk") else OWN_CLIENT


def load(plan: Plan, folder: Path) -> Figures:
    """Carry out a plan in a process of its own.

    Args:
        plan: what to send.
        folder: where a script may be kept.

    Raises:
        FraudError: the load tool broke.
    """
    if plan.rate == 0 and closed_loop_tool() == "wrk":
        return _wrk(plan, folder)
    command = [sys.executable, "-m", "benchmarks.serving_client"]
    found = json.loads(_run(command, plan, json.dumps(asdict(plan)), dict(os.environ)))
    return Figures(**found)


def figures(runs: Sequence[Figures]) -> dict[str, float | int]:
    """Runs of one kind as one: median throughput, percentiles of all latencies.

    Returns:
        `req_s, p50_ms, p99_ms, requests, errors`; and `ran_out`, the number of runs that could
        have done more, if there are any: then `req_s` says what was sent, not what was possible.
    """
    ran_out = sum(run.ran_out for run in runs)
    latencies = np.concatenate([np.array(run.latencies_us, float) for run in runs])
    if not len(latencies):
        latencies = np.array([np.nan])
    return {
        "req_s": round(float(np.median([run.answered / run.seconds for run in runs])), 1),
        "p50_ms": round(float(np.percentile(latencies, 50)) / 1000.0, 2),
        "p99_ms": round(float(np.percentile(latencies, 99)) / 1000.0, 2),
        "requests": sum(run.answered for run in runs),
        "errors": sum(run.errors for run in runs),
        **({"ran_out": ran_out} if ran_out else {}),
    }


def write_bodies(path: Path, bodies: Iterable[str]) -> str:
    """Keep request bodies for a load tool; returns the path as text."""
    path.write_text("".join(f"{body}\n" for body in bodies), encoding="utf-8")
    return str(path)


def _wrk(plan: Plan, folder: Path) -> Figures:
    script = folder / "load.lua"
    script.write_text(_WRK_SCRIPT, encoding="utf-8")
    command = ["wrk", "-t1", f"-c{plan.connections}", f"-d{max(1, round(plan.seconds))}s"]
    command += ["--timeout", "10s", "-s", str(script), f"http://127.0.0.1:{plan.port}{plan.path}"]
    environment = {**os.environ, "BODIES": plan.bodies, "TOKEN": plan.token}
    lines = _run(command, plan, "", environment).splitlines()
    fields = next(line for line in lines if line.startswith("FIGURES ")).split()
    duration_us, sent, errors = (int(value) for value in fields[1:4])
    latencies: list[int] = []
    for each in fields[4:]:
        value, _, count = each.partition(":")
        latencies += [int(float(value))] * int(float(count))
    return Figures(duration_us / 1e6, max(0, sent - errors), errors, latencies)


def _run(command: list[str], plan: Plan, given: str, environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command,
            input=given,
            env=environment,
            capture_output=True,
            text=True,
            timeout=plan.seconds + GRACE_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip() or error.stdout.strip() or "nothing").splitlines()[-1]
        raise FraudError(f"The load tool {command[0]} ended with: {said}") from None
    except subprocess.TimeoutExpired:
        raise FraudError(f"The load on {plan.path} did not end in time.") from None
    return done.stdout
