"""Account openings: what a table of registrations becomes, and what an application must say."""

import datetime as dt
from pathlib import Path

import pytest
from pydantic import ValidationError

from fraud.domain.errors import InvalidField, MalformedInput
from fraud.types.account_opening import ACCOUNT_OPENING, AccountApplication
from orchestration.sources.files import FileSource
from orchestration.sources.label_validation import check_labels
from orchestration.sources.mapping import load_mapping
from orchestration.sources.validation import check_transactions

EXAMPLE = Path(__file__).parents[3] / "examples" / "aws_registrations.yaml"
NOW = dt.datetime(2026, 4, 1, tzinfo=dt.UTC)

# In the form of aws-fraud-detector-samples' data/registration_data_20K_minimum.csv.
TABLE = """\
ip_address,email_address,EVENT_TIMESTAMP,EVENT_LABEL
192.0.2.7,ann@example.org,2022-05-30T00:00:18Z,legit
192.0.2.9,bob@example.com,2022-05-30T00:00:19Z,fraud
192.0.2.9,bob@example.com,2022-05-30T00:00:20Z,fraud
,cy@example.com,2022-05-30T00:00:21Z,legit
"""


def test_registrations_become_applications_and_labels(tmp_path: Path) -> None:
    (tmp_path / "registrations.csv").write_text(TABLE)
    mapping = load_mapping(EXAMPLE, ACCOUNT_OPENING.transaction)
    [batch] = FileSource(tmp_path / "registrations.csv", mapping).batches()
    [again] = FileSource(tmp_path / "registrations.csv", mapping).batches()
    found = check_transactions(ACCOUNT_OPENING, batch.transactions, NOW)
    rows = found.accepted
    assert rows["amount_minor"].tolist() == [0, 0, 0]
    assert rows["email_domain"].tolist() == ["example.org", "example.com", "example.com"]
    assert rows["ip_network"].unique().tolist() == ["192.0.2"]
    assert rows["transaction_id"].nunique() == 3
    assert again.transactions["transaction_id"].tolist() == (
        batch.transactions["transaction_id"].tolist()
    )
    assert [reason.split()[0] for reason in found.quarantined["reason"]] == ["ip_address"]
    labels = check_labels(batch.labels, NOW).accepted
    assert labels["is_fraud"].tolist() == [True, True]
    assert labels["reported_at"].dt.date.unique().tolist() == [dt.date(2022, 6, 29)]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{column: EMAIL, extract: '@.+'}", "must have one group in parentheses, and has 0"),
        ("{column: EMAIL, extract: '@(.+'}", "is not a regular expression"),
        ("{column: EMAIL, digest_of: [A]}", "give either a column or a constant"),
        ("{digest_of: []}", "at least 1 item"),
    ],
)
def test_a_wrong_origin_is_named(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(f"transaction: {{transaction_id: A, email: B, ip_address: {line}}}")
    with pytest.raises(MalformedInput, match=what):
        load_mapping(path, ACCOUNT_OPENING.transaction)


def test_a_column_of_a_digest_must_exist(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("ip_address,email_address,EVENT_LABEL\n1,2,legit\n")
    mapping = load_mapping(EXAMPLE, ACCOUNT_OPENING.transaction)
    with pytest.raises(InvalidField, match="EVENT_TIMESTAMP"):
        list(FileSource(tmp_path / "other.csv", mapping).batches())


@pytest.mark.parametrize("email", ["no-at-sign", "two words@example.org", "x" * 250 + "@a.example"])
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(ValidationError, match="email"):
        AccountApplication(transaction_id="A1", email=email, ip_address="192.0.2.7")
