"""The offline execution of the feature contract: whole histories, vectorised.

A history is sorted by each entity in turn. Parts of it, small enough for the cache, then go
through the compiled passes (`kernels.py`, `label_kernels.py`), are finished (`finishing.py`)
and written to their rows of the frame. Beside the frame itself, nothing of the size of the
history is made but int32 columns: codes, orders, labels. Parts are independent, and all cores
work on them.
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
from feature_store.finishing import Steps, fill_rows, finish_rows, steps, write_rows
from feature_store.grouping import Rows
from feature_store.inputs import LOG
from feature_store.passes import PART_ROWS, EntityPass
from feature_store.plan import EntityPlan, entity_plans
from fraud.domain.aggregates import NONE, Aggregate
from fraud.domain.features import Floats, Ints
from fraud.domain.fraud_type import Entity, FraudType

Task = Callable[[], None]


def feature_matrix(fraud_type: FraudType, events: pd.DataFrame, labels: pd.DataFrame) -> Floats:
    """All features of all events, shape (n, features), float64, rows as in `events`.

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
        return _Matrix(fraud_type, history).fill(entity_plans(fraud_type), threads)


class _Matrix:
    """The frame of a history, and who writes which of its columns."""

    def __init__(self, fraud_type: FraudType, history: History) -> None:
        self._features = fraud_type.features
        self._entities = fraud_type.entities
        self._history = history
        self._out = np.empty((history.size, len(fraud_type.features)))
        self._places: dict[frozenset[str], list[int]] = {}
        for place, feature in enumerate(fraud_type.features):
            needs = frozenset(aggregate.entity for aggregate in feature.aggregates())
            self._places.setdefault(needs, []).append(place)
        self._crossing = [p for needs, each in self._places.items() if len(needs) > 1 for p in each]
        self._shared: dict[Aggregate, Ints] = {
            aggregate: np.full(history.size, NONE, np.int64)
            for place in self._crossing
            for aggregate in fraud_type.features[place].aggregates()
        }
        self._rooms = local()

    def fill(self, plans: Sequence[EntityPlan], threads: ThreadPoolExecutor) -> Floats:
        """The finished frame."""
        passes = threads.map(lambda plan: EntityPass(plan, self._history), plans)
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
        self._write(self._places.get(frozenset(), []), rows, {})
        for entity in self._entities:
            own = self._places_of(entity)
            absent = self._history.absent(entity, rows)
            if len(absent):
                defaults = np.array([self._features[place].default for place in own], np.float64)
                fill_rows(absent, np.array(own, np.int64), defaults, self._out)

    def _across(self, rows: slice) -> None:
        """Write the features of several entities."""
        shared = {each: values[rows] for each, values in self._shared.items()}
        self._write(self._crossing, rows, shared)

    def _write(self, places: list[int], rows: slice, aggregates: dict[Aggregate, Ints]) -> None:
        values = self._finished(places, rows, {}, aggregates)
        write_rows(values, np.array(places, np.int64), np.arange(rows.start, rows.stop), self._out)

    def _places_of(self, entity: Entity) -> list[int]:
        return self._places.get(frozenset({entity.name}), [])

    def _entity_tasks(self, entity: EntityPass) -> Iterator[Task]:
        compiled, others = steps(self._features, self._places_of(entity.entity), entity.columns)
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
        values = self._finished(others, part.rows, own, aggregates)
        log = entity.columns.get(LOG, 0)
        finish_rows(part.columns, log, *compiled, values, part.rows, self._out)

    def _finished(
        self,
        places: Sequence[int],
        rows: Rows | slice,
        own: dict[str, Ints],
        aggregates: dict[Aggregate, Ints],
    ) -> Floats:
        """Features finished by their own `finish`, shape (places, m)."""
        values = np.empty((len(places), len(self._history.seq[rows])))
        inputs = self._history.inputs(rows, own, aggregates)
        for number, place in enumerate(places):
            values[number] = self._features[place].finish(inputs)
        return values


def _run(threads: ThreadPoolExecutor, tasks: Iterable[Task]) -> None:
    for _ in threads.map(lambda task: task(), tasks):
        pass


def build_frame(fraud_type: FraudType, events: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """The feature frame of a history: who, when, how much, and every feature as float64.

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
