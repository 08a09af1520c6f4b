"""A Bento per promoted model: what serves, with the model's signed bundle inside.

It serves on a machine that has the ledger's address and the public key, and nothing else of ours.
Its labels name the model, so that Bentos, MLflow's registry and the ledger can be compared.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fraud.domain.deployment import Deployment
from fraud.domain.errors import BundleError, FraudError
from fraud.run.bento import ALSO, BENTOFILE, ROOMS, source_root
from fraud.run.places import Places
from fraud.run.programs import bentoml_environment, tool
from fraud.settings import Settings

BUNDLES = "bundles"
"""Where a Bento's bundles lie below its sources; the service looks there as well."""


def bento_tag(model: Deployment) -> str:
    """The Bento of a model: BentoML's names are in small letters."""
    return f"fraud_model_{model.fraud_type}:{model.model_version.lower()}"


def build_model_bento(settings: Settings, model: Deployment) -> str:
    """The tag of a model's Bento; built if there is none.

    Args:
        settings: the configuration.
        model: whose bundle is in `settings.bundle_dir`.

    Raises:
        BundleError: the bundle is not there.
        SettingsError: the sources or BentoML are not here.
        FraudError: the build failed.
    """
    tag = bento_tag(model)
    if bento_labels(settings, model).get("bundle_digest") == model.bundle_digest:
        return tag
    places = Places(settings.run_dir)
    places.make()
    bundle = settings.bundle_dir / model.bundle_path
    if not bundle.is_dir():
        raise BundleError(
            f"There is no bundle {bundle} to pack.", remedy="Restore it, or run the pipeline."
        )
    with tempfile.TemporaryDirectory(prefix="fraud-bento-") as folder:
        context = Path(folder)
        _lay_out(context, bundle, model)
        command = [
            *(tool("bentoml"), "build", "-f", Path(BENTOFILE).name),
            *("--version", tag.partition(":")[2], "--output", "tag", "."),
        ]
        environment = {**os.environ, **bentoml_environment(settings, places)}
        done = subprocess.run(
            command, cwd=context, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        log = places.log("model-bento-build")
        log.write_text(done.stdout + done.stderr)
        raise FraudError(f"The Bento {tag} could not be built.", remedy=f"See {log}.")
    return tag


def bento_labels(settings: Settings, model: Deployment) -> Mapping[str, str]:
    """The labels of a model's Bento; empty where there is none."""
    name, _, version = bento_tag(model).partition(":")
    file = Places(settings.run_dir).bentoml_home / "bentos" / name / version / "bento.yaml"
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return dict(content.get("labels") or {})


def _lay_out(context: Path, bundle: Path, model: Deployment) -> None:
    """The sources that serve, the bundle, and a bentofile that names both."""
    root = source_root()
    left_out = shutil.ignore_patterns("__pycache__")
    for room in ROOMS:
        shutil.copytree(root / room, context / room, ignore=left_out)
    for file in ALSO:
        (context / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / file, context / file)
    shutil.copytree(bundle, context / BUNDLES / model.bundle_path)
    content = yaml.safe_load((root / BENTOFILE).read_text(encoding="utf-8"))
    content["name"] = bento_tag(model).partition(":")[0]
    content["include"].append(f"/{BUNDLES}/")
    content["labels"] = {
        "fraud_type": model.fraud_type,
        "model_version": model.model_version,
        "bundle_digest": model.bundle_digest,
        "mlflow_run_id": model.mlflow_run_id or "",
    }
    (context / Path(BENTOFILE).name).write_text(yaml.safe_dump(content), encoding="utf-8")
