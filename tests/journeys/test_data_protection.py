"""Card numbers and sensitive fields sent through every door, and every store searched for them."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg2 import sql
from rich.console import Console

from bentos.fraud_detector.engine import clock_us
from bentos.scoring.continuity import Fallback
from bentos.scoring.journal import Journal
from bentos.scoring.scorer import ScoreRequest
from fraud.domain.decision import Decision
from fraud.domain.errors import LedgerUnavailable
from fraud.domain.event import Event
from fraud.ledger.audit_check import verify
from fraud.ledger.engine import connect
from fraud.ledger.pool import transaction
from fraud.ledger.schema import migrate
from fraud.security.masking import masked
from fraud.types.credit_card import CREDIT_CARD
from orchestration.ingest import ingest_file
from tests.bentos.fraud_detector.detector import Detector, a_transaction, running
from tests.bentos.fraud_detector.operations.office import get, ok, post
from tests.servers import temporary_run_dir

CARDS = ("4111111111111111", "5555-5555-5555-4444", "3782.822463.10005", "6011_1111_1111_1117")
SECRETS = ("DEVICE-SECRET-1", "192.0.2.77", "ann.secret@example.org", "ACCOUNT-SECRET-9")
CSV = """id,at,eur,u,m,device,bad
F1,2020-05-01,1.50,u1,m1,DEVICE-SECRET-1,1
F2,2020-05-02,1.50,4111111111111111,m1,,0
F3,2020-05-02,oops,u1,m1,DEVICE-SECRET-1,0
F4,2020-05-03,2.50,u1,m 5555 5555 5555 4444,,0
"""
MAPPING = """
transaction: {transaction_id: id, timestamp: at, amount: eur, user_id: u, merchant_id: m,
  device_id: device, merchant_category: {constant: fuel}}
