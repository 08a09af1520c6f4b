"""How histories are cut: entities stay whole, sizes stay within limits."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.partitions import (
    BUCKETS,
    buckets,
    cut,
    entityless,
    pack,
    partitionings,
    restricted,
)
from fraud.domain.aggregates import Aggregate, Lifetime
from fraud.domain.errors import ContractError
from fraud.domain.features import Feature
from fraud.domain.fraud_type import FraudType
from fraud.types.registry import fraud_types
from tests.feature_store.specimen import SPECIMEN


@dataclass(frozen=True)
class LifetimeShare(Feature):
    """Of several entities, as the interface allows."""

    shares: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "_per_".join(self.shares)

    def aggregates(self) -> tuple[Aggregate, ...]:
        return tuple(Lifetime(entity) for entity in self.shares)


def with_feature(*entities: str):
    return replace(SPECIMEN, features=(*SPECIMEN.features, LifetimeShare(shares=entities)))


@pytest.mark.parametrize("kind", fraud_types().values(), ids=list(fraud_types()))
def test_every_feature_is_computed_once_and_finds_its_entities_complete(kind: FraudType) -> None:
    fields = {entity.name: set(entity.fields) for entity in kind.entities}
    cuttings = partitionings(kind)
    places = [place for cutting in cuttings for place in cutting.places]
    assert sorted([*places, *entityless(kind)]) == list(range(len(kind.features)))
    for cutting in cuttings:
        for aggregate in restricted(kind, cutting.places).aggregates:
            assert set(cutting.fields) <= fields[aggregate.entity]


def test_pairs_stay_together_by_one_of_their_fields() -> None:
    assert {cutting.fields for cutting in partitionings(SPECIMEN)} == {
        ("user_id",),
        ("merchant_id",),
        ("device_id",),
    }


def test_a_feature_of_two_entities_goes_where_both_are_complete() -> None:
    cuttings = partitionings(with_feature("user_merchant", "user"))
    place = len(SPECIMEN.features)
    assert [cutting.fields for cutting in cuttings if place in cutting.places] == [("user_id",)]


def test_a_feature_of_entities_that_share_no_field_is_refused() -> None:
    with pytest.raises(ContractError, match="user_per_merchant needs merchant and user"):
        partitionings(with_feature("user", "merchant"))


def test_buckets_follow_the_key_alone_and_spread_events_without_one() -> None:
    events = pd.DataFrame(
        {
            "seq": np.arange(1000) * 65_536,  # what a plain remainder would put in one bucket
            "user_id": pd.array(["u1", None] * 500, "string[pyarrow]"),
            "device_id": pd.array(["d"] * 1000, "string[pyarrow]"),
        }
    )
    for fields in (["user_id"], ["device_id", "user_id"]):
        found = buckets(events, fields)
        assert len(set(found[::2])) == 1
        assert len(set(found[1::2])) > 480
    assert buckets(events.head(1), ["user_id"])[0] == 59_210, "the hash is the same everywhere"


@given(
    counts=st.lists(st.integers(0, 50), min_size=1, max_size=200),
    limit=st.integers(50, 120),
)
def test_packed_partitions_hold_at_most_the_limit_and_are_half_full(
    counts: list[int], limit: int
) -> None:
    numbers = pack(np.array(counts), limit)
    sizes = np.bincount(numbers, weights=counts)
    assert sizes.max() <= limit
    assert (np.diff(numbers) >= 0).all()
    assert (sizes[:-1] + sizes[1:] > limit).all(), "else two neighbours would be one"
    assert len(sizes) <= BUCKETS


@given(
    rows=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    limit=st.integers(1, 60),
)
def test_ranges_cover_every_row_once_in_order(rows: list[int], limit: int) -> None:
    days = [(f"2026-01-{day + 1:02}", count) for day, count in enumerate(rows)]
    ranges = cut(days, limit)
    covered = [
        (part.day, row) for each in ranges for part in each for row in range(part.begin, part.end)
    ]
    assert covered == [(day, row) for day, count in days for row in range(count)]
    assert max(sum(map(len, each)) for each in ranges) <= limit
