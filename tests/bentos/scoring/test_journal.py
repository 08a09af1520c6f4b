"""The journal on a real disk: what is in it, after whatever happened to it."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bentos.scoring.journal import Journal
from bentos.scoring.journal_entry import JournalEntry, decode, encode
from fraud.domain.decision import Decision, Reason
from fraud.domain.errors import ContractError, JournalUnavailable
from fraud.domain.rules import RiskLevel
from tests.bentos.scoring.worlds import a_request
from tests.protection import a_protection

PLENTY = 1_000_000
KEYS = a_protection().keys


def an_entry(transaction_id: str | None = None) -> JournalEntry:
    request = a_request(transaction_id)
    return JournalEntry(
        request,
        Decision(
            transaction_id=request.event.transaction_id,
            decision_id=f"decision of {request.event.transaction_id}",
            fraud_type="credit_card",
            fraud_probability=0.1 + 0.2,  # no short decimal
            risk_level=RiskLevel.MEDIUM,
            reasons=(Reason("CODE", "A “text”\n", "amount", 1.0, -0.0),),
            rules=("R1", "R2"),
            model_version="none",
            policy_version="p",
            degraded=True,
            scored_at_us=1_774_000_000_000_001,
            shadow_rules=("S",),
            rules_version=3,
        ),
    )


def a_journal(folder: Path, max_bytes: int) -> Journal:
    return Journal(folder, max_bytes, KEYS)


def append(journal: Journal, *entries: JournalEntry) -> None:
    with journal.held():
        journal.append(entries)


def the_file(folder: Path) -> Path:
    return folder / "decisions.jsonl"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size`: the disk is full, to whoever writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_holds_all_of_an_entry() -> None:
    entry = an_entry()
    line = encode(entry, KEYS)
    assert line.count(b"\n") == 1
    assert decode(line, KEYS) == entry


@pytest.mark.parametrize("damage", [b"\xff", b"", b"{}", b"null", b"[1]"])
def test_a_damaged_line_is_recognised(damage: bytes) -> None:
    line = encode(an_entry(), KEYS)
    with pytest.raises(ContractError):
        decode(damage if len(damage) != 1 else line[:120] + damage + line[121:], KEYS)
    other = b"B" if line[-9:-8] == b"A" else b"A"
    with pytest.raises(ContractError, match="altered"):
        decode(line[:-9] + other + line[-8:], KEYS)


def test_a_line_shows_nothing_of_what_was_asked() -> None:
    line = encode(an_entry("TXN_SECRET"), KEYS)
    assert b"TXN_SECRET" not in line
    assert b"credit_card" not in line
    assert line.startswith(KEYS.newest.encode() + b":")


def test_what_one_worker_appends_another_finds(tmp_path: Path) -> None:
    mine, yours = a_journal(tmp_path, PLENTY), a_journal(tmp_path, PLENTY)
    one, two = an_entry(), an_entry()
    append(mine, one)
    assert yours.find([one.transaction_id, "never seen"]) == {one.transaction_id: one}
    append(yours, two)
    assert mine.first(9) == [one, two]
    assert mine.first(9, {one.transaction_id}) == [two]
    assert a_journal(tmp_path, PLENTY).first(9) == [one, two]  # one that starts now


def test_the_file_goes_with_its_last_decision_and_a_new_one_is_seen(tmp_path: Path) -> None:
    mine, yours = a_journal(tmp_path, PLENTY), a_journal(tmp_path, PLENTY)
    one, two = an_entry("ONE"), an_entry("TWO")
    append(mine, one)
    yours.look()
    mine.remove(["ONE"])
    assert not the_file(tmp_path).exists()
    append(mine, two)
    assert yours.find(["ONE", "TWO"]) == {"TWO": two}
    assert (yours.count, yours.size_bytes) == (1, the_file(tmp_path).stat().st_size)


def test_a_line_that_was_cut_off_is_cut_away(tmp_path: Path) -> None:
    one, two = an_entry(), an_entry()
    append(a_journal(tmp_path, PLENTY), one)
    with the_file(tmp_path).open("ab") as file:
        file.write(encode(an_entry(), KEYS)[:-1])
    journal = a_journal(tmp_path, PLENTY)
    append(journal, two)
    assert a_journal(tmp_path, PLENTY).first(9) == [one, two]


def test_a_file_that_was_only_begun_is_begun_again(tmp_path: Path) -> None:
    the_file(tmp_path).write_bytes(b'{"journal"')
    one = an_entry()
    append(a_journal(tmp_path, PLENTY), one)
    assert a_journal(tmp_path, PLENTY).first(9) == [one]


def test_a_damaged_line_takes_no_other_with_it_and_is_set_aside(tmp_path: Path) -> None:
    one, bad, two = an_entry("ONE"), an_entry("BAD"), an_entry("TWO")
    append(a_journal(tmp_path, PLENTY), one, bad, two)
    file = the_file(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:200] + lines[2][210:]
    file.write_bytes(b"".join(lines))
    journal = a_journal(tmp_path, PLENTY)
    assert journal.first(9) == [one, two]
    journal.remove(["ONE", "TWO"])
    assert not file.exists()
    [aside] = tmp_path.glob("damaged-*.jsonl")
    assert lines[2] in aside.read_bytes()


def test_a_full_journal_takes_nothing_and_keeps_what_it_has(tmp_path: Path) -> None:
    one = an_entry()
    journal = a_journal(tmp_path, len(encode(one, KEYS)) * 2)
    append(journal, one)
    with pytest.raises(JournalUnavailable, match="has reached"):
        append(journal, an_entry())
    assert journal.problem
    assert a_journal(tmp_path, PLENTY).first(9) == [one]


def test_a_full_disk_leaves_no_half_of_a_batch(tmp_path: Path) -> None:
    one, two = an_entry(), an_entry()
    journal = a_journal(tmp_path, PLENTY)
    append(journal, one)
    size = the_file(tmp_path).stat().st_size
    with largest_file(size + 100), pytest.raises(JournalUnavailable, match="cannot be used"):
        append(journal, two)
    assert the_file(tmp_path).stat().st_size == size
    append(journal, two)
    assert not journal.problem
    assert a_journal(tmp_path, PLENTY).first(9) == [one, two]


def test_a_disk_that_was_freed_is_noticed_without_a_decision(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, PLENTY)
    with largest_file(10), pytest.raises(JournalUnavailable):
        append(journal, an_entry())
    with largest_file(10), pytest.raises(JournalUnavailable):
        journal.try_again()
    assert journal.problem
    journal.try_again()
    assert not journal.problem
    assert {each.suffix for each in tmp_path.iterdir()} == {".lock"}


def test_a_full_disk_before_the_first_decision(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, PLENTY)
    with largest_file(10), pytest.raises(JournalUnavailable):
        append(journal, an_entry())
    one = an_entry()
    append(journal, one)
    assert a_journal(tmp_path, PLENTY).first(9) == [one]


def test_only_one_worker_has_the_turn(tmp_path: Path) -> None:
    mine, yours = a_journal(tmp_path, PLENTY), a_journal(tmp_path, PLENTY)
    append(mine, an_entry())
    with mine.turn() as is_mine, yours.turn() as is_yours:
        assert (is_mine, is_yours) == (True, False)
    with yours.turn() as is_yours:
        assert is_yours


def test_the_answer_of_a_reply_is_what_was_kept(tmp_path: Path) -> None:
    entry = an_entry()
    append(a_journal(tmp_path, PLENTY), entry)
    [kept] = a_journal(tmp_path, PLENTY).first(1)
    assert kept.decision == entry.decision
    assert kept.decision != replace(entry.decision, fraud_probability=0.3)
