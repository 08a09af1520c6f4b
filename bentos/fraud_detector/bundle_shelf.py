"""Bundles become models here: verified, warmed up, and watched on disk."""

from pathlib import Path

import numpy as np

from bentos.scoring.bundle import MANIFEST_FILE, MODEL_FILE, SIGNATURE_FILE, read_bundle
from bentos.scoring.model import ScoringModel
from fraud.domain.deployment import Deployment
from fraud.domain.errors import BundleError, FraudError
from fraud.domain.fraud_type import FraudType

WARM_UP_ROWS = (1, 2, 128)

Stamp = tuple[tuple[int, int, int] | None, ...]


PACKED = Path(__file__).resolve().parents[2] / "bundles"
"""Where a model's Bento holds its bundle; there is no such folder in a clone."""


class BundleShelf:
    """Where the bundles of deployments lie: in a folder of ours, else in the Bento itself.

    Args:
        bundle_dir: folder that deployments name bundles in, by a relative path.
        verify_key_pem: the key whose signature on bundles is trusted.
        packed: folder of the bundles that came with the sources.
    """

    def __init__(self, bundle_dir: Path, verify_key_pem: bytes, packed: Path = PACKED) -> None:
        self._bundle_dir = bundle_dir
        self._packed = packed
        self._verify_key_pem = verify_key_pem

    def load(self, kind: FraudType, deployment: Deployment) -> ScoringModel:
        """The model of a deployment, warmed up.

        Raises:
            BundleError: it is missing, damaged, or another one than was promoted.
        """
        folder = self._folder(deployment)
        bundle = read_bundle(folder, self._verify_key_pem, kind)
        if bundle.digest != deployment.bundle_digest:
            raise BundleError(
                f"{folder} holds another bundle than the one that was promoted.",
                remedy="Restore the promoted one, or promote this one.",
            )
        model = ScoringModel(bundle, deployment.deployment_id)
        _warm_up(model)
        return model

    def check(self, kind: FraudType, deployment: Deployment) -> None:
        """Whether the files are still what was loaded.

        Raises:
            BundleError: they are not.
        """
        folder = self._folder(deployment)
        bundle = read_bundle(folder, self._verify_key_pem, kind)
        if bundle.digest != deployment.bundle_digest:
            raise BundleError(f"{folder} holds another bundle than the one that serves.")

    def stamp(self, deployment: Deployment) -> Stamp:
        """Changes when a file of the bundle is replaced or written to; None for a missing one."""
        folder = self._folder(deployment)
        marks: list[tuple[int, int, int] | None] = []
        for name in (MODEL_FILE, MANIFEST_FILE, SIGNATURE_FILE):
            try:
                found = (folder / name).stat()
            except OSError:
                marks.append(None)
            else:
                marks.append((found.st_mtime_ns, found.st_size, found.st_ino))
        return tuple(marks)

    def _folder(self, deployment: Deployment) -> Path:
        packed = self._packed / deployment.bundle_path
        ours = self._bundle_dir / deployment.bundle_path
        return packed if packed.is_dir() and not ours.is_dir() else ours

    def shown(self, error: FraudError) -> str:
        """The error without the paths of this machine, which strangers can read in /health."""
        return str(error).replace(f"{self._bundle_dir}/", "")


def _warm_up(model: ScoringModel) -> None:
    """Score what nobody asked, so that the first caller does not wait for allocations."""
    baseline = np.array(model.manifest.baseline)
    try:
        for rows in WARM_UP_ROWS:
            model.probabilities(np.tile(baseline, (rows, 1)))
        model.contributions(baseline)
    except FraudError:
        raise
    except Exception as error:  # the runtime's exceptions share no public base
        raise BundleError(
            f"The graph of {model.version} loads but does not run: {error}",
            remedy="Export it again for the runtime that serves.",
        ) from error