label: {is_fraud: bad, report_delay: 7d}
"""


@pytest.fixture(scope="module")
def run_dir() -> Iterator[Path]:
    with temporary_run_dir() as folder:
        yield folder


@pytest.fixture(scope="module")
def detector(run_dir: Path, ledger_url: str) -> Iterator[Detector]:
    migrate(ledger_url)
    file = logging.FileHandler(run_dir / "service.log")
    root = logging.getLogger()
    before = root.level
    root.addHandler(file)
    root.setLevel(logging.DEBUG)
    try:
        with running(run_dir, ledger_url, "v1") as service:
            yield service
    finally:
        root.removeHandler(file)
        root.setLevel(before)
        file.close()


def everything_stored(detector: Detector) -> dict[str, bytes]:
    """The bytes of every store: all rows of all tables as text, all files of the run folder."""
    found: dict[str, bytes] = {}
    with transaction(detector.ledger) as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table)))
            found[f"table {table}"] = "\n".join(row for (row,) in cursor.fetchall()).encode()
    for path in detector.settings.run_dir.rglob("*"):
        if path.is_file() and "secrets" not in path.parts and "pg" not in path.parts:
            found[str(path)] = path.read_bytes()
    return found


def readable(name: str, content: bytes) -> bytes:
    """What a reader makes of a file: the cells of a Parquet file are compressed."""
    if not name.endswith(".parquet"):
        return content
    import pyarrow.parquet as pq

    return content + repr(pq.read_table(name).to_pydict()).encode()


def assert_nowhere(detector: Detector, *needles: str) -> None:
    stores = everything_stored(detector)
    assert any(name.endswith(".parquet") for name in stores)
    assert stores["table transactions"]
    for name, content in stores.items():
        text = readable(name, content)
        for needle in needles:
            assert needle.encode() not in text, f"{needle} is in {name}"


def digits(card: str) -> str:
    return "".join(each for each in card if each.isdigit())


@pytest.fixture(scope="module")
def told(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """Secrets were sent through every door, and all were answered."""
    for field in ("transaction_id", "user_id", "merchant_id", "merchant_category", "device_id"):
        for card in CARDS:
            answer = detector.predict(**{field: card})
            assert answer.status_code == 422, answer.text
            assert answer.json()["errors"][0]["field"] == field
            assert card not in answer.text
    batch = [a_transaction(), a_transaction(CARDS[0]), a_transaction(user_id=CARDS[1])]
    predictions = detector.client.post("/batch-predict", json={"transactions": batch})
    assert [("error" in each) for each in predictions.json()["predictions"]] == [False, True, True]
    assert not any(card in predictions.text for card in CARDS)
    for body in (
        b'{"transaction_id":"T","cvv":"123","card_number":"4111111111111111"}',
        b'{"4111111111111111":1}',
        b'{"4111111111111111":1,"4111111111111111":2}',
        b'{"transaction_id": 4111111111111111}',
    ):
        answer = detector.predict_raw(body)
        assert answer.status_code in (400, 422)
        assert CARDS[0] not in answer.text
    fine = ok(detector.predict(device_id="DEVICE-SECRET-1", user_id="u1", amount=90_000.0))
    ok(detector.predict(**an_application()))
    ok(detector.predict(**a_transfer()))
    case = f"/cases/{fine['decision_id']}/comments"
    for card in CARDS:
        for path, sent in (
            (case, {"text": f"He paid with {card}."}),
            ("/rules", a_rule(f'user_id == "{card}"')),
            ("/lists", {"name": "l", "kind": "deny", "field": "user_id", "description": card}),
            ("/labels", {"labels": [{"transaction_id": card, "is_fraud": True, "source": "x"}]}),
        ):
            answer = post(detector, path, sent)
            assert answer.status_code == 422, answer.text
            assert card not in answer.text
        for path in (f"/transactions/{card}/decision", f"/cases/{card}", f"/{card}"):
            answer = get(detector, path)
            assert answer.status_code == 404
            assert card not in answer.text
        detector.client.get("/health", params={"q": card}, headers={"x-note": card})
        logging.getLogger("fraud.detector").error("somebody sent %s", card)
    ingest(detector, tmp_path_factory.mktemp("files"))
    journal(detector)
    return detector


def an_application() -> dict[str, Any]:
    return {
        "body": {
            "fraud_type": "account_opening",
            "transaction_id": "APP_1",
            "email": "ann.secret@example.org",
            "ip_address": "192.0.2.77",
            "device_id": "DEVICE-SECRET-1",
        }
    }


def a_transfer() -> dict[str, Any]:
    return {
        "body": {
            "fraud_type": "ach",
            "transaction_id": "ACH_1",
            "amount": 10.0,
            "user_id": "u1",
            "sender_id": "ACCOUNT-SECRET-9",
            "receiver_id": "ACCOUNT-SECRET-9",
            "sec_code": "WEB",
            "direction": "credit",
        }
    }


def a_rule(expression: str) -> dict[str, str]:
    return {"code": "CARD", "text": "A rule.", "level": "HIGH", "expression": expression}


def ingest(detector: Detector, folder: Path) -> None:
    file, mapping = folder / "cards.csv", folder / "cards.yaml"
    file.write_text(CSV)
    mapping.write_text(MAPPING)
    log = folder / "ingest.log"
    with log.open("w") as shown:
        ingest_file(
            detector.settings, "credit_card", file, mapping, console=Console(file=shown, width=200)
        )
    (detector.settings.run_dir / "ingest.log").write_text(log.read_text())


def journal(detector: Detector) -> None:
    """A decision that waits for its ledger, in a journal that nobody brings home."""
    runtime = detector.runtime
    kept = Journal(detector.settings.run_dir / "waiting", 10**6, runtime.protection.keys)
    fallback = Fallback({"credit_card": CREDIT_CARD}, runtime.engine.rulesets, kept, clock_us)
    fields = {"user_id": "u1", "merchant_id": "m1", "device_id": "DEVICE-SECRET-1"}
    event = Event("credit_card", "JOURNALLED", 1_700_000_000_000_000, 100, fields)
    request = ScoreRequest(event, b"digest", "checkout", "127.0.0.1")
    [answer] = fallback.answer([request], LedgerUnavailable("away"))
    assert isinstance(answer, Decision)


def test_no_card_number_reaches_any_store(told: Detector) -> None:
    assert_nowhere(told, *CARDS, *(digits(card) for card in CARDS))


def test_no_sensitive_value_reaches_any_store(told: Detector) -> None:
    assert_nowhere(told, *SECRETS)


def test_what_was_masked_can_still_be_told(told: Detector) -> None:
    log = (told.settings.run_dir / "service.log").read_text()
    assert masked(CARDS[0]) in log
    rows = told.rows("SELECT row_number, raw, reason FROM quarantine ORDER BY row_number")
    assert [row[0] for row in rows] == [2, 3, 4]
    assert rows[0][1]["user_id"] == masked(CARDS[0])
    assert rows[0][2].startswith("user_id holds a card number")
    assert rows[1][1]["device_id"].startswith("~")


def test_who_may_read_a_decision_sees_what_was_sent(told: Detector) -> None:
    for name, field, value in (
        ("APP_1", "email", "ann.secret@example.org"),
        ("ACH_1", "sender_id", "ACCOUNT-SECRET-9"),
    ):
        shown = ok(get(told, f"/transactions/{name}/decision"))
        assert shown["fields"][field] == value


def test_the_lake_and_the_ledger_tell_of_one_device(told: Detector) -> None:
    """What came by file and what came by request have one pseudonym, and so one history."""
    device = told.runtime.protection.pseudonym("device_id", "DEVICE-SECRET-1")
    [(known,)] = told.rows(
        "SELECT count(DISTINCT fields->>'device_id') FROM transactions "
        "WHERE fields->>'device_id' IS NOT NULL"
    )
    assert known == 1
    stores = everything_stored(told)
    assert any(
        device.encode() in readable(name, content)
        for name, content in stores.items()
        if name.endswith(".parquet")
    )
    assert f"credit_card device {device}".encode() in stores["table entity_state"]


def test_the_audit_log_is_whole(told: Detector) -> None:
    connection = connect(told.ledger)
    try:
        assert verify(connection).is_intact
    finally:
        connection.close()
