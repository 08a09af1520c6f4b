"""Model bundles: the only form in which a model reaches serving.

A bundle is a folder of three files:

    model.onnx      the graph: float32 `features` [n, F] -> `probabilities` [n, 2]
    manifest.json   what it is, what it was trained on, and the digest of the graph
    manifest.sig    the 64 bytes of an Ed25519 signature over the bytes of manifest.json

`read_bundle` checks the signature before it parses anything, and hands the graph on as
the very bytes it checked. Nothing here is ever unpickled.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from bentos.scoring.manifest import Manifest
from bentos.scoring.signing import is_signed, sign
from fraud.domain.errors import BundleError, FraudError
from fraud.domain.fraud_type import FraudType

__all__ = [
    "MANIFEST_FILE",
    "MODEL_FILE",
    "SIGNATURE_FILE",
    "Bundle",
    "Manifest",
    "check_schema",
    "read_bundle",
    "read_signed_bundle",
    "write_bundle",
]

MODEL_FILE, MANIFEST_FILE, SIGNATURE_FILE = "model.onnx", "manifest.json", "manifest.sig"

MAX_BYTES = {MODEL_FILE: 256 * 2**20, MANIFEST_FILE: 2**20, SIGNATURE_FILE: 64}
"""Files above these sizes are refused before they are read."""

REBUILD = "Train and promote again with the code that serves."
RESTORE = "Copy the bundle again from where it was written, or promote another one."


@dataclass(frozen=True)
class Bundle:
    """A bundle whose signature and digests held.

    Attributes:
        manifest: what the model is.
        onnx_bytes: the graph that was checked.
        digest: SHA-256 of the manifest, hex; it names model and manifest at once.
    """

    manifest: Manifest
    onnx_bytes: bytes
    digest: str


def write_bundle(
    folder: Path, onnx_bytes: bytes, manifest: Manifest, private_key_pem: bytes
) -> str:
    """Writes a signed bundle; it appears whole or not at all, and never changes afterwards.

    Args:
        folder: where it shall stand; its parent is made where missing.
        onnx_bytes: the graph.
        manifest: its `onnx_sha256` must be the graph's.
        private_key_pem: an Ed25519 key.

    Returns:
        The bundle's digest.

    Raises:
        BundleError: the digest is wrong, the key unusable, a file too large, or `folder`
            holds another bundle.
    """
    if manifest.onnx_sha256 != hashlib.sha256(onnx_bytes).hexdigest():
        raise BundleError(
            f"The manifest of {manifest.model_version} names the digest of another graph.",
            remedy="Put the SHA-256 of the graph being written into onnx_sha256.",
        )
    content = manifest.to_bytes()
    files = {
        MODEL_FILE: onnx_bytes,
        MANIFEST_FILE: content,
        SIGNATURE_FILE: sign(private_key_pem, content),
    }
    for name, data in files.items():
        _check_size(name, len(data))
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder.parent) as temporary:
        complete = Path(temporary) / "bundle"
        complete.mkdir(mode=0o755)
        for name, data in files.items():
            _write_durably(complete / name, data)
        try:
            complete.rename(folder)
        except OSError as error:
            if not _holds(folder, files):
                raise BundleError(
                    f"{folder} already holds something else than {manifest.model_version}.",
                    remedy="Bundles never change: write the new one under its own version.",
                ) from error
    _settle(folder.parent)
    return hashlib.sha256(content).hexdigest()


def read_bundle(folder: Path, public_key_pem: bytes, fraud_type: FraudType) -> Bundle:
    """Reads a bundle and proves that it may be served by the running code.

    Args:
        folder: the bundle.
        public_key_pem: the Ed25519 key whose signature is trusted.
        fraud_type: the running declaration it must have been built for.

    Raises:
        BundleError: see `read_signed_bundle`; or it was built for other features.
    """
    bundle = read_signed_bundle(folder, public_key_pem)
    check_schema(bundle.manifest, fraud_type)
    return bundle


def read_signed_bundle(folder: Path, public_key_pem: bytes) -> Bundle:
    """Reads a bundle and proves that it is what was signed, whatever features it was built for.

    Raises:
        BundleError: a file is missing or too large, the signature or the graph's digest does
            not hold, or the manifest cannot be understood.
    """
    folder = Path(folder)
    content = _read(folder, MANIFEST_FILE)
    if not is_signed(public_key_pem, _read(folder, SIGNATURE_FILE), content):
        raise BundleError(
            f"The signature of {folder / MANIFEST_FILE} does not hold.",
            remedy=f"The manifest was altered, or signed with another key. {RESTORE}",
        )
    manifest = _parse(content, folder)
    onnx_bytes = _read(folder, MODEL_FILE)
    found = hashlib.sha256(onnx_bytes).hexdigest()
    if found != manifest.onnx_sha256:
        raise BundleError(
            f"{folder / MODEL_FILE} has SHA-256 {found[:12]}, its manifest says "
            f"{manifest.onnx_sha256[:12]}.",
            remedy=f"The graph was altered or damaged. {RESTORE}",
        )
    return Bundle(manifest, onnx_bytes, hashlib.sha256(content).hexdigest())


def check_schema(manifest: Manifest, fraud_type: FraudType) -> None:
    """Whether a model means the same features as the running declaration.

    Raises:
        BundleError: another fraud type, other feature names, or another schema hash.
    """
    version = manifest.model_version
    if manifest.fraud_type != fraud_type.name:
        raise BundleError(
            f"Model {version} was trained for {manifest.fraud_type!r}, not {fraud_type.name!r}.",
            remedy="Deploy each model under its own fraud type.",
        )
    if manifest.feature_names != fraud_type.feature_names:
        theirs, ours = set(manifest.feature_names), set(fraud_type.feature_names)
        what = (
            f"lacks {sorted(ours - theirs)} and has extra {sorted(theirs - ours)}"
            if theirs != ours
            else "has them in another order"
        )
        raise BundleError(
            f"Model {version} takes other features than {fraud_type.name} declares: it {what}.",
            remedy=REBUILD,
        )
    if manifest.schema_hash != fraud_type.schema_hash:
        raise BundleError(
            f"Model {version} has feature schema {manifest.schema_hash}, the running code "
            f"{fraud_type.schema_hash}: a feature of the same name means something else.",
            remedy=REBUILD,
        )


def _parse(content: bytes, folder: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(content)
    except (ValidationError, FraudError) as error:
        raise BundleError(
            f"{folder / MANIFEST_FILE} is not a manifest of format 1: {error}",
            remedy=REBUILD,
        ) from error


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES[name]:
        raise BundleError(
            f"{name} has {size:,} bytes; at most {MAX_BYTES[name]:,} are accepted.",
            remedy="Train a smaller model.",
        )


def _read(folder: Path, name: str) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            _check_size(name, os.fstat(file.fileno()).st_size)
            data = file.read(MAX_BYTES[name] + 1)
    except OSError as error:
        raise BundleError(
            f"{folder / name} cannot be read: {error.strerror}.", remedy=RESTORE
        ) from error
    _check_size(name, len(data))
    return data


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _settle(folder: Path) -> None:
    """Makes a rename inside `folder` survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _holds(folder: Path, files: dict[str, bytes]) -> bool:
    return all(
        (folder / name).is_file() and (folder / name).read_bytes() == data
        for name, data in files.items()
    )
