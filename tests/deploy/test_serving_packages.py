"""What serves imports nothing but what `requirements/serve.lock` installs."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

BLOCKED_IMPORT = """
import sys, warnings
warnings.simplefilter("ignore")

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import {module}
"""


def locked(lock: str) -> set[str]:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text()
    names = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def absent_modules() -> set[str]:
    """Top-level modules that only packages outside the serving lock bring."""
    serving = locked("serve") | {"fraud-platform"}
    return {
        module
        for module, packages in packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", each).lower() for each in packages} & serving
        and module.isidentifier()
    }


def test_pandas_is_absent_where_it_serves() -> None:
    assert {"pandas", "pyarrow", "dagster", "mlflow", "sklearn"} <= absent_modules()


@pytest.mark.parametrize("module", ["bentos.fraud_detector.service", "bentos.stream.relay"])
def test_it_can_be_imported_where_only_the_serving_lock_is(module: str) -> None:
    """Nor does it load Stripe's library, which serves nobody while that connector is off."""
    code = BLOCKED_IMPORT.format(absent=absent_modules() | {"stripe"}, module=module)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
