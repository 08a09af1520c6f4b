"""Which cells a fraud type's model accepts beyond doubt, looked at a column at a time."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud.domain.event import EARLIEST, MAX_AMOUNT, to_us
from orchestration.sources.coercion import Column, Mask
from orchestration.sources.constraints import Constraint

_COMPARE = {
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "lt": np.less,
}


def surely_accepted(constraint: Constraint, column: Column) -> Mask:
    """Rows whose cell the model accepts beyond doubt."""
    if not constraint.is_understood:
        return np.zeros(len(column.raw), bool)
    value_fits = column.is_typed.copy()
    if constraint.kind == "text":
        value_fits &= _text_fits(constraint, column.values)
    elif constraint.kind == "moment":
        value_fits &= column.values >= to_us(EARLIEST)
    elif constraint.kind != "flag":
        value_fits &= _number_fits(constraint, column.values)
    if constraint.is_required and not constraint.is_nullable:
        return value_fits
    return value_fits | column.is_null


def _text_fits(constraint: Constraint, texts: Any) -> Mask:
    fits = pc.greater_equal(pc.utf8_length(texts), constraint.least_length)
    if constraint.most_length is not None:
        fits = pc.and_(fits, pc.less_equal(pc.utf8_length(texts), constraint.most_length))
    for pattern in constraint.patterns:
        fits = pc.and_(fits, pc.match_substring_regex(texts, pattern))
    if constraint.choices:
        fits = pc.and_(fits, pc.is_in(texts, value_set=pa.array(constraint.choices)))
    if constraint.is_accepted is not None:
        distinct = texts.unique().drop_null().to_pylist()
        accepted = pa.array(filter(constraint.is_accepted, distinct), pa.string())
        fits = pc.and_(fits, pc.is_in(texts, value_set=accepted))
    mask: Mask = pc.fill_null(fits, False).to_numpy(zero_copy_only=False)
    return mask


def _number_fits(constraint: Constraint, numbers: NDArray[np.float64]) -> Mask:
    fits = np.isfinite(numbers)
    for comparison, bound in constraint.bounds:
        fits &= _COMPARE[comparison](numbers, bound)
    if constraint.kind == "money":
        cents = np.where(np.abs(numbers) <= MAX_AMOUNT, numbers, 0.0) * 100.0
        fits &= np.abs(cents - np.rint(cents)) <= 1e-6
    if constraint.kind == "whole":
        fits &= np.where(fits, np.rint(numbers) == numbers, False)
    return fits
