"""The pieces of the serving benchmark: what it counts, and what it compares with."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import xgboost as xgb

from benchmarks import serving_load, serving_servers
from benchmarks.serving_bench import Bench, Extent
from benchmarks.serving_growth import grow
from benchmarks.serving_load import OWN_CLIENT, figures, load, write_bodies
from benchmarks.serving_plan import Figures, Plan
from benchmarks.serving_servers import Server, family
from benchmarks.serving_tutorial import MODEL_FILE, row_of
from benchmarks.serving_verdict import compared, ratios, verdicts
from fraud.domain.errors import FraudError
from fraud.ledger.decisions import insert_decisions
from fraud.ledger.pool import transaction
from fraud.settings import Settings, load_settings
from fraud.types.credit_card import CreditCardTransaction
from tests.fraud.ledger.builders import a_record
from tests.servers import temporary_run_dir

BODY = (
    '{"transaction_id": "TXN_%s", "amount": 12.5, "user_id": "USER_1", "merchant_id": "MERCH_1",'
    ' "merchant_category": "fuel", "timestamp": "2026-01-02T03:04:05Z"}'
)


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    with temporary_run_dir() as folder:
        rows = pd.DataFrame([row_of(CreditCardTransaction.model_validate_json(BODY % 1))] * 4)
        model = xgb.XGBClassifier(n_estimators=2)
        model.fit(rows, [0, 1, 0, 1])
        model.save_model(folder / MODEL_FILE)
        yield load_settings(run_dir=folder, workers=1)


@pytest.fixture(scope="module", params=["echo", "tutorial"])
def server(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Server]:
    chosen = (
        serving_servers.echo(settings)
        if request.param == "echo"
        else serving_servers.tutorial(settings, settings.run_dir)
    )
    with chosen as started:
        yield started
        everyone = family(started.pid)
    assert not [pid for pid in everyone if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize(("connections", "rate"), [(4, 0.0), (0, 50.0)])
def test_every_request_is_sent_once_and_counted(
    server: Server,
    connections: int,
    rate: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving_load, "closed_loop_tool", lambda: OWN_CLIENT)
    bodies = write_bodies(tmp_path / "bodies", [*(BODY % n for n in range(19)), '{"amount": 1}'])
    found = load(Plan(server.port, "/predict", bodies, "", connections, 5.0, rate), tmp_path)
    # The last body lacks its fields: it is refused, and a refusal is no answer.
    assert (found.answered, found.errors, len(found.latencies_us)) == (19, 1, 19)


def test_a_slice_says_that_its_requests_ran_out_and_sends_none_twice(
    server: Server, tmp_path: Path
) -> None:
    bodies = iter([BODY % n for n in range(30)])
    bench = Bench(bodies, tmp_path, Extent(requests=20, slice_s=1.0), seed=1)
    ours = replace(server, name="ours")
    sent = [bench.slice(ours, 4, rate=rate) for rate in (0.0, 400.0)]
    assert [found.ran_out for found in sent] == [True, True]
    assert sum(found.answered for found in sent) <= 30
    with pytest.raises(FraudError, match="no requests left"):
        bench.slice(ours, 4)


def test_what_a_slice_did_not_send_is_left_for_the_next_one(server: Server, tmp_path: Path) -> None:
    bodies = iter([BODY % n for n in range(30)])
    bench = Bench(bodies, tmp_path, Extent(requests=30, slice_s=1.0), seed=1)
    found = bench.slice(replace(server, name="ours"), 0, rate=5.0)
    assert not found.ran_out
    assert found.errors == 0
    left = bench.slice(replace(server, name="ours"), 0, rate=400.0)
    assert (left.ran_out, found.answered + left.answered) == (True, 30)


def test_runs_are_put_together() -> None:
    runs = [Figures(1.0, 2, 0, [1000, 3000]), Figures(1.0, 4, 1, [2000] * 4)]
    assert figures(runs) == {
        "req_s": 3.0,
        "p50_ms": 2.0,
        "p99_ms": 2.95,  # between the fifth and the sixth of six
        "requests": 6,
        "errors": 1,
    }


def test_the_verdict_names_what_is_missed() -> None:
    fast = {"req_s": 900.0, "p50_ms": 3.0, "p99_ms": 10.0, "errors": 0}
    slow = {"req_s": 300.0, "p50_ms": 50.0, "p99_ms": 100.0, "errors": 0}
    kinds = ("c1", "c16", "c64", "open")
    report = {
        "ours": dict.fromkeys(kinds, fast),
        "echo": {kind: {**fast, "req_s": 1000.0} for kind in kinds},
        "tutorial": dict.fromkeys(kinds, slow),
    }
    found = ratios(report)
    assert found == {
        "ours_to_echo_c64": 0.9,
        "ours_to_tutorial_c64": 3.0,
        "p99_ours_to_tutorial_c64": 0.1,
    }
    whole = {"batch_tx_s": 3999, "rss_largest_worker_mb": 200.0, "errors": 0}
    goals = verdicts({**report, **found, **whole, "degraded_decisions": 0})
    assert [goal for goal, is_met in goals.items() if not is_met] == [
        "batches of 500 >= 4,000 tx/s"
    ]
    json.dumps(goals)


def test_a_ledger_is_filled_with_rows_that_are_whole(new_ledger: Callable[[], str]) -> None:
    url = new_ledger()
    with transaction(url) as cursor:
        insert_decisions(cursor, [a_record() for _ in range(3)])
    assert list(grow(url, 10)) == [6, 9, 12]
    with transaction(url) as cursor:
        cursor.execute(
            """
            SELECT count(*), count(DISTINCT seq), count(DISTINCT decision_id),
                count(DISTINCT fields)
            FROM transactions JOIN decisions USING (transaction_id, fraud_type)
            """
        )
        assert cursor.fetchall() == [(12, 12, 12, 1)]


def test_growth_is_held_against_echo() -> None:
    before = {
        "ours": {"c64": {"req_s": 1000.0, "p99_ms": 50.0}},
        "echo": {"c64": {"req_s": 2000.0, "p99_ms": 20.0}},
    }
    after = {
        "ours": {"req_s": 450.0, "p99_ms": 110.0},
        "echo": {"req_s": 1000.0, "p99_ms": 40.0},
    }
    found = compared(before, after, 10)
    assert found == {"rows": 10, "req_s": 450.0, "req_s_share": 0.9, "p99_share": 1.1}
