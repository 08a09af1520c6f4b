"""What to do about rows that came before: drop equals, refuse contradictions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from feature_store.schema import text_array
from orchestration.sources.coercion import Mask
from orchestration.sources.reasons import Problem, said

NOT_IN_THE_BODY = {"seq", "observed_at"}
"""A transaction that is sent twice is seen at two times and is still the same."""


@dataclass(frozen=True)
class Settled:
    """The rows of a frame, sorted by whether they are news.

    Attributes:
        is_new: the first of its id.
        is_equal: says what the first of its id said.
        problems: why a row is refused, by position: it contradicts the first of its id.
    """

    is_new: Mask
    is_equal: Mask
    problems: dict[int, Problem]


def suspects(transaction_ids: pd.Series, known: Any) -> Mask:
    """Rows whose id occurs among `known` (a pyarrow string array) or twice among themselves."""
    is_known = pc.is_in(text_array(transaction_ids), value_set=known).to_numpy(zero_copy_only=False)
    mask: Mask = is_known | transaction_ids.duplicated(keep=False).to_numpy(bool)
    return mask


def settle(rows: pd.DataFrame, earlier: pd.DataFrame) -> Settled:
    """Hold rows against those that came before them, and against each other.

    Args:
        rows: canonical events, in the order they came.
        earlier: events with the same columns that were accepted before; only those that
            share an id with `rows` matter.
    """
    body = [name for name in rows.columns if name not in NOT_IN_THE_BODY]
    both = pd.concat([earlier[body], rows[body]], ignore_index=True)
    codes, ids = pd.factorize(both["transaction_id"])
    first_of = np.full(len(ids), -1)
    first_of[codes[::-1]] = np.arange(len(both))[::-1]
    first: NDArray[np.int64] = first_of[codes][len(earlier) :]
    own = np.arange(len(earlier), len(both))
    is_new = first == own
    differs = np.zeros(len(rows), bool)
    differing_field = np.full(len(rows), "", dtype=object)
    for name in body[1:]:
        values, _ = pd.factorize(both[name])
        wrong = values[own] != values[first]
        differing_field[wrong & ~differs] = name
        differs |= wrong
    problems = {
        place: _contradiction(rows, place, str(differing_field[place]))
        for place in np.flatnonzero(differs).tolist()
    }
    return Settled(is_new, ~is_new & ~differs, problems)


def _contradiction(rows: pd.DataFrame, place: int, field: str) -> Problem:
    transaction_id = str(rows["transaction_id"].iloc[place])
    reason = said(
        "transaction_id",
        transaction_id,
        f"was used before, with another {field}",
        "Give each transaction its own id; what was seen first stands.",
    )
    return Problem("transaction_id", reason)
