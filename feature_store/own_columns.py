"""The events' own integer columns side by side, from which each entity gathers its events."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from feature_store import grouping
from feature_store.columns import History
from feature_store.inputs import AMOUNT, CODE, FRAUD_KNOWN, LOG, PLACE, SEQ, TIME, VALUE_ID
from feature_store.plan import EntityPlan
from fraud.domain.features import Ints

PART_ROWS = 16_384
"""Events whose columns are computed and finished at a time: they stay in the cache."""


class OwnColumns:
    """The events' own integer columns side by side: a row of them is one piece of memory.

    Sorting by an entity then costs one access per event instead of one per column.

    Args:
        plans: of all entities; only what they need is taken.
        history: whose columns.
        each: how parts are worked through; give the map of a thread pool.
    """

    def __init__(
        self,
        plans: Iterable[EntityPlan],
        history: History,
        each: Callable[..., Iterable[Any]] = map,
    ) -> None:
        self.names = list(dict.fromkeys(name for plan in plans for name in own_names(plan)))
        self.table = np.empty((history.size, len(self.names)), np.int64)
        columns = tuple(np.require(history.own(name), np.int64, ["C", "W"]) for name in self.names)
        begins = range(0, history.size, PART_ROWS)
        ends = [min(begin + PART_ROWS, history.size) for begin in begins]
        for _ in each(lambda b, e: grouping.interleave(columns, b, e, self.table), begins, ends):
            pass

    def numbers(self, names: Sequence[str]) -> Ints:
        """Where in the table columns stand."""
        return np.array([self.names.index(name) for name in names], np.int64)


def own_names(plan: EntityPlan) -> list[str]:
    """The columns of the events themselves that an entity's aggregates and features need."""
    return [
        TIME,
        *((AMOUNT, LOG) if plan.tiers or plan.has_outcomes else ()),
        *((SEQ, FRAUD_KNOWN) if plan.uses_labels else ()),
        *(f"{CODE} {field}" for field, _ in plan.distinct),
        *(f"{VALUE_ID} {field}" for field in plan.last_fields),
        *((PLACE,) if plan.has_place else ()),
    ]
