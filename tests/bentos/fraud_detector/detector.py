"""The whole service on a real socket and a real ledger, in a thread of the test process."""

import itertools
import os
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from bentos.fraud_detector.engine import clock_us
from bentos.fraud_detector.runtime import Runtime
from bentos.scoring.bundle import write_bundle
from fraud.domain.deployment import CHAMPION, Deployment, Stage
from fraud.domain.fraud_type import FraudType
from fraud.ledger.deployments import record_deployment
from fraud.ledger.pool import transaction
from fraud.security.tokens import issue
from fraud.settings import Settings, load_settings
from fraud.types.credit_card import CREDIT_CARD
from fraud.types.registry import fraud_types
from tests.bentos.scoring.builders import a_graph, a_manifest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what BentoML uses of others is deprecated here and there
    from bentos.fraud_detector.service import FraudDetector, api

SCORING = ("fraud_detection",)

LEAST: dict[str, dict[str, Any]] = {
    "account_opening": {"email": "ann@mail.example", "ip_address": "192.0.2.7"},
    "account_takeover": {"user_id": "USER_1", "action": "login", "succeeded": True},
    "ach": {
        "amount": 1_250.0,
        "user_id": "USER_1",
        "sender_id": "ACC_1",
        "receiver_id": "ACC_2",
        "sec_code": "WEB",
        "direction": "credit",
    },
    "credit_card": {
        "amount": 150.0,
        "user_id": "USER_1",
        "merchant_id": "MERCH_1",
        "merchant_category": "electronics",
    },
}
"""All that each type requires, beside its name and a transaction_id."""

_numbers = itertools.count(1)


def a_transaction(transaction_id: str | None = None, **fields: object) -> dict[str, object]:
    """The body of a card payment; only what is required, unless given."""
    return {
        "transaction_id": transaction_id or f"TXN_{next(_numbers)}_{time.time_ns()}",
        "amount": 12.5,
        "user_id": "USER_001",
        "merchant_id": "MERCH_001",
        "merchant_category": "electronics",
        **fields,
    }


def a_body(name: str, transaction_id: str, **fields: object) -> dict[str, object]:
    return {"fraud_type": name, "transaction_id": transaction_id, **LEAST[name], **fields}


def a_token(settings: Settings, scopes: Sequence[str] = SCORING, **changes: Any) -> str:
    """A token of the service's own secret; `changes` are arguments of `issue`."""
    arguments: dict[str, Any] = {
        "secret": settings.jwt_secret,
        "subject": "checkout",
        "scopes": scopes,
        "lifetime_s": 600,
        "issuer": settings.jwt_issuer,
        "audience": settings.jwt_audience,
        "now_s": time.time(),
    }
    return issue(**(arguments | changes))


def promote(
    settings: Settings,
    ledger: str,
    version: str,
    *,
    kind: FraudType = CREDIT_CARD,
    at_us: int | None = None,
    stage: Stage = CHAMPION,
    share: float = 0.0,
    **changes: Any,
) -> Path:
    """Write a signed bundle and deploy it; returns the bundle's folder.

    `changes` are parts of its manifest.
    """
    graph = a_graph(len(kind.feature_names))
    metrics = {"test": {"accuracy": 0.97, "roc_auc": 0.9}}
    manifest = a_manifest(graph, kind, model_version=version, metrics=metrics, **changes)
    folder = settings.bundle_dir / version
    digest = write_bundle(folder, graph, manifest, settings.signing_key_pem)
    deploy(ledger, version, digest, fraud_type=kind.name, at_us=at_us, stage=stage, share=share)
    return folder


def deploy(
    ledger: str,
    version: str,
    digest: str,
    *,
    fraud_type: str = "credit_card",
    at_us: int | None = None,
    stage: Stage = CHAMPION,
    share: float = 0.0,
) -> None:
    """Record a deployment of the bundle in the folder `version`."""
    with transaction(ledger) as cursor:
        record_deployment(
            cursor,
            Deployment(
                fraud_type=fraud_type,
                model_version=version,
                bundle_path=version,
                bundle_digest=digest,
                promoted_by="test",
                reason="because",
                promoted_at_us=at_us or clock_us(),
                stage=stage,
                share=share,
            ),
        )


@dataclass
class Detector:
    """A running service and what a test needs to talk to it."""

    url: str
    settings: Settings
    ledger: str
    client: httpx.Client

    @property
    def runtime(self) -> Runtime:
        runtime: Runtime = api.state.runtime
        return runtime

    def headers(self, scopes: Sequence[str] = SCORING, **changes: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {a_token(self.settings, scopes, **changes)}"}

    def predict(self, body: object = None, **fields: object) -> httpx.Response:
        content = a_transaction(**fields) if body is None else body  # type: ignore[arg-type]
        return self.client.post("/predict", json=content)

    def predict_raw(self, content: bytes, path: str = "/predict") -> httpx.Response:
        return self.client.post(path, content=content, headers={"content-type": "application/json"})

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with transaction(self.ledger) as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {table}")[0][0])

    def look(self) -> None:
        """Let the service see now what it would see within a second."""
        self.runtime.watch.look_once()


def promote_all(detector: Detector) -> None:
    """Give every fraud type a model, named after it."""
    for name, kind in fraud_types().items():
        promote(detector.settings, detector.ledger, f"{name}-1", kind=kind)
    detector.look()


@contextmanager
def running(run_dir: Path, ledger: str, *versions: str, **changes: object) -> Iterator[Detector]:
    """A service in `run_dir` whose ledger holds deployments of these versions, oldest first.

    `changes` are settings; a test asks more often from one address than clients may.
    """
    changes = {"rate_per_address": 1e5, "burst_per_address": 100_000, **changes}
    settings = load_settings(run_dir=run_dir, database_url=ledger, **changes)
    for version in versions:
        promote(settings, ledger, version)
    before = dict(os.environ)
    os.environ.update(FRAUD_RUN_DIR=str(run_dir), DATABASE_URL=ledger)
    for name, value in changes.items():
        os.environ[f"FRAUD_{name.removesuffix('_given').upper()}"] = str(value)
    server = uvicorn.Server(
        uvicorn.Config(
            FraudDetector.to_asgi(),
            host="127.0.0.1",
            port=0,
            log_config=None,
            server_header=False,  # as BentoML runs it
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the service ended while it started"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        token = a_token(settings)
        with httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30
        ) as client:
            yield Detector(url, settings, ledger, client)
    finally:
        server.should_exit = True
        thread.join()
        os.environ.clear()
        os.environ.update(before)
