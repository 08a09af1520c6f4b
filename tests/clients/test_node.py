"""The Node client's own tests, its types and its README, against the running service."""

import re

import pytest

from tests.bentos.fraud_detector.detector import Detector
from tests.clients.gateway import Gateway
from tests.clients.toolchains import CLIENTS, install_node_packages, output_of, told

ROOT = CLIENTS / "node"


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    install_node_packages()


def test_the_client_passes_its_own_tests(detector: Detector, gateway: Gateway) -> None:
    output = output_of("npm", "test", folder=ROOT, **told(detector, gateway, "node"))
    assert re.search(r"# pass [1-9]", output), output


def test_the_example_of_the_readme_runs(detector: Detector, gateway: Gateway) -> None:
    readme = (ROOT / "README.md").read_text()
    [example] = re.findall(r"```javascript\n(.*?)```", readme, re.DOTALL)
    command = ("node", "--input-type=module", "--eval", example)
    lines = output_of(*command, folder=ROOT, **told(detector, gateway, "readme-node")).splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["README_NODE_1", "README_NODE_2"]
    assert lines[3:] == ["README_NODE_1 duplicate-conflict", "transaction_id", "stored"]


def test_the_lock_file_names_no_registry() -> None:
    lock = (ROOT / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity": "sha512-') == lock.count('"node_modules/')
