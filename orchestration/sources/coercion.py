"""From whatever a file or a database calls a column to typed values, where that is unambiguous.

A cell becomes its typed value, or null, or stays as it came and is left for the door to
refuse. Null, NaN, NaT and None all mean "no value". Texts with numbers become numbers, 0/1
and yes/no become flags, and whole numbers become text where a field is an identifier.
"""

import datetime as dt
import decimal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from orchestration.sources.constraints import Kind

Mask = NDArray[np.bool_]

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_MOMENT = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?(Z|[+-](0[0-9]|1[0-4]):00)?)?$"
)
_OFFSET = r":[0-9.]+(Z|[+-][0-9]{2}:?[0-9]{2}) *$"
_FLAGS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_LARGEST_EXACT = 2.0**53
_DTYPES: dict[Kind, Any] = {"flag": np.bool_, "moment": np.int64}


@dataclass
class Column:
    """One column of a batch after coercion.

    Attributes:
        raw: the cells as they came.
        values: typed values: a pyarrow string array for text, else a numpy array (float64,
            bool, or int64 microseconds); meaningless where not `is_typed`.
        is_null: cells without a value.
        is_typed: cells that became a value of the field's kind.
    """

    raw: pd.Series
    values: Any
    is_null: Mask
    is_typed: Mask

    def cell(self, row: int) -> Any:
        """The typed value of a row as a Python object; the cell as it came if it has none."""
        if not self.is_typed[row]:
            value = self.raw.iloc[row]
            return value.item() if isinstance(value, np.generic) else value
        value = self.values[row]
        return value.as_py() if isinstance(value, pa.Scalar) else value.item()


def coerce(raw: pd.Series, kind: Kind) -> Column:
    """The column's cells as values of a kind; see the module's text for what is unambiguous."""
    if isinstance(raw.dtype, pd.CategoricalDtype):
        raw = raw.astype(raw.cat.categories.dtype)
    is_null = raw.isna().to_numpy(bool)
    dtype = raw.dtype
    if _is_text(raw):
        values, is_typed = _TEXT[kind](pa.array(raw, pa.string(), from_pandas=True))
    elif pd.api.types.is_bool_dtype(dtype):
        values, is_typed = _from_flags(raw, kind)
    elif pd.api.types.is_numeric_dtype(dtype):
        values, is_typed = _from_numbers(raw, kind)
    elif isinstance(dtype, pd.DatetimeTZDtype) or dtype.kind == "M":
        values, is_typed = _from_moments(raw, kind)
    else:
        return _type_by_type(raw, kind, is_null)
    return Column(raw, values, is_null, is_typed & ~is_null)


def has_offset(raw: pd.Series) -> Mask:
    """Cells that say which time zone they are in."""
    if isinstance(raw.dtype, pd.DatetimeTZDtype):
        return np.ones(len(raw), bool)
    if raw.dtype.kind == "M":
        return np.zeros(len(raw), bool)
    texts = pa.array(raw.astype("string[pyarrow]"), pa.string(), from_pandas=True)
    return _mask(pc.match_substring_regex(texts, _OFFSET))


def _is_text(raw: pd.Series) -> bool:
    if isinstance(raw.dtype, pd.StringDtype):
        return True
    inferred = pd.api.types.infer_dtype(raw, skipna=True)
    return raw.dtype == object and inferred in ("string", "empty")


Typed = tuple[Any, Mask]


def _nothing(size: int, kind: Kind) -> Typed:
    values = pa.nulls(size, pa.string()) if kind == "text" else np.zeros(size)
    return values, np.zeros(size, bool)


def _mask(found: Any) -> Mask:
    mask: Mask = pc.fill_null(found, False).to_numpy(zero_copy_only=False)
    return mask


def _text_to_numbers(texts: Any) -> Typed:
    trimmed = pc.utf8_trim_whitespace(texts)
    is_typed = _mask(pc.match_substring_regex(trimmed, _NUMBER))
    numbers = pc.cast(pc.if_else(pa.array(is_typed), trimmed, None), pa.float64())
    return numbers.fill_null(0.0).to_numpy(zero_copy_only=False), is_typed


def _text_to_flags(texts: Any) -> Typed:
    lowered = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    is_typed = _mask(pc.is_in(lowered, value_set=pa.array(list(_FLAGS))))
    true = pa.array([text for text, flag in _FLAGS.items() if flag])
    return _mask(pc.is_in(lowered, value_set=true)), is_typed


