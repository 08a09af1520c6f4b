"""What must be remembered of each entity, worked out from a fraud type's features.

Both executions follow this plan: the offline kernels compute its aggregates for whole
histories, the online state keeps exactly what is needed to compute them one by one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fraud.domain.aggregates import (
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
    TileColumn,
    TileSum,
)
from fraud.domain.fraud_type import Entity, FraudType
from fraud.domain.windows import Window

COLUMN_ORDER: tuple[TileColumn, ...] = ("count", "amount", "log", "log_sq")


@dataclass(frozen=True)
class Tier:
    """All windows of an entity that share a tile length.

    Attributes:
        hop_us: tile length in microseconds.
        windows: each once.
        columns: what is summed per tile, in `COLUMN_ORDER`.
        reach_us: how far back the longest window looks.
    """

    hop_us: int
    windows: tuple[Window, ...]
    columns: tuple[TileColumn, ...]
    reach_us: int


@dataclass(frozen=True)
class EntityPlan:
    """What one entity's history must answer.

    Attributes:
        entity: whose history.
        aggregates: in the order in which states and kernels give them.
        tiers: sums over events, by tile length.
        label_tiers: sums over fraud labels, by tile length.
        distinct: fields whose recent values are remembered, each with its windows.
        last_fields: fields whose last value is remembered.
        has_place: whether the last position is remembered.
        has_outcomes: whether the outcomes of the last events are remembered.
        has_outcome_logs: whether their quantised log amounts are, too.
        maturity_us: when an outcome counts as mature.
    """

    entity: Entity
    aggregates: tuple[Aggregate, ...]
    tiers: tuple[Tier, ...]
    label_tiers: tuple[Tier, ...]
    distinct: tuple[tuple[str, tuple[Window, ...]], ...]
    last_fields: tuple[str, ...]
    has_place: bool
    has_outcomes: bool
    has_outcome_logs: bool
    maturity_us: int

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked but how many events there were, the last and the first."""
        return all(isinstance(each, Lifetime | LastTime | FirstTime) for each in self.aggregates)

    @property
    def uses_labels(self) -> bool:
        """Whether a fraud label changes this entity's state."""
        return self.has_outcomes or any(
            isinstance(aggregate, LabelSum | FraudTime) for aggregate in self.aggregates
        )


def _tiers(sums: Iterable[tuple[Window, TileColumn]]) -> tuple[Tier, ...]:
    by_hop: dict[int, tuple[set[Window], set[TileColumn]]] = {}
    for window, column in sums:
        windows, columns = by_hop.setdefault(window.hop_us, (set(), set()))
        windows.add(window)
        columns.add(column)
    return tuple(
        Tier(
            hop_us=hop,
            windows=tuple(sorted(windows, key=lambda window: (window.delay_us, window.length_us))),
            columns=tuple(column for column in COLUMN_ORDER if column in columns),
            reach_us=max(window.delay_us + window.length_us for window in windows),
        )
        for hop, (windows, columns) in sorted(by_hop.items())
    )


def _entity_plan(entity: Entity, fraud_type: FraudType) -> EntityPlan:
    mine = tuple(a for a in fraud_type.aggregates if a.entity == entity.name)
    distinct: dict[str, list[Window]] = {}
    for aggregate in mine:
        if isinstance(aggregate, DistinctSum):
            distinct.setdefault(aggregate.field, []).append(aggregate.window)
    return EntityPlan(
        entity=entity,
        aggregates=mine,
        tiers=_tiers((a.window, a.column) for a in mine if isinstance(a, TileSum)),
        label_tiers=_tiers((a.window, "count") for a in mine if isinstance(a, LabelSum)),
        distinct=tuple((field, tuple(windows)) for field, windows in distinct.items()),
        last_fields=tuple(dict.fromkeys(a.field for a in mine if isinstance(a, LastValue))),
        has_place=any(isinstance(a, LastPlace | LastPlaceTime) for a in mine),
        has_outcomes=any(isinstance(a, MaturedSum | OutcomesOf) for a in mine),
        has_outcome_logs=any(
            isinstance(a, OutcomesOf) and a.figure in ("log", "largest") for a in mine
        ),
        maturity_us=fraud_type.maturity_us,
    )


def entity_plans(fraud_type: FraudType) -> tuple[EntityPlan, ...]:
    """The plan of each entity of a fraud type, in declared order."""
    return tuple(_entity_plan(entity, fraud_type) for entity in fraud_type.entities)


def families(plans: Sequence[EntityPlan]) -> dict[EntityPlan, list[tuple[EntityPlan, str]]]:
    """Plans, each with those that come along in its order of the events.

    A plain plan whose entity narrows another one down by a single field (a user's card at one
    merchant) needs no order of its own; that field is given with it.
    """
    found: dict[EntityPlan, list[tuple[EntityPlan, str]]] = {}
    guests = []
    for plan in plans:
        host = _host(plan, plans) if plan.is_plain else None
        if host is None:
            found[plan] = []
        else:
            guests.append((*host, plan))
    for host_plan, field, plan in guests:
        found[host_plan].append((plan, field))
    return found


def _host(plan: EntityPlan, plans: Sequence[EntityPlan]) -> tuple[EntityPlan, str] | None:
    """A plan whose entity this one narrows down by one field, and that field.

    The last one that can: its features probably stand nearest in the frame.
    """
    for other in reversed(plans):
        fewer = set(other.entity.fields)
        more = [field for field in plan.entity.fields if field not in fewer]
        if len(more) == 1 and fewer < set(plan.entity.fields):
            return other, more[0]
    return None
