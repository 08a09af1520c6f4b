import dataclasses
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from bentos.scoring.bundle import (
    MANIFEST_FILE,
    MAX_BYTES,
    MODEL_FILE,
    SIGNATURE_FILE,
    read_bundle,
    write_bundle,
)
from bentos.scoring.signing import new_signing_keys, sign
from fraud.domain.errors import BundleError
from fraud.domain.features import Number
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.scoring.builders import a_graph, a_manifest

WIDTH = len(CREDIT_CARD.feature_names)
PRIVATE, PUBLIC = new_signing_keys()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx_bytes = a_graph(WIDTH)
    write_bundle(tmp_path / "bundle", onnx_bytes, a_manifest(onnx_bytes), PRIVATE)
    return tmp_path / "bundle"


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def test_what_was_written_is_read(folder: Path) -> None:
    onnx_bytes = a_graph(WIDTH)
    bundle = read_bundle(folder, PUBLIC, CREDIT_CARD)
    assert bundle.onnx_bytes == onnx_bytes
    assert bundle.manifest == a_manifest(onnx_bytes)
    assert {path.name for path in folder.iterdir()} == {MODEL_FILE, MANIFEST_FILE, SIGNATURE_FILE}
    assert bundle.digest == write_bundle(
        folder.parent / "again", onnx_bytes, a_manifest(onnx_bytes), PRIVATE
    )


def test_manifest_bytes_survive_a_round_trip(folder: Path) -> None:
    assert (
        read_bundle(folder, PUBLIC, CREDIT_CARD).manifest.to_bytes()
        == (folder / MANIFEST_FILE).read_bytes()
    )


@pytest.mark.parametrize("place", [0, 0.5, -1])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (MODEL_FILE, "model.onnx has SHA-256"),
        (MANIFEST_FILE, "The signature of .* does not hold"),
        (SIGNATURE_FILE, "The signature of .* does not hold"),
    ],
)
def test_one_changed_byte_is_refused(folder: Path, name: str, sentence: str, place: float) -> None:
    size = (folder / name).stat().st_size
    flip(folder / name, -1 if place == -1 else int(place * size))
    with pytest.raises(BundleError, match=sentence):
        read_bundle(folder, PUBLIC, CREDIT_CARD)


def test_every_byte_of_the_manifest_counts(folder: Path) -> None:
    good = (folder / MANIFEST_FILE).read_bytes()
    for place in range(0, len(good), 7):  # a step prime to the layout's indents
        flip(folder / MANIFEST_FILE, place)
        with pytest.raises(BundleError, match="does not hold"):
            read_bundle(folder, PUBLIC, CREDIT_CARD)
        (folder / MANIFEST_FILE).write_bytes(good)


def test_a_stranger_cannot_sign(folder: Path) -> None:
    stranger, _ = new_signing_keys()
    content = (folder / MANIFEST_FILE).read_bytes()
    (folder / SIGNATURE_FILE).write_bytes(sign(stranger, content))
    with pytest.raises(BundleError, match="does not hold"):
        read_bundle(folder, PUBLIC, CREDIT_CARD)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(folder: Path, size: int) -> None:
    (folder / SIGNATURE_FILE).write_bytes(b"\0" * size)
    with pytest.raises(BundleError, match=r"does not hold|at most 64"):
        read_bundle(folder, PUBLIC, CREDIT_CARD)