def _text_to_moments(texts: Any) -> Typed:
    trimmed = pc.utf8_trim_whitespace(texts)
    plain = pc.if_else(pc.match_substring_regex(trimmed, _MOMENT), trimmed, None)
    parsed = pd.to_datetime(plain.to_pandas(), utc=True, format="ISO8601", errors="coerce")
    is_typed = parsed.notna().to_numpy(bool)
    return _us(parsed), is_typed


_TEXT: dict[Kind, Callable[[Any], Typed]] = {
    "text": lambda texts: (texts, np.ones(len(texts), bool)),
    "number": _text_to_numbers,
    "whole": _text_to_numbers,
    "money": _text_to_numbers,
    "flag": _text_to_flags,
    "moment": _text_to_moments,
}


def _from_flags(raw: pd.Series, kind: Kind) -> Typed:
    if kind != "flag":
        return _nothing(len(raw), kind)
    return raw.astype("boolean").fillna(False).to_numpy(bool), np.ones(len(raw), bool)


def _from_numbers(raw: pd.Series, kind: Kind) -> Typed:
    numbers = raw.astype("float64").fillna(0.0).to_numpy(np.float64)
    if kind in ("number", "whole", "money"):
        return numbers, np.ones(len(raw), bool)
    if kind == "flag":
        return numbers == 1.0, (numbers == 0.0) | (numbers == 1.0)
    if kind == "text":
        if pd.api.types.is_integer_dtype(raw.dtype):
            whole, is_typed = raw.astype("Int64"), np.ones(len(raw), bool)
        else:
            is_typed = (np.rint(numbers) == numbers) & (np.abs(numbers) <= _LARGEST_EXACT)
            whole = pd.Series(np.where(is_typed, numbers, 0.0)).astype("Int64")
        return pc.cast(pa.array(whole, pa.int64(), from_pandas=True), pa.string()), is_typed
    return _nothing(len(raw), kind)


def _from_moments(raw: pd.Series, kind: Kind) -> Typed:
    if kind != "moment":
        return _nothing(len(raw), kind)
    return _us(raw), np.ones(len(raw), bool)


def _us(moments: pd.Series) -> NDArray[np.int64]:
    if not isinstance(moments.dtype, pd.DatetimeTZDtype):
        moments = moments.dt.tz_localize("UTC")
    utc = moments.dt.tz_convert("UTC").dt.tz_localize(None)
    return np.asarray(utc.to_numpy("datetime64[us]")).astype(np.int64)


def _type_by_type(raw: pd.Series, kind: Kind, is_null: Mask) -> Column:
    """A column of mixed objects: the cells of each Python type are coerced together."""
    values: Any = np.full(len(raw), None, dtype=object)
    if kind != "text":
        values = np.zeros(len(raw), _DTYPES.get(kind, np.float64))
    is_typed = np.zeros(len(raw), bool)
    types = raw.map(type)
    for cell_type in types[~is_null].unique():
        places = np.flatnonzero((types == cell_type).to_numpy() & ~is_null)
        cells = _plain(raw.iloc[places].tolist(), cell_type, kind)
        if cells is None:
            continue
        part = coerce(cells, kind)
        is_typed[places] = part.is_typed
        values[places] = part.values.to_pylist() if kind == "text" else part.values
    if kind == "text":
        values = pa.array(values, pa.string())
    return Column(raw, values, is_null, is_typed)


def _plain(cells: list[Any], cell_type: type, kind: Kind) -> pd.Series | None:
    """Objects of one Python type as a column of a proper dtype; None for types we do not know."""
    if issubclass(cell_type, str):
        return pd.Series(cells, dtype="string[pyarrow]")
    if issubclass(cell_type, bool | np.bool_):
        return pd.Series(cells, dtype=bool)
    if issubclass(cell_type, int | np.integer):
        if kind == "text":
            return pd.Series([str(cell) for cell in cells], dtype="string[pyarrow]")
        return pd.Series([float(cell) for cell in cells])
    if issubclass(cell_type, float | np.floating | decimal.Decimal):
        return pd.Series([float(cell) for cell in cells])
    if issubclass(cell_type, dt.datetime):
        return pd.Series(pd.to_datetime(cells, utc=True))
    return None
