"""States built from a whole history equal states replayed one event at a time, as bytes."""

import pytest

from feature_store.batch import type_layout
from feature_store.columns import History
from feature_store.replay import Replay
from fraud.types.credit_card import CREDIT_CARD
from tests.feature_store.worlds import a_log, frames, states_by_online


@pytest.mark.parametrize(("seed", "size"), [(1, 60), (2, 60), (3, 400), (4, 1), (5, 0)])
def test_bytes_are_those_of_a_replay_event_by_event(seed: int, size: int) -> None:
    log = a_log(seed, size)
    events, labels = frames(log)
    replay = Replay(
        type_layout("credit_card"),
        History(CREDIT_CARD, events, labels),
        events["transaction_id"].tolist(),
    )
    found = {
        each.key: each.state
        for name in type_layout("credit_card").plans
        for each in replay.entities(name)
    }
    assert found == states_by_online(log)
