"""The models in the clients are those that the running service describes."""

from pathlib import Path

import pytest

import generate
from tests.bentos.fraud_detector.detector import Detector
from tests.clients.toolchains import CLIENTS, install_node_packages

PLACES = {"python": generate.PYTHON, "node": generate.NODE, "java": generate.JAVA}
REMEDY = "run `make clients`"


def files_below(folder: Path) -> dict[str, str]:
    if folder.is_file():
        return {folder.name: folder.read_text()}
    return {path.name: path.read_text() for path in folder.glob("*")}


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    install_node_packages()


def test_the_models_are_those_of_the_live_description(detector: Detector, tmp_path: Path) -> None:
    described = detector.client.get("/openapi.json").json()
    generate.generate(described, tmp_path, list(PLACES))
    for place in PLACES.values():
        assert files_below(CLIENTS / place) == files_below(tmp_path / place), REMEDY


def test_a_change_of_the_description_reaches_every_generator(detector: Detector) -> None:
    described = detector.client.get("/openapi.json").json()
    before = generate.contract(described)
    described["components"]["schemas"]["Decision"]["properties"]["mood"] = {"type": "string"}
    after = generate.contract(described)["components"]["schemas"]
    assert after["Decision"]["properties"].pop("mood") == {"type": "string"}
    assert after == before["components"]["schemas"]
