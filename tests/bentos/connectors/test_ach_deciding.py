"""Entries decided by a stand-in for the platform: order, actions, deadlines, what is written."""

import csv
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bentos.connectors.ach.deciding import EntryDecision, decide_file
from bentos.connectors.ach.delivery import deliver
from bentos.connectors.ach.file import Fault
from bentos.connectors.ach.reading import read_file
from bentos.connectors.ach.transfers import Accounts, Balances, transaction_of
from bentos.connectors.ach.windows import EASTERN
from bentos.fraud_detector.intake import accept
from fraud.domain.errors import MalformedInput, UnavailableError
from fraud.domain.event import to_us
from tests.bentos.connectors.nacha_files import ABatch, AnEntry, a_file

NINE = dt.datetime(2026, 3, 2, 9, tzinfo=EASTERN)
ACCOUNTS = Accounts("a key of these tests, and of nothing else")


class Platform:
    """Answers by the amount: of 200 dollars block, of 100 review; remembers what was asked."""

    def __init__(self, **changes: object) -> None:
        self.asked: list[str] = []
        self.changes = changes

    def __call__(self, transactions: Sequence[Mapping[str, object]]) -> list[dict[str, Any]]:
        self.asked += [str(each["transaction_id"]) for each in transactions]
        return [self.answer(float(each["amount"])) for each in transactions]  # type: ignore[arg-type]

    def answer(self, amount: float) -> dict[str, Any]:
        action = "block" if amount >= 200 else "review" if amount >= 100 else "approve"
        reply = {
            "recommended_action": action,
            "fraud_probability": min(amount / 250, 1.0),
            "risk_level": {"block": "HIGH", "review": "MEDIUM", "approve": "LOW"}[action],
            "rules": [],
            "decision_id": f"d-{amount}",
            "degraded": False,
        }
        return reply | self.changes


def decided(
    content: bytes, platform: Platform | None = None, now: dt.datetime = NINE, **how: Any
) -> tuple[list[EntryDecision], list[Fault]]:
    return decide_file(read_file(content), platform or Platform(), ACCOUNTS, lambda: now, **how)


def delivered(content: bytes, folder: Path, **how: Any) -> dict[str, Any]:
    decisions, faults = decided(content)
    return deliver(read_file(content), decisions, faults, folder, **how)


def traces(path: Path) -> list[int]:
    """Sequence numbers of the entries of a file; none where it was not written."""
    if not path.exists():
        return []
    return [int(entry.trace[8:]) for _, entry in read_file(path.read_bytes()).entries]


THREE = a_file(
    ABatch([AnEntry(1, amount=500), AnEntry(2, amount=12_500), AnEntry(3, amount=25_000)])
)
"""To approve, to review and to block."""


def test_an_entry_becomes_a_transfer_without_its_account_number() -> None:
    file = read_file(a_file(ABatch([AnEntry(7)])))
    [(batch, entry)] = file.entries
    body = transaction_of(file, batch, entry, ACCOUNTS, Balances())
    assert body == {
        "fraud_type": "ach",
        "transaction_id": "ACH_091000010000007_2603020900A",
        "timestamp": "2026-03-02T09:00:00-05:00",
        "amount": 125.0,
        "user_id": "1234567890",
        "sender_id": ACCOUNTS.name("011401533", "0123456789"),  # a debit pulls from there
        "receiver_id": ACCOUNTS.name("09100001", "1234567890"),
        "sec_code": "PPD",
        "direction": "debit",
        "same_day": False,
    }
    assert "0123456789" not in json.dumps(body)
    assert accept(body, to_us(NINE)).event.amount_minor == 12_500


def test_names_of_accounts_depend_on_the_key_and_not_on_how_numbers_are_written() -> None:
    assert ACCOUNTS.name("011401533", "01-234 567") == ACCOUNTS.name("011401533", "01234567")
    assert ACCOUNTS.name("011401533", "1") != ACCOUNTS.name("021000021", "1")
    assert ACCOUNTS.name("011401533", "1") != Accounts("another").name("011401533", "1")


def test_balances_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "balances.csv"
    path.write_text("routing_number,account_number,balance\n011401533,0123456789,130.25\n")
    file = read_file(a_file())
    [(batch, entry)] = file.entries
    body = transaction_of(file, batch, entry, ACCOUNTS, Balances.read(path, ACCOUNTS))
    assert body["sender_balance"] == 130.25
    assert "receiver_balance" not in body
    path.write_text("routing_number,account_number,balance\n011401533,1,much\n")
    with pytest.raises(MalformedInput, match=r"Line 2 .* has the balance 'much'"):
        Balances.read(path, ACCOUNTS)
    path.write_text("account,balance\n1,2\n")
    with pytest.raises(MalformedInput, match="lacks one of the columns routing_number"):
        Balances.read(path, ACCOUNTS)