@pytest.mark.parametrize("name", [MODEL_FILE, MANIFEST_FILE, SIGNATURE_FILE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name):
        read_bundle(folder, PUBLIC, CREDIT_CARD)


def test_an_oversized_graph_is_not_even_read(folder: Path) -> None:
    os.truncate(folder / MODEL_FILE, MAX_BYTES[MODEL_FILE] + 1)  # sparse: takes no space
    with pytest.raises(BundleError, match="at most 268,435,456"):
        read_bundle(folder, PUBLIC, CREDIT_CARD)


def signed_with(tmp_path: Path, **changes: object) -> Path:
    onnx_bytes = a_graph(WIDTH)
    write_bundle(tmp_path / "b", onnx_bytes, a_manifest(onnx_bytes, **changes), PRIVATE)
    return tmp_path / "b"


def test_another_schema_hash_is_refused(tmp_path: Path) -> None:
    folder = signed_with(tmp_path, schema_hash="0123456789abcdef")
    with pytest.raises(BundleError, match="feature schema 0123456789abcdef"):
        read_bundle(folder, PUBLIC, CREDIT_CARD)


def test_a_feature_that_means_something_else_is_refused(folder: Path) -> None:
    changed = dataclasses.replace(
        CREDIT_CARD,
        features=tuple(
            Number(field="card_present", default=0.0) if feature.name == "card_present" else feature
            for feature in CREDIT_CARD.features
        ),
    )
    with pytest.raises(BundleError, match="means something else"):
        read_bundle(folder, PUBLIC, changed)


def test_other_feature_names_are_listed(tmp_path: Path) -> None:
    names = ("height", *CREDIT_CARD.feature_names[1:])
    folder = signed_with(tmp_path, feature_names=names)
    with pytest.raises(BundleError, match=r"lacks \['amount'\] and has extra \['height'\]"):
        read_bundle(folder, PUBLIC, CREDIT_CARD)


def test_another_order_of_features_is_refused(tmp_path: Path) -> None:
    folder = signed_with(tmp_path, feature_names=CREDIT_CARD.feature_names[::-1])
    with pytest.raises(BundleError, match="another order"):
        read_bundle(folder, PUBLIC, CREDIT_CARD)


def test_another_fraud_type_is_refused(tmp_path: Path) -> None:
    folder = signed_with(tmp_path, fraud_type="ach")
    with pytest.raises(BundleError, match="trained for 'ach'"):
        read_bundle(folder, PUBLIC, CREDIT_CARD)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b'{"format": 2}',
    ],
)
def test_a_signed_manifest_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST_FILE).write_bytes(content)
    (folder / SIGNATURE_FILE).write_bytes(sign(PRIVATE, content))
    with pytest.raises(BundleError, match="not a manifest of format 1"):
        read_bundle(folder, PUBLIC, CREDIT_CARD)


def test_thresholds_that_do_not_rise_are_refused(folder: Path) -> None:
    content = (folder / MANIFEST_FILE).read_bytes().replace(b'"block": 0.6', b'"block": 0.1')
    (folder / MANIFEST_FILE).write_bytes(content)
    (folder / SIGNATURE_FILE).write_bytes(sign(PRIVATE, content))
    with pytest.raises(BundleError, match="thresholds must rise"):
        read_bundle(folder, PUBLIC, CREDIT_CARD)


def test_a_manifest_of_another_graph_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="digest of another graph"):
        write_bundle(tmp_path / "b", b"other", a_manifest(a_graph(WIDTH)), PRIVATE)
    assert list(tmp_path.iterdir()) == []


def test_bundles_never_change(folder: Path) -> None:
    onnx_bytes = a_graph(WIDTH)
    write_bundle(folder, onnx_bytes, a_manifest(onnx_bytes), PRIVATE)  # the same: nothing to do
    with pytest.raises(BundleError, match="already holds something else"):
        write_bundle(folder, onnx_bytes, a_manifest(onnx_bytes, git_commit="f" * 40), PRIVATE)
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]
    assert read_bundle(folder, PUBLIC, CREDIT_CARD).manifest.git_commit == "0" * 40


def test_only_ed25519_keys_are_taken(folder: Path) -> None:
    other = generate_private_key(SECP256R1())
    private = other.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = other.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    onnx_bytes = a_graph(WIDTH)
    for key in (private, b"no key"):
        with pytest.raises(BundleError, match="Ed25519"):
            write_bundle(folder.parent / "c", onnx_bytes, a_manifest(onnx_bytes), key)
    for key in (public, b"no key"):
        with pytest.raises(BundleError, match="Ed25519"):
            read_bundle(folder, key, CREDIT_CARD)
