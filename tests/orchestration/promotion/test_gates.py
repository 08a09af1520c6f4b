"""The file of gates: as it comes, with overrides, and wrong in many ways."""

from pathlib import Path

import pytest
import yaml

from fraud.domain.errors import SettingsError
from fraud.settings import Settings, load_settings
from fraud.types.registry import fraud_types
from orchestration.promotion.gates import GATES_FILE, load_gates


def settings_with(tmp_path: Path, content: object) -> Settings:
    path = tmp_path / "gates.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load_settings(run_dir=tmp_path, gates_file=path)


def as_it_comes() -> dict[str, dict[str, object]]:
    content: dict[str, dict[str, object]] = yaml.safe_load(GATES_FILE.read_text())
    return content


def test_the_file_as_it_comes_holds_for_every_fraud_type(tmp_path: Path) -> None:
    settings = load_settings(run_dir=tmp_path)
    for name, kind in fraud_types().items():
        gates = load_gates(settings, name)
        assert set(gates.offline.segments) <= {"amount", *kind.feature_names}
        assert list(gates.stages.canary.shares) == sorted(gates.stages.canary.shares)


def test_a_fraud_type_replaces_single_values(tmp_path: Path) -> None:
    content = as_it_comes()
    content["fraud_types"] = {"ach": {"offline": {"quality": {"margin": 0.2}}}}
    settings = settings_with(tmp_path, content)
    own, other = load_gates(settings, "ach"), load_gates(settings, "credit_card")
    assert (own.offline.quality.margin, other.offline.quality.margin) == (0.2, 0.05)
    assert own.offline.quality.metric == other.offline.quality.metric
    assert own.live == other.live


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("offline", "most_calibration_error"), -1, "offline.most_calibration_error"),
        (("offline", "most_calibration_eror"), 0.1, "offline.most_calibration_eror"),
        (("live", "least_decisions"), "many", "live.least_decisions"),
        (("stages", "canary", "shares"), [0.5, 1.0], "stages.canary.shares.1"),
        (("stages", "canary", "shares"), [], "stages.canary.shares"),
        (("offline", "quality", "metric"), "accuracy", "offline.quality.metric"),
        (("live",), None, "live for credit_card"),
        (("fraud_types",), ["ach"], "fraud_types must hold"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(
    tmp_path: Path, path: tuple[str, ...], value: object, message: str
) -> None:
    content = as_it_comes()
    part: dict[str, object] = content  # type: ignore[assignment]
    for name in path[:-1]:
        part = part[name]  # type: ignore[assignment]
    part[path[-1]] = value
    with pytest.raises(SettingsError, match=message):
        load_gates(settings_with(tmp_path, content), "credit_card")


@pytest.mark.parametrize("text", ["", "offline: [", "just words"])
def test_a_file_that_holds_no_gates_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"gates\.yaml"):
        load_gates(settings_with(tmp_path, text), "ach")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    settings = load_settings(run_dir=tmp_path, gates_file=tmp_path / "gone.yaml")
    with pytest.raises(SettingsError, match=r"gone\.yaml cannot be read"):
        load_gates(settings, "ach")
