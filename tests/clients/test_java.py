"""The Java client's own tests and its README, against the running service."""

import re
from pathlib import Path

import pytest

from tests.bentos.fraud_detector.detector import Detector
from tests.clients.gateway import Gateway
from tests.clients.toolchains import CLIENTS, java_class_path, needed, output_of, told

ROOT = CLIENTS / "java"


@pytest.fixture(scope="module", autouse=True)
def _toolchain() -> None:
    needed("javac", "mvn")


def test_the_client_passes_its_own_tests(detector: Detector, gateway: Gateway) -> None:
    output = output_of(
        *("mvn", "--batch-mode", "--no-transfer-progress", "test"),
        folder=ROOT,
        **told(detector, gateway, "java"),
    )
    assert re.search(r"Tests run: [1-9]\d*, Failures: 0, Errors: 0, Skipped: 0", output), output


def test_the_example_of_the_readme_runs(
    detector: Detector, gateway: Gateway, tmp_path: Path
) -> None:
    [example] = re.findall(r"```java\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    source = tmp_path / "Example.java"
    source.write_text(example)
    command = ("java", "--class-path", java_class_path(), str(source))
    lines = output_of(*command, folder=ROOT, **told(detector, gateway, "readme-java")).splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["README_JAVA_1", "README_JAVA_2"]
    assert lines[3:] == ["README_JAVA_1 duplicate-conflict", "CONFLICT transaction_id", "stored"]
