"""Who challenges the champions: models in shadow, or canaries with their share."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bentos.fraud_detector.bundle_shelf import BundleShelf, Stamp
from bentos.scoring.challenge import Challenger
from fraud.domain.deployment import CANARY, SHADOW, Deployment
from fraud.domain.errors import FraudError
from fraud.domain.fraud_type import FraudType

log = logging.getLogger("fraud.detector")


@dataclass(frozen=True)
class _Loaded:
    """What became of a deployment: a challenger, or a problem."""

    deployment: Deployment
    stamp: Stamp
    challenger: Challenger | None
    problem: str = ""


class ChallengerShelf:
    """The challengers of this process, one per fraud type at most.

    `refresh` belongs to one thread; the other methods may be called from any. A challenger whose
    files do not verify, or no longer do, takes part in nothing.

    Args:
        fraud_types: declared fraud types by name.
        bundles: where their bundles lie.
    """

    def __init__(self, fraud_types: Mapping[str, FraudType], bundles: BundleShelf) -> None:
        self._fraud_types = fraud_types
        self._bundles = bundles
        self._loaded: dict[str, _Loaded] = {}

    def challenger(self, fraud_type: str) -> Challenger | None:
        """Who challenges the champion of a fraud type, if anybody does."""
        found = self._loaded.get(fraud_type)
        return None if found is None else found.challenger

    def refresh(self, deployments: Mapping[str, Deployment]) -> None:
        """Take over who challenges now, by fraud type."""
        self._loaded = {
            name: self._take(self._fraud_types[name], deployment)
            for name, deployment in deployments.items()
            if name in self._fraud_types
        }

    def report(self, fraud_type: str) -> dict[str, Any]:
        """Which model challenges, at which stage, and what is wrong; empty where none does."""
        found = self._loaded.get(fraud_type)
        if found is None:
            return {}
        deployment = found.deployment
        content: dict[str, Any] = {
            "model_version": deployment.model_version,
            "stage": deployment.stage,
            "status": "refused" if found.problem else "ok",
        }
        if deployment.stage == CANARY:
            content["share"] = deployment.share
        if found.problem:
            content["problem"] = found.problem
        return content

    def _take(self, kind: FraudType, deployment: Deployment) -> _Loaded:
        known, stamp = self._loaded.get(kind.name), self._bundles.stamp(deployment)
        if known is not None and known.stamp == stamp:
            if known.deployment == deployment:
                return known
            same_model = known.deployment.bundle_digest == deployment.bundle_digest
            if same_model and known.challenger is not None:
                staged = _staged(known.challenger, deployment)
                return _Loaded(deployment, stamp, staged)
        try:
            model = self._bundles.load(kind, deployment)
        except FraudError as error:
            log.error("Challenger %s is refused: %s", deployment.model_version, error)
            return _Loaded(deployment, stamp, None, self._bundles.shown(error))
        log.info("Model %s challenges %s as %s", model.version, kind.name, deployment.stage)
        return _Loaded(deployment, stamp, _staged(Challenger(model, SHADOW), deployment))


def _staged(challenger: Challenger, deployment: Deployment) -> Challenger:
    """The challenger at the stage of a deployment."""
    model = challenger.model.deployed_as(deployment.deployment_id)
    if deployment.stage == CANARY:
        return replace(challenger, model=model, stage=CANARY, share=deployment.share)
    return replace(challenger, model=model, stage=SHADOW, share=0.0)
