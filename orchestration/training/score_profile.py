"""How a model's scores are spread, and how far two spreads lie apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BANDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75)
"""Edges between which scores are counted; those of fraud lie near zero."""

ALERTS = "alerts"


@dataclass(frozen=True)
class ScoreProfile:
    """How scores are spread.

    Attributes:
        shares: of the scores in each band, shape (len(BANDS) + 1,), none of them zero.
        alert_share: of the scores that make an alert.
    """

    shares: tuple[float, ...]
    alert_share: float

    @classmethod
    def of(cls, scores: Floats, review: float) -> Self:
        """The profile of some scores, shape (n,); `review` is the least that makes an alert."""
        counts = np.bincount(np.searchsorted(BANDS, scores, side="right"), minlength=len(BANDS) + 1)
        shares = (counts + 0.5) / (len(scores) + 0.5 * len(counts))
        alerts = float((scores >= review).mean()) if len(scores) else 0.0
        return cls(tuple(shares.tolist()), alerts)

    def plain(self) -> dict[str, float]:
        """As metrics of a manifest."""
        edges = (0.0, *BANDS)
        named = {f"from_{edge:g}": each for edge, each in zip(edges, self.shares, strict=True)}
        return named | {ALERTS: self.alert_share}

    @classmethod
    def read(cls, metrics: Mapping[str, float]) -> Self | None:
        """The profile that a manifest states; None where it states none, or other bands."""
        try:
            shares = tuple(metrics[f"from_{edge:g}"] for edge in (0.0, *BANDS))
            return cls(shares, metrics[ALERTS])
        except KeyError:
            return None


def stability_index(expected: ScoreProfile, found: ScoreProfile) -> float:
    """Population stability index of two profiles (Siddiqi 2006, chapter 9)."""
    before, after = np.array(expected.shares), np.array(found.shares)
    return float(np.sum((after - before) * np.log(after / before)))
