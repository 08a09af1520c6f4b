"""The online execution of the feature contract: states of entities, kept as bytes.

A state is what an entity has shown so far, cut to what its windows can still reach. This
module says what a plan needs of it in the terms of `state_machine.py`, whose compiled loops
unpack states, show them events and labels, and pack them again.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from feature_store.inputs import PLACE
from feature_store.plan import COLUMN_ORDER, EntityPlan, Tier
from feature_store.state_bytes import Bytes
from feature_store.state_machine import EventColumns, LabelColumns, Shown, advance
from feature_store.state_packing import Spec, packed_specs
from fraud.domain.aggregates import (
    DISTINCT_MEMORY,
    OUTCOME_FIGURES,
    OUTCOME_MEMORY,
    OUTCOME_PARTS,
    Aggregate,
    DistinctSum,
    FirstTime,
    FraudTime,
    LabelSum,
    LastPlace,
    LastPlaceTime,
    LastTime,
    LastValue,
    Lifetime,
    MaturedSum,
    OutcomesOf,
    TileSum,
)
from fraud.domain.errors import StateUnavailable
from fraud.domain.features import Ints
from fraud.domain.windows import LATENESS_HOPS

STATE_VERSION = 3
"""Raised when the encoding of states changes."""

_TAG_SIZE = 4


def _tag(plan: EntityPlan) -> bytes:
    """The first bytes of every state of a plan: what it remembers, as a short hash."""
    tiers = [
        [(tier.hop_us, tier.columns, tier.reach_us) for tier in each]
        for each in (plan.tiers, plan.label_tiers)
    ]
    fields = [field for field, _ in plan.distinct], plan.last_fields
    kept = [plan.has_place, plan.has_outcomes, plan.uses_labels, plan.has_outcome_logs]
    limits = LATENESS_HOPS, DISTINCT_MEMORY, OUTCOME_MEMORY
    content = (STATE_VERSION, plan.entity.fields, tiers, fields, kept, limits)
    return hashlib.blake2b(repr(content).encode(), digest_size=_TAG_SIZE).digest()


def value_names(plans: Iterable[EntityPlan]) -> tuple[str, ...]:
    """What states remember of an event's own fields, in the order of `EventColumns.values`."""
    fields = {field for plan in plans for field, _ in plan.distinct}
    fields |= {field for plan in plans for field in plan.last_fields}
    return (*sorted(fields), *((PLACE,) if any(plan.has_place for plan in plans) else ()))


def no_events(width: int) -> EventColumns:
    """Columns of no events with so many values."""
    none = np.empty(0, np.int64)
    return EventColumns(none, none, none, none, none, np.empty((width, 0), np.int64))


NO_LABELS = LabelColumns(*(np.empty(0, np.int64) for _ in range(4)))
NOBODY = np.empty(0, np.int64)
"""Rows of none of them."""

_NO_TABLE = np.empty((0, 0), np.int64)


class Layout:
    """How the states of a fraud type's entities are read and moved on; made once.

    Args:
        plans: what must be remembered of each kind of entity. A kind is known by its place.
        rows: row of each aggregate in the table of what events see.
    """

    def __init__(self, plans: Sequence[EntityPlan], rows: Mapping[Aggregate | str, int]) -> None:
        values = value_names(plans)
        self._plans = plans
        self._tags = [_tag(plan) for plan in plans]
        self._specs = packed_specs([_spec(plan, values, rows) for plan in plans])

    def advance(
        self,
        kinds: Sequence[int],
        states: Sequence[bytes | None],
        shown: Shown,
        table: Ints = _NO_TABLE,
    ) -> list[bytes]:
        """Show entities their events and labels in observation order.

        Args:
            kinds: of each entity.
            states: of each entity, None where it was never seen.
            shown: what they are shown.
            table: receives what each event sees: aggregates as rows, events as columns; what
                is nobody's stays as it is. No columns if not wanted.

        Returns:
            The new states.

        Raises:
            StateUnavailable: a state was written for a plan that remembers something else.
        """
        data, starts = self._joined(kinds, states)
        packed, ends = advance(self._specs, np.array(kinds, np.int64), data, starts, shown, table)
        return self._parts(kinds, packed, ends)

    def replayed(self, kind: int, shown: Shown) -> list[bytes]:
        """The states of new entities of one kind after what they are shown."""
        kinds = np.full(len(shown.starts) - 1, kind)
        data, starts = np.zeros(0, np.uint8), np.zeros(len(shown.starts), np.int64)
        packed, ends = advance(self._specs, kinds, data, starts, shown, _NO_TABLE)
        return self._parts(kinds.tolist(), packed, ends)

    def _parts(self, kinds: Sequence[int], packed: Bytes, ends: Ints) -> list[bytes]:
        """Packed states with their tags."""
        data, places = packed.tobytes(), ends.tolist()
        return [
            self._tags[kind] + data[begin:end]
            for kind, (begin, end) in zip(kinds, pairwise(places), strict=True)
        ]

    def _joined(self, kinds: Sequence[int], states: Sequence[bytes | None]) -> tuple[Bytes, Ints]:
        """The states without their tags one after another, and where each begins."""
        parts, starts, end = [], [0], 0
        for kind, state in zip(kinds, states, strict=True):
            if state is not None:
                if not state.startswith(self._tags[kind]):
                    raise _foreign(self._plans[kind])
                parts.append(state[_TAG_SIZE:])
                end += len(state) - _TAG_SIZE
            starts.append(end)
        data = np.frombuffer(bytearray().join(parts), np.uint8)
        return data, np.array(starts, np.int64)


