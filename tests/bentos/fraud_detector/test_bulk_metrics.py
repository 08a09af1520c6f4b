"""Many observations at once count as the same ones do one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from bentos.fraud_detector.bulk_metrics import Histogram, Summary

BOUNDS = (0.001, 0.5, 1, 10)

AMOUNTS = st.lists(
    st.sampled_from([-1.0, 0.0, *BOUNDS]) | st.integers(-50, 50).map(lambda each: each / 4)
)


@given(amounts=AMOUNTS)
def test_observe_all_is_observe_of_each(amounts: list[float]) -> None:
    at_once, one_by_one = CollectorRegistry(), CollectorRegistry()
    for registry in (at_once, one_by_one):
        spread = Histogram("spread", "Bounds matter.", ["kind"], buckets=BOUNDS, registry=registry)
        total = Summary("total", "Sums matter.", ["kind"], registry=registry)
        for each in (spread.labels("a"), total.labels("a")):
            if registry is at_once:
                each.observe_all(amounts)
            else:
                for amount in amounts:
                    each.observe(amount)
    assert samples(at_once) == samples(one_by_one)


def test_labels_must_be_given() -> None:
    registry = CollectorRegistry()
    for metric in (
        Histogram("spread", "It has labels.", ["kind"], registry=registry),
        Summary("total", "It has labels.", ["kind"], registry=registry),
    ):
        with pytest.raises(ValueError, match="label"):
            metric.observe_all([1.0])


def samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }
