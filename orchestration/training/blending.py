"""A blend: several fitted models whose log-odds are averaged.

Trees of different kinds err on different events, so their mean ranks better than each. Log-odds
rather than probabilities are averaged, so that a model which is sure says more than one which
is not; squeezing keeps a forest's 0 and 1 from saying everything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bentos.scoring.model import to_probabilities

Floats = NDArray[np.float64]
Narrow = NDArray[np.float32]

SQUEEZE = 1e-3
"""Every probability p becomes SQUEEZE + (1 - 2 SQUEEZE) p before its log-odds are taken."""


@dataclass(frozen=True)
class Blend:
    """Fitted members.

    Attributes:
        names: of the members' candidates.
        estimators: the libraries' own objects.
        predicts: (estimator, features) -> raw probabilities, one per member.
        importances: estimator -> weight per feature, one per member.
    """

    names: tuple[str, ...]
    estimators: tuple[Any, ...]
    predicts: tuple[Callable[[Any, Narrow], Floats], ...]
    importances: tuple[Callable[[Any], Floats], ...]


def predict_blend(blend: Blend, features: Narrow) -> Floats:
    """Sigmoid of the mean log-odds of the members, shape (n, F) -> (n,)."""
    total = np.zeros(len(features))
    for predict, estimator in zip(blend.predicts, blend.estimators, strict=True):
        inner = SQUEEZE + (1.0 - 2.0 * SQUEEZE) * predict(estimator, features)
        total += np.log(inner / (1.0 - inner))
    return to_probabilities(total / len(blend.names))


def blend_importances(blend: Blend) -> Floats:
    """Mean over the members of each feature's share in their work, shape (F,)."""
    weights = [of(each) for of, each in zip(blend.importances, blend.estimators, strict=True)]
    return np.asarray(np.mean([weight / weight.sum() for weight in weights], axis=0))
