"""ACH: which returns are fraud, and how a bank's own table becomes transfers and labels."""

import datetime as dt
from pathlib import Path

import yaml

from fraud.types.ach import ACH, RETURN_CODES
from orchestration.sources.files import FileSource
from orchestration.sources.label_validation import check_labels
from orchestration.sources.mapping import load_mapping
from orchestration.sources.validation import check_transactions

EXAMPLE = Path(__file__).parents[3] / "examples" / "ach.yaml"
NOW = dt.datetime(2026, 4, 1, tzinfo=dt.UTC)

TABLE = """\
trace_number,entered_at,amount_cents,company_id,debited_account,credited_account,sec_code,\
transaction_code,same_day,return_code,returned_at
T1,2026-03-02 09:30:00,125050,C1,A1,A2,PPD,27,no,,
T2,2026-03-02 09:31:00,99,C1,A3,A2,CCD,27,yes,R29,2026-03-04 08:00:00
T3,2026-03-02 09:32:00,5000,C1,A4,A2,WEB,37,no,R01,2026-03-04 08:00:00
T4,2026-03-02 09:33:00,7000,C2,A5,A6,WEB,22,no,R77,2026-03-04 08:00:00
"""


def test_the_unauthorised_returns_are_fraud_and_no_others() -> None:
    assert [code for code, meaning in RETURN_CODES.items() if meaning.is_fraud] == [
        *("R05", "R07", "R10", "R11", "R29"),
    ]
    assert list(RETURN_CODES) == [f"R{number:02d}" for number in range(1, 30)]


def test_the_example_mapping_reads_returns_as_the_type_does() -> None:
    label = yaml.safe_load(EXAMPLE.read_text())["label"]
    says = {code: meaning.is_fraud for code, meaning in RETURN_CODES.items()}
    assert label["is_fraud"]["map"] == says


def test_a_table_of_entries_becomes_transfers_and_labels(tmp_path: Path) -> None:
    (tmp_path / "entries.csv").write_text(TABLE)
    mapping = load_mapping(EXAMPLE, ACH.transaction)
    [batch] = FileSource(tmp_path / "entries.csv", mapping).batches()
    found = check_transactions(ACH, batch.transactions, NOW)
    assert found.quarantined.empty
    transfers = found.accepted.set_index("transaction_id")
    assert transfers["amount_minor"].tolist() == [125_050, 99, 5_000, 7_000]
    assert transfers["direction"].tolist() == ["debit", "debit", "debit", "credit"]
    # New York is five hours behind UTC until the eighth of March.
    assert transfers.loc["T1", "event_time"].hour == 14
    labels = check_labels(batch.labels, NOW)
    said = labels.accepted.set_index("transaction_id")["is_fraud"]
    assert dict(said) == {"T2": True, "T3": False}
    [refused] = labels.quarantined["reason"]
    assert "is_fraud 'R77'" in refused