def test_the_nearest_deadline_is_decided_first() -> None:
    content = a_file(
        ABatch([AnEntry(1)]),
        ABatch([AnEntry(2)], descriptive_date="SD1800"),
        ABatch([AnEntry(3)], descriptive_date="SD1300"),
    )
    platform = Platform()
    decisions, _ = decided(content, platform)
    assert [name[18] for name in platform.asked] == ["3", "2", "1"]
    assert [each.line for each in decisions] == sorted(each.line for each in decisions)
    assert [each.deadline[11:16] for each in decisions] == ["", "16:45", "10:30"]


@pytest.mark.parametrize(
    ("now", "late"),
    [
        (NINE, ""),
        (NINE.replace(hour=10, minute=21), "leaves after 10:30 Eastern"),  # 10 minutes ahead
        (NINE.replace(hour=15), "leaves after 10:30 Eastern"),
        (NINE.replace(day=1), "no same-day window is left today"),  # a Sunday
    ],
)
def test_a_deadline_that_cannot_be_met_is_said(now: dt.datetime, late: str) -> None:
    content = a_file(ABatch([AnEntry(1)], descriptive_date="SD1300"))
    [decision], _ = decided(content, now=now)
    assert decision.late == late
    assert decision.action == "review"


@pytest.mark.parametrize(
    ("batch", "is_same_day"),
    [
        (ABatch(effective="260302"), True),
        (ABatch(effective="260303"), False),
        (ABatch(effective="260303", descriptive_date="SD1300"), True),
        (ABatch([AnEntry(1, amount=100_000_001)], effective="260302"), False),  # above the limit
        (ABatch(effective="260302", sec_code="ENR"), False),
    ],
)
def test_what_settles_on_the_same_day(batch: ABatch, is_same_day: bool) -> None:
    [decision], _ = decided(a_file(batch))
    assert bool(decision.deadline) is is_same_day


def test_blocked_entries_are_taken_out_and_reviewed_ones_wait(tmp_path: Path) -> None:
    summary = delivered(THREE, tmp_path)
    assert traces(tmp_path / "released.ach") == [1]
    assert traces(tmp_path / "review.ach") == [2]
    assert summary["actions"] == {"approve": 1, "block": 1, "review": 1}
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    lines = (tmp_path / "decisions.jsonl").read_text().splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["approve", "review", "block"]
    with (tmp_path / "decisions.csv").open() as file:
        assert [row["released"] for row in csv.DictReader(file)] == ["True", "False", "False"]


def test_reviews_may_go_on_where_that_is_asked_for(tmp_path: Path) -> None:
    delivered(THREE, tmp_path, releases_reviews=True)
    assert traces(tmp_path / "released.ach") == [1, 2]
    assert traces(tmp_path / "review.ach") == []


def test_a_balanced_batch_is_held_back_whole(tmp_path: Path) -> None:
    pushed = [AnEntry(1, code="22", amount=500), AnEntry(2, code="22", amount=25_000)]
    offset = AnEntry(3, code="27", amount=25_500)
    alone = ABatch([AnEntry(4, amount=500)])
    summary = delivered(a_file(ABatch([*pushed, offset]), alone), tmp_path)
    assert traces(tmp_path / "released.ach") == [4]
    assert summary["held_to_keep_batches_balanced"] == 1
    assert traces(tmp_path / "review.ach") == [1]


def test_a_degraded_approval_waits_for_people_and_a_block_stays_one() -> None:
    decisions, _ = decided(THREE, Platform(degraded=True))
    assert [each.action for each in decisions] == ["review", "review", "block"]
    assert {each.reason for each in decisions} == {"degraded"}


def test_what_the_platform_refuses_is_quarantined_and_never_released(tmp_path: Path) -> None:
    problem = {"status": 409, "detail": "It was decided before with another body."}
    platform = Platform()
    answer = platform.answer
    platform.answer = lambda amount: {"error": problem} if amount == 5 else answer(amount)  # type: ignore[method-assign]
    decisions, faults = decided(THREE, platform)
    assert [(fault.line, fault.problem) for fault in faults] == [(3, problem["detail"])]
    deliver(read_file(THREE), decisions, faults, tmp_path)
    assert not (tmp_path / "released.ach").exists()
    assert traces(tmp_path / "review.ach") == [2]
    assert json.loads((tmp_path / "quarantine.jsonl").read_text())["line"] == 3


def test_a_platform_that_is_away_decides_nothing() -> None:
    away = Platform(error={"status": 503, "detail": "The ledger does not answer."})
    with pytest.raises(UnavailableError, match="The ledger does not answer"):
        decided(THREE, away)


def test_results_are_replaced_whole_and_the_summary_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered(THREE, tmp_path)
    before = (tmp_path / "released.ach").read_bytes()
    replace = Path.replace

    def killed(draft: Path, target: Path) -> Path:
        if target.name == "decisions.csv":
            raise KeyboardInterrupt
        return replace(draft, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            delivered(THREE, tmp_path, releases_reviews=True)
    assert not (tmp_path / "summary.json").exists(), "nothing says that it is complete"
    delivered(THREE, tmp_path)
    assert (tmp_path / "released.ach").read_bytes() == before
