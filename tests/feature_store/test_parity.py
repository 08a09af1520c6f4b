"""The naive oracle, the offline frame and the online states agree bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud.domain import windows
from fraud.domain.fraud_type import FraudType
from fraud.types.registry import fraud_types
from tests.feature_store.specimen import SPECIMEN
from tests.feature_store.worlds import a_log, by_offline, by_online, by_oracle

KINDS = {**fraud_types(), SPECIMEN.name: SPECIMEN}
EVERY_DECLARED_TYPE = pytest.mark.parametrize("name", sorted(fraud_types()))


def assert_same_bits(found: np.ndarray, wanted: np.ndarray, kind: FraudType = SPECIMEN) -> None:
    """Equal as bytes, not merely close; says which feature differs first."""
    for place, name in enumerate(kind.feature_names):
        different = np.flatnonzero(found[:, place].view("i8") != wanted[:, place].view("i8"))
        assert different.size == 0, (
            f"{name} differs at row {different[0]}: "
            f"{found[different[0], place]!r} != {wanted[different[0], place]!r}"
        )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), batch_size=st.sampled_from([1, 3, 50]))
def test_three_executions_agree_on_adversarial_logs(seed: int, batch_size: int) -> None:
    log = a_log(seed, kind=SPECIMEN)
    wanted = by_oracle(log) + 0.0  # -0.0 and 0.0 are one value
    assert_same_bits(by_offline(log) + 0.0, wanted)
    assert_same_bits(by_online(log, batch_size) + 0.0, wanted)


@EVERY_DECLARED_TYPE
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), batch_size=st.sampled_from([1, 3, 50]))
def test_they_agree_on_every_declared_fraud_type(name: str, seed: int, batch_size: int) -> None:
    kind = fraud_types()[name]
    log = a_log(seed, kind=kind)
    wanted = by_oracle(log) + 0.0
    assert_same_bits(by_offline(log) + 0.0, wanted, kind)
    assert_same_bits(by_online(log, batch_size) + 0.0, wanted, kind)


@pytest.mark.parametrize("name", sorted(KINDS))
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_they_agree_where_no_event_is_late(name: str, seed: int) -> None:
    """The short way of the compiled loops, which late events close to the entity they concern."""
    kind = KINDS[name]
    log = a_log(seed, size=150, kind=kind, latenesses=(0,))
    wanted = by_oracle(log) + 0.0
    assert_same_bits(by_offline(log) + 0.0, wanted, kind)


@EVERY_DECLARED_TYPE
def test_their_long_histories_agree_too(name: str) -> None:
    kind = fraud_types()[name]
    log = a_log(11, size=300, kind=kind)
    assert_same_bits(by_online(log, 8), by_offline(log), kind)


def test_long_histories_outgrow_every_memory() -> None:
    log = a_log(7, size=400, kind=SPECIMEN)
    assert_same_bits(by_online(log, 8), by_offline(log))


def test_an_off_by_one_in_a_hop_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    log = a_log(3, kind=SPECIMEN)
    wanted = by_oracle(log)
    true_hop = windows.hop_us
    monkeypatch.setattr(windows, "hop_us", lambda length_us: true_hop(length_us) + 1_000_000)
    with pytest.raises(AssertionError, match="differs"):
        assert_same_bits(by_offline(log), wanted)
