"""Which model serves: the newest deployment whose bundle proves itself.

A bundle that does not (one flipped byte is enough) is refused. What served before goes on,
or, after a restart, the newest older deployment that verifies; `report` says so either way.
"""

import gc
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bentos.fraud_detector.bundle_shelf import BundleShelf, Stamp
from bentos.fraud_detector.challengers import ChallengerShelf
from bentos.scoring.challenge import Challenger
from bentos.scoring.model import ScoringModel
from fraud.domain.deployment import Deployment
from fraud.domain.errors import FraudError, ModelUnavailable
from fraud.domain.event import iso_text
from fraud.domain.fraud_type import FraudType

RECHECK_S = 60.0
"""How often the files of a served bundle are hashed again although they look unchanged."""

EMPTY: Mapping[str, Deployment] = MappingProxyType({})

log = logging.getLogger("fraud.detector")


@dataclass(frozen=True)
class _Served:
    deployment: Deployment
    model: ScoringModel
    stamp: Stamp
    checked_s: float
    problem: str = ""


class ChampionShelf:
    """The models that serve, one per fraud type; implements `bentos.scoring.challenge.Champions`.

    `refresh` belongs to one thread; `model` and `report` may be called from any.

    Args:
        fraud_types: declared fraud types by name.
        verify_key_pem: the key whose signature on bundles is trusted.
        bundle_dir: folder of bundles that deployments name by a relative path.
        on_swap: told of every model that begins to serve.
        clock_s: monotonic seconds.
    """

    def __init__(
        self,
        fraud_types: Mapping[str, FraudType],
        verify_key_pem: bytes,
        bundle_dir: Path,
        on_swap: Callable[[str, ScoringModel], None] = lambda fraud_type, model: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fraud_types = fraud_types
        self._bundles = BundleShelf(bundle_dir, verify_key_pem)
        self._challengers = ChallengerShelf(fraud_types, self._bundles)
        self._on_swap = on_swap
        self._clock_s = clock_s
        self._served: dict[str, _Served] = {}
        self._refused: dict[int, tuple[Stamp, float, str]] = {}
        self._problems: dict[str, str] = dict.fromkeys(fraud_types, "")

    def model(self, fraud_type: str) -> ScoringModel:
        served = self._served.get(fraud_type)
        if served is None:
            why = self._problems.get(fraud_type) or "None was ever promoted."
            raise ModelUnavailable(
                f"No model can serve {fraud_type!r}. {why}",
                remedy="Run the pipeline, or restore the bundle.",
                retry_after_s=5,
            )
        return served.model

    def challenger(self, fraud_type: str) -> Challenger | None:
        return self._challengers.challenger(fraud_type)

    def has_any(self) -> bool:
        """Whether any fraud type has a model."""
        return bool(self._served)

    def report(self) -> dict[str, dict[str, Any]]:
        """Per fraud type: which model serves since when, what is wrong, and who challenges it.

        `status` is `ok`, `stale` (an older or damaged one serves), `refused` (none of those
        promoted may serve) or `missing` (none was ever promoted).
        """
        return {name: self._report(name) for name in self._fraud_types}

    def refresh(
        self, deployments: Sequence[Deployment], challengers: Mapping[str, Deployment] = EMPTY
    ) -> None:
        """Take over what was promoted, and look after what serves.

        Args:
            deployments: those of stage champion, newest first.
            challengers: who challenges them, by fraud type.
        """
        for name, kind in self._fraud_types.items():
            mine = [each for each in deployments if each.fraud_type == name]
            self._problems[name] = " ".join(self._refresh(kind, mine))
        self._challengers.refresh(challengers)

    def _refresh(self, kind: FraudType, deployments: Sequence[Deployment]) -> list[str]:
        problems: list[str] = []
        served = self._served.get(kind.name)
        for deployment in deployments:
            if served is not None and served.deployment.deployment_id == deployment.deployment_id:
                problem = self._recheck(kind, served)
                return [*problems, problem] if problem else problems
            problem = self._take(kind, deployment)
            if not problem:
                return problems
            problems.append(problem)
        return problems

    def _take(self, kind: FraudType, deployment: Deployment) -> str:
        """Load a deployment and let it serve; what is wrong with it, or nothing."""
        stamp = self._bundles.stamp(deployment)
        known = self._refused.get(deployment.deployment_id)
        now_s = self._clock_s()
        if known is not None and known[0] == stamp and now_s - known[1] < RECHECK_S:
            return known[2]
        try:
            model = self._bundles.load(kind, deployment)
        except FraudError as error:
            if known is None:
                log.error("Model %s is refused: %s", deployment.model_version, error)
            problem = self._bundles.shown(error)
            self._refused[deployment.deployment_id] = (stamp, now_s, problem)
            return problem
        self._refused.pop(deployment.deployment_id, None)
        self._served[kind.name] = _Served(deployment, model, stamp, now_s)
        log.info("Model %s serves %s", model.version, kind.name)
        self._on_swap(kind.name, model)
        return ""

    def _recheck(self, kind: FraudType, served: _Served) -> str:
        """Whether the files of what serves are still what was loaded."""
        stamp, now_s = self._bundles.stamp(served.deployment), self._clock_s()
        if stamp == served.stamp and now_s - served.checked_s < RECHECK_S:
            return served.problem
        problem = ""
        try:
            self._bundles.check(kind, served.deployment)
        except FraudError as error:
            problem = f"{self._bundles.shown(error)} The model loaded before goes on."
            if problem != served.problem:
                log.error("The files of model %s: %s", served.model.version, error)
        self._served[kind.name] = _Served(served.deployment, served.model, stamp, now_s, problem)
        return problem

    def _report(self, fraud_type: str) -> dict[str, Any]:
        served, problem = self._served.get(fraud_type), self._problems[fraud_type]
        if served is None:
            return {
                "model_version": None,
                "promoted_at": None,
                "status": "refused" if problem else "missing",
                "problem": problem or "No model was ever promoted.",
            }
        content: dict[str, Any] = {
            "model_version": served.model.version,
            "promoted_at": iso_text(served.deployment.promoted_at_us),
            "status": "stale" if problem else "ok",
        }
        if problem:
            content["problem"] = problem
        if challenger := self._challengers.report(fraud_type):
            content["challenger"] = challenger
        return content


def settle_heap() -> None:
    """Take what is loaded out of the cyclic garbage collector's sight.

    It would walk the whole heap every few thousand requests, and whoever is served meanwhile
    waits: that walk was most of the p99 (see docs/adr). What is made later is walked in steps of
    some milliseconds; scoring leaves nothing behind that only a walk could free (a test looks).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)
