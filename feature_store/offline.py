"""The offline execution of the feature contract: whole histories, vectorised.

What events say themselves is packed event by event (`gathering.py`), and the history sorted by
each entity in turn. Parts of it, small enough for the cache, are gathered, go through the
compiled passes (`kernels.py`, `label_kernels.py`, `outcome_kernels.py`), are finished
(`finishing.py`) and written to their rows of the frame. Beside the frame, nothing of the size
of the history is made but what was packed and some int32 columns: codes, orders, labels. Parts
are independent, and all cores work on them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from threading import local

import numba
import numpy as np
import pandas as pd

from feature_store.columns import History
from feature_store.finishing import fill_rows, finish_rows, write_rows
from feature_store.gathering import Facts
from feature_store.grouping import Rows
from feature_store.inputs import CODE, LOG, PLACE
from feature_store.passes import PART_ROWS, EntityPass
from feature_store.plan import entity_plans, families
from feature_store.steps import Steps, steps
from fraud.domain.aggregates import NONE, Aggregate, LastPlace, LastValue
from fraud.domain.features import Category, Feature, Floats, Ints, Number, Values
from fraud.domain.fraud_type import Entity, FraudType

Task = Callable[[], None]


def feature_matrix(fraud_type: FraudType, events: pd.DataFrame, labels: pd.DataFrame) -> Values:
    """All features of all events, shape (n, features), float32, rows as in `events`.

    Args:
        fraud_type: whose features.
        events: canonical events in observation order (see `feature_store.lake`).
        labels: canonical labels; only fraud labels act.

    Raises:
        ContractError: the events are not in observation order.
    """
    # All cores, unless the caller's thread was given fewer: see numba.set_num_threads.
    with ThreadPoolExecutor(numba.get_num_threads()) as threads:
        history = History(fraud_type, events, labels, threads.map)
        return _Matrix(fraud_type, history).fill(threads)


class _Matrix:
    """The frame of a history, and who writes which of its columns."""

    def __init__(self, fraud_type: FraudType, history: History) -> None:
        self._features = fraud_type.features
        self._history = history
        self._out = np.empty((history.size, len(fraud_type.features)), np.float32)
        # What no event has leaves defaults, and nothing is computed for it.
        absent = [e for e in fraud_type.entities if any(map(history.is_void, e.fields))]
        self._void: list[int] = []
        self._places: dict[frozenset[str], list[int]] = {}
        for place, feature in enumerate(fraud_type.features):
            needs = frozenset(aggregate.entity for aggregate in feature.aggregates())
            if (needs <= {each.name for each in absent} and needs) or self._is_void(feature):
                self._void.append(place)
            else:
                self._places.setdefault(needs, []).append(place)
        self._crossing = [p for needs, each in self._places.items() if len(needs) > 1 for p in each]
        self._shared: dict[Aggregate, Ints] = {
            aggregate: np.full(history.size, NONE, np.int64)
            for place in self._crossing
            for aggregate in fraud_type.features[place].aggregates()
        }
        plans = [
            plan
            for plan in entity_plans(fraud_type)
            if plan.aggregates and plan.entity not in absent
        ]
        self._families = families(plans)
        used = chain.from_iterable(
            (*(field for field, _ in plan.distinct), *plan.entity.fields) for plan in plans
        )
        self._facts = Facts(history, [f"{CODE} {field}" for field in used])
        self._rooms = local()

    def _is_void(self, feature: Feature) -> bool:
        """Whether it looks at something that no event has."""
        fields = {
            each.field if isinstance(each, LastValue) else PLACE
            for each in feature.aggregates()
            if isinstance(each, LastValue | LastPlace)
        }
        if isinstance(feature, Number | Category):
            fields.add(feature.field)
        return any(map(self._history.is_void, fields))

    def fill(self, threads: ThreadPoolExecutor) -> Values:
        """The finished frame."""
        passes = threads.map(
            lambda plan, guests: EntityPass(plan, guests, self._history, self._facts),
            self._families.keys(),
            self._families.values(),
        )
        _run(threads, self._row_tasks(self._without_history))
        _run(threads, chain.from_iterable(map(self._entity_tasks, passes)))
        if self._crossing:
            _run(threads, self._row_tasks(self._across))
        return self._out

    def _row_tasks(self, task: Callable[[slice], None]) -> Iterator[Task]:
        for begin in range(0, self._history.size, PART_ROWS):
            yield partial(task, slice(begin, min(begin + PART_ROWS, self._history.size)))

    def _without_history(self, rows: slice) -> None:
        """Write what events say themselves, and the defaults where they lack an entity."""
        self._facts.fill(rows)
        own, void = self._places.get(frozenset(), []), self._void
        values = np.empty((len(own) + len(void), rows.stop - rows.start))
        self._finish(own, rows, {}, {}, values[: len(own)])
        values[len(own) :] = self._defaults(void)[:, np.newaxis]
        write_rows(values, np.array(own + void, np.int64), rows.start, self._out)
        for plan, guests in self._families.items():
            absent = self._history.absent(plan.entity, rows)
            if len(absent):
                places = self._places_of(plan.entity, *(guest.entity for guest, _ in guests))
                defaults = self._defaults(places)
                fill_rows(absent, np.array(places, np.int64), defaults, self._out)

    def _across(self, rows: slice) -> None:
        """Write the features of several entities."""
        shared = {each: values[rows] for each, values in self._shared.items()}
        values = np.empty((len(self._crossing), rows.stop - rows.start))
        self._finish(self._crossing, rows, {}, shared, values)
        write_rows(values, np.array(self._crossing, np.int64), rows.start, self._out)

    def _places_of(self, *entities: Entity) -> list[int]:
        return [p for each in entities for p in self._places.get(frozenset({each.name}), [])]

    def _defaults(self, places: list[int]) -> Values:
        return np.array([self._features[place].default for place in places], np.float32)

    def _entity_tasks(self, entity: EntityPass) -> Iterator[Task]:
        compiled, others = steps(self._features, self._places_of(*entity.entities), entity.columns)
        for begin, end in entity.parts():
            yield partial(self._part, entity, begin, end, compiled, others)

    def _part(
        self, entity: EntityPass, begin: int, end: int, compiled: Steps, others: list[int]
    ) -> None:
        room = getattr(self._rooms, "room", np.empty(0, np.int64))
        part, self._rooms.room = entity.part(begin, end, room)
        own: dict[str, Ints] = {}
        aggregates: dict[Aggregate, Ints] = {}
        for name, number in entity.columns.items() if others or self._shared else ():
            if isinstance(name, str):
                own[name] = part.columns[number]
            else:
                aggregates[name] = part.columns[number]
        for aggregate in self._shared.keys() & aggregates.keys():
            self._shared[aggregate][part.rows] = aggregates[aggregate]
        values = np.empty((len(others), len(part.rows)))
        self._finish(others, part.rows, own, aggregates, values)
        log = entity.columns.get(LOG, 0)
        finish_rows(part.columns, log, *compiled, values, part.rows, self._out)

    def _finish(
        self,
        places: Sequence[int],
        rows: Rows | slice,
        own: dict[str, Ints],
        aggregates: dict[Aggregate, Ints],
        out: Floats,
    ) -> None:
        """Features finished by their own `finish` -> `out` (places, m)."""
        inputs = self._history.inputs(rows, own, aggregates)
        for number, place in enumerate(places):
            out[number] = self._features[place].finish(inputs)


def _run(threads: ThreadPoolExecutor, tasks: Iterable[Task]) -> None:
    for _ in threads.map(lambda task: task(), tasks):
        pass


def build_frame(fraud_type: FraudType, events: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """The feature frame of a history: who, when, how much, and every feature as float32.

    Columns: the `leading_columns`, then one column per feature.
    """
    matrix = feature_matrix(fraud_type, events, labels)
    features = pd.DataFrame(matrix, columns=list(fraud_type.feature_names), copy=False)
    leading = events[leading_columns(fraud_type)].reset_index(drop=True)
    return pd.concat([leading, features], axis=1, copy=False)


def leading_columns(fraud_type: FraudType) -> list[str]:
    """Columns of a feature frame before the features: what happened, when, and to whom."""
    keys = dict.fromkeys(field for entity in fraud_type.entities for field in entity.fields)
    return ["transaction_id", "seq", "event_time", "observed_at", "amount_minor", *keys]
