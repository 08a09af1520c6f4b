"""The training reference of a champion: a sample of what it was taught, kept by its version.

The training frame is replaced by the next one, the reference is not: it is drawn once.
"""

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bentos.scoring.model import ScoringModel
from fraud.domain.errors import NotFound
from fraud.domain.fraud_type import FraudType
from orchestration.frames import FrameStore

ROWS = 20_000
SEED = 7
EXPLAINED_ROWS = 200
"""Rows whose contributions say how much the model leans on each feature."""


class ReferenceStore:
    """References of a fraud type below an fsspec url.

    Args:
        url: where they are.
        fraud_type: whose.
    """

    def __init__(self, url: str, fraud_type: FraudType) -> None:
        self._fraud_type = fraud_type
        self._fs, self._root = fsspec.core.url_to_fs(url)

    def reference(self, model: ScoringModel, frames: FrameStore) -> pd.DataFrame:
        """Features of events the model was trained on, shape (rows, features).

        Raises:
            NotFound: it was never drawn, and the frame does not hold the days of training.
        """
        path = f"{self._root}/{model.version}.parquet"
        if not self._fs.exists(path):
            rows = self._drawn(model, frames)
            self._fs.makedirs(self._root, exist_ok=True)
            with self._fs.open(path, "wb") as sink:
                pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), sink)
        with self._fs.open(path, "rb") as source:
            found: pd.DataFrame = pq.read_table(source).to_pandas()
        return found

    def _drawn(self, model: ScoringModel, frames: FrameStore) -> pd.DataFrame:
        trained, frame = model.manifest.data_window.train, frames.frame()
        moment = frame["event_time"]
        names = list(self._fraud_type.feature_names)
        rows = frame.loc[(moment >= trained.start) & (moment < trained.end), names]
        if rows.empty:
            raise NotFound(
                f"The frame holds no event of the days {model.version} was trained on.",
                remedy="Materialise `training_frame` over days that include them.",
            )
        return _some(rows, ROWS)


def importance(model: ScoringModel, reference: pd.DataFrame) -> dict[str, float]:
    """How much the model leans on each feature: mean size of its contributions, in log-odds."""
    rows = _some(reference, EXPLAINED_ROWS).to_numpy(np.float64)
    sizes = np.mean([np.abs(model.contributions(row)[1]) for row in rows], axis=0)
    return dict(zip(reference.columns, sizes.tolist(), strict=True))


def _some(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """So many rows at most, in their order, the same each time."""
    return rows.sample(min(most, len(rows)), random_state=SEED).sort_index()
