"""The operations against their OpenAPI description, with a token that may do everything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bentos.fraud_detector.detector import Detector
from tests.bentos.fraud_detector.operations.office import ALL_SCOPES

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
HOOKS = "tests.bentos.fraud_detector.contract_hooks"
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_schema_conformance", "negative_data_rejection"),
)
"""Not that valid data is accepted: no schema says what an expression or a known id is."""


@pytest.mark.timeout(300)
def test_operations_keep_to_their_description(detector: Detector) -> None:
    token = detector.headers(ALL_SCOPES)["authorization"]
    done = subprocess.run(
        [
            *(SCHEMATHESIS, "run", f"{detector.url}/openapi.json"),
            *("--header", f"Authorization: {token}", "--checks", ",".join(CHECKS)),
            *("--phases", "coverage,fuzzing", "--mode", "all", "--max-examples", "15"),
            *("--seed", "7", "--generation-deterministic", "--no-color", "--continue-on-failure"),
            *("--exclude-path", "/predict", "--exclude-path", "/batch-predict"),
        ],
        env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS},
        cwd=Path(__file__).resolve().parents[4],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,  # its output says more than its exit code
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
