"""The training frame on disk."""

import dataclasses
import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from fraud.domain.errors import ContractError, NotFound
from fraud.types.credit_card import CREDIT_CARD
from orchestration.frames import FrameInfo
from orchestration.resources import LakeResource

DAY = dt.date(2026, 3, 9)
CUTOFF = dt.datetime(2026, 3, 10, tzinfo=dt.UTC)
ROWS = pd.DataFrame({"amount": [1.5, 2.5]})


def test_a_frame_of_other_features_is_never_learnt_from(tmp_path: Path) -> None:
    """The manifest would carry the running schema, and serving would trust the model."""
    store = LakeResource(url=str(tmp_path)).frames(CREDIT_CARD)
    with pytest.raises(NotFound, match="no training frame yet"):
        store.version()
    info = FrameInfo("credit_card", CREDIT_CARD.schema_hash, DAY, DAY, CUTOFF)
    store.write(ROWS, ROWS, info)
    assert store.info() == info
    assert store.frame()["amount"].tolist() == [1.5, 2.5]
    store.write(ROWS, ROWS, dataclasses.replace(info, schema_hash="of yesterday"))
    for look in (store.version, store.info, store.frame, store.labels):
        with pytest.raises(ContractError, match=r"of yesterday.*`training_frame` again"):
            look()