def _foreign(plan: EntityPlan) -> StateUnavailable:
    return StateUnavailable(
        f"The state of a {plan.entity.name} was written for other features than those of this "
        "code.",
        remedy="Run the pipeline: it rebuilds the online states.",
        retry_after_s=60,
    )


def _spec(plan: EntityPlan, values: Sequence[str], rows: Mapping[Aggregate | str, int]) -> Spec:
    name = plan.entity.name

    def place(aggregate: Aggregate) -> int:
        return rows.get(aggregate, -1)

    def sums(tier: Tier, number: int) -> list[list[int]]:
        is_label = number >= len(plan.tiers)
        return [
            [
                place(LabelSum(name, window) if is_label else TileSum(name, window, column))
                for column in tier.columns
            ]
            for window in tier.windows
        ]

    tiers = [*plan.tiers, *plan.label_tiers]
    windows = [(number, window) for number, tier in enumerate(tiers) for window in tier.windows]
    seen = [(number, field, w) for number, (field, ws) in enumerate(plan.distinct) for w in ws]
    ks = sorted({a.k for a in plan.aggregates if isinstance(a, MaturedSum)})
    matured = [
        [place(MaturedSum(name, k, "count")), place(MaturedSum(name, k, "fraud"))] for k in ks
    ]
    parts = [
        [place(OutcomesOf(name, part, figure)) for figure in OUTCOME_FIGURES]
        for part in OUTCOME_PARTS
    ]
    scalars = (
        *(Lifetime(name), None, FirstTime(name), LastTime(name)),
        *(FraudTime(name, "latest"), FraudTime(name, "earliest")),
        *(LastPlace(name), LastPlaceTime(name)),
    )
    columns = [[COLUMN_ORDER.index(c) for c in tier.columns] for tier in tiers]
    return Spec(
        tier_hop=_ints(tier.hop_us for tier in tiers),
        tier_reach=_ints(tier.reach_us for tier in tiers),
        tier_columns=_table(columns, 4),
        label_tiers=len(plan.label_tiers),
        window_tier=_ints(number for number, _ in windows),
        window_reach=_ints(w.delay_us + w.length_us for _, w in windows),
        window_delay=_ints(w.delay_us for _, w in windows),
        window_out=_table([row for n, tier in enumerate(tiers) for row in sums(tier, n)], 4),
        distinct_value=_ints(values.index(field) for field, _ in plan.distinct),
        seen_field=_ints(number for number, _, _ in seen),
        seen_hop=_ints(w.hop_us for _, _, w in seen),
        seen_reach=_ints(w.delay_us + w.length_us for _, _, w in seen),
        seen_delay=_ints(w.delay_us for _, _, w in seen),
        seen_out=_ints(place(DistinctSum(name, field, w)) for _, field, w in seen),
        last_value=_ints(values.index(field) for field in plan.last_fields),
        last_out=_ints(place(LastValue(name, field)) for field in plan.last_fields),
        place_value=values.index(PLACE) if plan.has_place else -1,
        scalar_out=_ints(-1 if each is None else place(each) for each in scalars),
        maturity=plan.maturity_us if plan.has_outcomes else -1,
        ks=_ints(ks),
        matured_out=_table(matured, 2),
        has_logs=int(plan.has_outcome_logs),
        parts_wanted=int(any(number >= 0 for row in parts for number in row)),
        parts_out=_table(parts, len(OUTCOME_FIGURES)),
    )


def _ints(numbers: Iterable[int]) -> Ints:
    return np.array(list(numbers), np.int64)


def _table(rows: list[list[int]], width: int) -> Ints:
    """Rows filled up with -1."""
    padded = [row + [-1] * (width - len(row)) for row in rows]
    return np.array(padded, np.int64).reshape(len(rows), width)
