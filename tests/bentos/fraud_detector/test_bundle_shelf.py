"""Where a worker finds bundles: in the folder it was told, else in its own Bento."""

from pathlib import Path

import pytest

from bentos.fraud_detector.bundle_shelf import BundleShelf
from bentos.scoring.bundle import MODEL_FILE, write_bundle
from bentos.scoring.signing import new_signing_keys
from fraud.domain.deployment import Deployment
from fraud.domain.errors import BundleError
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.scoring.builders import a_graph, a_manifest

PRIVATE, PUBLIC = new_signing_keys()


def a_deployment(folder: Path) -> Deployment:
    graph = a_graph(len(CREDIT_CARD.feature_names))
    manifest = a_manifest(graph)
    digest = write_bundle(folder / "credit_card" / "m-1", graph, manifest, PRIVATE)
    assert digest == manifest.digest
    return Deployment("credit_card", "m-1", "credit_card/m-1", digest, "me", "why", 1)


def test_a_bundle_that_came_with_the_bento_serves_where_there_is_no_other(tmp_path: Path) -> None:
    deployment = a_deployment(tmp_path / "packed")
    shelf = BundleShelf(tmp_path / "ours", PUBLIC, packed=tmp_path / "packed")
    assert shelf.load(CREDIT_CARD, deployment).digest == deployment.bundle_digest
    assert all(shelf.stamp(deployment))


def test_our_own_folder_comes_first_even_if_its_bundle_is_damaged(tmp_path: Path) -> None:
    deployment = a_deployment(tmp_path / "packed")
    a_deployment(tmp_path / "ours")
    (tmp_path / "ours" / deployment.bundle_path / MODEL_FILE).write_bytes(b"other")
    shelf = BundleShelf(tmp_path / "ours", PUBLIC, packed=tmp_path / "packed")
    with pytest.raises(BundleError, match="SHA-256"):
        shelf.load(CREDIT_CARD, deployment)
