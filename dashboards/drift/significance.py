"""Which columns differ by more than chance: so many are tested that some always seem to.

A two-sample Kolmogorov-Smirnov test for numbers, a chi-squared test of homogeneity for codes
and flags; Holm's step-down procedure (Holm 1979, "A simple sequentially rejective multiple test
procedure") bounds the probability of naming any column that did not change, over all columns
of a report together.
"""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency, ks_2samp

FAMILY_ERROR = 0.01
"""Probability of naming at least one column that did not change, per report, at most."""


def differing(
    before: pd.DataFrame,
    after: pd.DataFrame,
    codes: Collection[str],
    error: float = FAMILY_ERROR,
) -> set[str]:
    """The columns whose two samples differ by more than chance.

    Args:
        before: one sample, shape (n, columns).
        after: the other, shape (m, columns).
        codes: columns that are compared value by value.
        error: probability of naming any column that did not change.
    """
    found = {
        str(name): _by_value(before[name], after[name])
        if name in codes
        else float(ks_2samp(before[name], after[name], method="asymp").pvalue)
        for name in before
    }
    return holm(found, error)


def holm(p_values: Mapping[str, float], error: float) -> set[str]:
    """The hypotheses that Holm's procedure rejects."""
    rejected: set[str] = set()
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        if p_values[name] > error / (len(p_values) - place):
            break
        rejected.add(name)
    return rejected


def _by_value(before: pd.Series, after: pd.Series) -> float:
    values = np.union1d(before.to_numpy(), after.to_numpy())
    if len(values) < 2:
        return 1.0
    counts = np.array(
        [
            [np.count_nonzero(side.to_numpy() == value) for value in values]
            for side in (before, after)
        ]
    )
    return float(chi2_contingency(counts).pvalue)
