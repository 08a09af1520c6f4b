"""A scorer on a real ledger, and requests for it."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from bentos.scoring.bundle import read_bundle, write_bundle
from bentos.scoring.challenge import Challenger
from bentos.scoring.model import ScoringModel
from bentos.scoring.observation_clock import ObservationClock
from bentos.scoring.scorer import Scorer, ScoreRequest
from bentos.scoring.signing import new_signing_keys
from fraud.domain.errors import ModelUnavailable
from fraud.domain.event import Event
from fraud.ledger.audit import claim_chain
from fraud.ledger.engine import connect
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.scoring.builders import a_graph, a_manifest
from tests.feature_store.worlds import START, a_body
from tests.protection import a_protection

_numbers = count(1)


class OneModel:
    """Champions with one model for every fraud type, or with none, and who challenges it."""

    def __init__(self, model: ScoringModel | None, challenger: Challenger | None = None) -> None:
        self._model = model
        self._challenger = challenger

    def challenger(self, fraud_type: str) -> Challenger | None:
        return self._challenger

    def model(self, fraud_type: str) -> ScoringModel:
        if self._model is None:
            raise ModelUnavailable(f"no champion for {fraud_type}")
        return self._model


def a_model(folder: Path) -> ScoringModel:
    """A small signed bundle, written and read back."""
    private, public = new_signing_keys()
    onnx_bytes = a_graph(len(CREDIT_CARD.feature_names))
    write_bundle(folder / "bundle", onnx_bytes, a_manifest(onnx_bytes), private)
    return ScoringModel(read_bundle(folder / "bundle", public, CREDIT_CARD))


class Clock:
    """A clock that moves by a second whenever it is read."""

    def __init__(self, start_us: int = START) -> None:
        self.now_us = start_us

    def __call__(self) -> int:
        self.now_us += 1_000_000
        return self.now_us


@contextmanager
def a_scorer(
    pool: ConnectionPool, model: ScoringModel | None, clock: Clock | None = None
) -> Iterator[Scorer]:
    """A scorer with an audit chain of its own."""
    holder = connect(pool.url)
    try:
        chain = claim_chain(holder, "scorer-test")
        holder.commit()
        yield Scorer(
            pool, OneModel(model), ObservationClock(clock or Clock()), chain, a_protection()
        )
    finally:
        holder.close()


def a_request(
    transaction_id: str | None = None,
    *,
    time_us: int = START,
    amount_minor: int = 12_00,
    seed: int = 0,
    **fields: object,
) -> ScoreRequest:
    body = a_body(random.Random(seed)) | fields
    name = transaction_id or f"TXN_{next(_numbers)}"
    event = Event("credit_card", name, time_us, amount_minor, body)
    digest = hashlib.sha256(repr((time_us, amount_minor, sorted(body.items(), key=str))).encode())
    return ScoreRequest(event, digest.digest(), "tester", "127.0.0.1")
