"""The running service against its own OpenAPI description: schemathesis, with every check."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bentos.fraud_detector.detector import SCORING, Detector

EXAMPLES = 40
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
HOOKS = "tests.bentos.fraud_detector.contract_hooks"


@pytest.mark.timeout(300)
def test_the_service_keeps_to_its_description(detector: Detector, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    token = detector.headers([*SCORING, "metrics"])["authorization"]
    done = subprocess.run(
        [
            *(SCHEMATHESIS, "run", f"{detector.url}/openapi.json"),
            *(
                "--header",
                f"Authorization: {token}",
            ),
            *("--checks", "all", "--phases", "examples,coverage,fuzzing", "--mode", "all"),
            *("--max-examples", str(EXAMPLES), "--seed", "7", "--generation-deterministic"),
            *("--no-color", "--continue-on-failure"),
            *("--report", "json", "--report-json-path", str(report)),
        ],
        env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS},
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,  # its output says more than its exit code
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert json.loads(report.read_text())
