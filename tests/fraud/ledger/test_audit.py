import hashlib
import json
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection

from fraud.domain.errors import ContractError
from fraud.ledger.audit import (
    LONGEST_TEXT,
    AuditEntry,
    StoredRecord,
    append,
    claim_chain,
    one_line,
)
from fraud.ledger.audit_check import AuditReport, Finding, anchors, verify
from fraud.ledger.engine import connect
from fraud.ledger.pool import transaction
from tests.fraud.ledger.builders import NOON_US


def an_entry(object_id: str = "tx-1", **detail: object) -> AuditEntry:
    return AuditEntry(
        actor="till-7",
        action="score",
        outcome="success",
        origin="192.0.2.1",
        object_type="transaction",
        object_id=object_id,
        detail=detail,
    )


@pytest.fixture
def url(new_ledger: Callable[[], str]) -> str:
    return new_ledger()


@pytest.fixture
def writer(url: str) -> Iterator[Connection]:
    connection = connect(url)
    yield connection
    connection.close()


@pytest.fixture
def chain(writer: Connection) -> str:
    """A chain of ten records, written in batches of 1, 4 and 5."""
    chain = claim_chain(writer, "service")
    for first, last in ((1, 1), (2, 5), (6, 10)):
        write(writer, chain, *(an_entry(f"tx-{n}", n=n) for n in range(first, last + 1)))
    return chain


def write(writer: Connection, chain: str, *entries: AuditEntry) -> None:
    with writer.cursor() as cursor:
        append(cursor, chain, entries, NOON_US)
    writer.commit()


def check(url: str, **options: object) -> AuditReport:
    connection = connect(url)
    try:
        return verify(connection, **options)  # type: ignore[arg-type]
    finally:
        connection.close()


def tamper(url: str, *statements: str) -> None:
    """Do what only the server's owner can: switch the trigger off first."""
    with transaction(url) as cursor:
        cursor.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_is_append_only")
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("ALTER TABLE audit_log ENABLE TRIGGER audit_log_is_append_only")


def kinds(report: AuditReport) -> list[tuple[int, str]]:
    return [(finding.position, finding.kind) for finding in report.findings]


def test_an_untouched_log_is_intact(url: str, chain: str) -> None:
    report = check(url)
    assert (report.records, report.chains, report.findings) == (10, 1, [])
    assert report.is_intact


def test_an_empty_log_is_intact(url: str) -> None:
    assert check(url).is_intact


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'nobody'",
        "action = 'erase'",
        "outcome = 'failure'",
        "origin = '198.51.100.9'",
        "object_type = 'case'",
        "object_id = 'tx-99'",
        "recorded_at = recorded_at + interval '1 microsecond'",
        "detail = '{\"n\": 6}'",
        "detail = '{\"n\":5}'",  # equal JSON, other text
        "prev_hash = sha256('x')",
        "hash = sha256('x')",
    ],
)
def test_an_edited_record_is_found(url: str, chain: str, change: str) -> None:
    tamper(url, f"UPDATE audit_log SET {change} WHERE position = 5")
    report = check(url)
    assert not report.is_intact
    assert (5, "edited") in kinds(report)


def test_a_finding_says_where_and_what(url: str, chain: str) -> None:
    tamper(url, "UPDATE audit_log SET actor = 'nobody' WHERE position = 5")
    text = f"Record 5 of chain '{chain}' is not what was recorded."
    assert check(url).findings == [Finding(chain, 5, "edited", text)]


def test_an_edit_that_hides_itself_is_found(url: str, chain: str) -> None:
    """Whoever edits a record and computes its hash anew breaks the link to the next one."""
    tamper(url, "UPDATE audit_log SET actor = 'nobody' WHERE position = 5", REHASH_5)
    assert kinds(check(url)) == [(6, "replaced")]


REHASH_5 = r"""
UPDATE audit_log SET hash = sha256(convert_to(
    format(
        '["%s", %s, "%s", %s, "%s", "%s", "%s", "%s", "%s", "%s", "%s"]',
        chain, position, encode(prev_hash, 'hex'),
        (extract(epoch FROM recorded_at) * 1000000)::bigint, actor, action, outcome, origin,
        object_type, object_id, replace(detail::text, '"', '\"')
    ), 'UTF8'))
WHERE position = 5
"""


def test_a_removed_record_is_found(url: str, chain: str) -> None:
    tamper(url, "DELETE FROM audit_log WHERE position IN (4, 5)")
    report = check(url)
    assert kinds(report) == [(4, "removed")]
    assert report.findings[0].text == f"Records 4 to 5 are missing from chain '{chain}'."


def test_a_removed_first_record_is_found(url: str, chain: str) -> None:
    tamper(url, "DELETE FROM audit_log WHERE position = 1")
    assert kinds(check(url)) == [(1, "removed")]


@pytest.mark.parametrize("kept", [9, 0])
def test_a_log_cut_off_at_the_end_is_found(url: str, chain: str, kept: int) -> None:
    tamper(url, f"DELETE FROM audit_log WHERE position > {kept}")
    assert kinds(check(url)) == [(kept + 1, "truncated")]


def test_a_removed_record_whose_gap_was_closed_is_found(url: str, chain: str) -> None:
    tamper(
        url,
        "DELETE FROM audit_log WHERE position = 5",
        "UPDATE audit_log SET position = position + 100 WHERE position > 5",
        "UPDATE audit_log SET position = position - 101 WHERE position > 5",
    )
    assert kinds(check(url)) == [(10, "truncated"), *((n, "moved") for n in range(5, 10))]


def test_swapped_records_are_found(url: str, chain: str) -> None:
    tamper(
        url,
        "UPDATE audit_log SET position = 100 WHERE position = 3",
        "UPDATE audit_log SET position = 3 WHERE position = 8",
        "UPDATE audit_log SET position = 8 WHERE position = 100",
    )
    moved = [finding for finding in check(url).findings if finding.kind == "moved"]
    assert [(each.position, each.text[-11:]) for each in moved] == [
        (3, "position 8."),
        (8, "position 3."),
    ]


COPY = """
INSERT INTO audit_log
SELECT chain, {position}, recorded_at, 'intruder', action, outcome, origin, object_type,
    object_id, detail, prev_hash, hash
FROM audit_log WHERE position = {like}
"""


def test_an_inserted_record_is_found(url: str, chain: str) -> None:
    tamper(
        url,
        "UPDATE audit_log SET position = position + 100 WHERE position > 5",
        "UPDATE audit_log SET position = position - 99 WHERE position > 5",
        COPY.format(position=6, like=5),
    )
    assert (6, "edited") in kinds(check(url))
    assert {(n, "moved") for n in range(7, 12)} <= set(kinds(check(url)))


def test_a_record_added_behind_the_writers_back_is_found(url: str, chain: str) -> None:
    tamper(url, COPY.format(position=11, like=10))
    assert set(kinds(check(url))) == {(11, "inserted"), (11, "edited")}


def test_a_record_moved_to_another_chain_is_found(url: str, chain: str) -> None:
    tamper(url, "UPDATE audit_log SET chain = 'service-9' WHERE position = 10")
    assert kinds(check(url)) == [
        (10, "truncated"),
        (1, "removed"),
        (10, "anchor"),
        (10, "edited"),
    ]


def test_heads_kept_elsewhere_uncover_a_log_rewritten_as_a_whole(
    url: str, chain: str, writer: Connection
) -> None:
    kept = anchors(writer)
    writer.commit()
    tamper(
        url,
        "DELETE FROM audit_log WHERE position > 7",
        """
        UPDATE audit_anchor SET position = 7,
            hash = (SELECT hash FROM audit_log WHERE position = 7)
        """,
    )
    assert check(url).is_intact  # the ledger alone cannot tell
    assert kinds(check(url, trusted=kept)) == [(8, "truncated")]
    write(writer, chain, *(an_entry("other") for _ in range(3)))
    assert kinds(check(url, trusted=kept)) == [(10, "replaced")]


def test_heads_kept_elsewhere_uncover_a_chain_that_vanished_as_a_whole(
    url: str, chain: str, writer: Connection
) -> None:
    kept = anchors(writer)
    writer.commit()
    tamper(url, "DELETE FROM audit_log", "DELETE FROM audit_anchor")
    assert check(url).is_intact  # the ledger alone cannot tell
    assert kinds(check(url, trusted=kept)) == [(1, "truncated"), (0, "anchor")]


def test_a_rollback_leaves_no_gap(url: str, chain: str, writer: Connection) -> None:
    with writer.cursor() as cursor:
        append(cursor, chain, [an_entry("never happened")], NOON_US)
    writer.rollback()
    write(writer, chain, an_entry("happened"))
    report = check(url)
    assert report.is_intact
    assert report.records == 11


def test_writers_have_chains_of_their_own(url: str, chain: str) -> None:
    other = connect(url)
    assert (chain, claim_chain(other, "service")) == ("service-1", "service-2")
    other.close()


def test_a_chain_goes_on_with_the_next_writer(url: str, chain: str, writer: Connection) -> None:
    writer.close()
    heir = connect(url)
    assert claim_chain(heir, "service") == chain
    write(heir, chain, an_entry())
    heir.close()
    report = check(url)
    assert report.is_intact
    assert report.records == 11


def test_two_writers_on_one_chain_keep_it_whole(url: str, chain: str) -> None:
    """Nobody should, but a claim can end with a connection that its owner does not watch."""

    def work() -> None:
        connection = connect(url)
        for _ in range(20):
            write(connection, chain, an_entry(), an_entry())
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    report = check(url)
    assert report.is_intact
    assert report.records == 10 + 2 * 20 * 2


def test_a_chain_nobody_claimed_is_refused(url: str) -> None:
    with pytest.raises(ContractError, match="claim_chain"), transaction(url) as cursor:
        append(cursor, "mine", [an_entry()], NOON_US)


def test_control_characters_survive_as_text(url: str, chain: str, writer: Connection) -> None:
    hostile = "tx\r\n2026-11-22 INFO all good\x00\ud800\u2028\u202e\\n"
    write(writer, chain, an_entry(hostile, id=hostile, amount=float("nan")))
    assert check(url).is_intact
    with transaction(url) as cursor:
        cursor.execute("SELECT object_id, detail::text FROM audit_log WHERE position = 11")
        [(object_id, detail)] = cursor.fetchall()
    escaped = "tx\\u000d\\u000a2026-11-22 INFO all good\\u0000\\ud800\\u2028\\u202e\\\\n"
    assert object_id == escaped
    assert detail.isprintable()
    assert '"amount": "NaN"' in detail


def test_overlong_ids_are_cut_and_named(url: str, chain: str, writer: Connection) -> None:
    write(writer, chain, an_entry("x" * 200_000), an_entry("x" * 200_001))
    assert check(url).is_intact
    with transaction(url) as cursor:
        cursor.execute("SELECT object_id FROM audit_log WHERE position > 10 ORDER BY position")
        first, second = (row[0] for row in cursor.fetchall())
    assert first.startswith("x" * LONGEST_TEXT + "\\...[200000 characters, ")
    assert first != second


@given(st.text(), st.text())
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert one_line(one).isprintable()
    assert (one_line(one) == one_line(other)) == (one == other)


@given(st.lists(st.sampled_from(["\\", "u", "0", "d", "\r", "\n", "\x00"]), max_size=8))
def test_an_escape_cannot_be_forged(parts: list[str]) -> None:
    text = "".join(parts)
    again = one_line(text).encode("latin-1").decode("unicode_escape")
    assert again == text


@given(st.tuples(*[st.text()] * 8), st.tuples(*[st.integers(0, 2**63)] * 2), st.binary())
def test_a_records_hash_is_that_of_its_json_array(
    texts: tuple[str, ...], numbers: tuple[int, int], prev_hash: bytes
) -> None:
    record = StoredRecord(texts[0], *numbers, *texts[1:], prev_hash)
    head = [record.chain, record.position, prev_hash.hex(), record.recorded_at_us]
    content = json.dumps([*head, *texts[1:]])
    assert record.hash() == hashlib.sha256(content.encode()).digest()


@pytest.mark.parametrize(
    "detail",
    [
        {"b": 'quo"ted', "a": "back\\slash", "ü": "💳\n\x1f\x7f"},
        {"b": "text", "a": True, "c": [1, 1.5, None, {"d": "e"}]},
        {},
    ],
)
def test_a_detail_is_kept_as_canonical_json(
    url: str, chain: str, writer: Connection, detail: dict[str, object]
) -> None:
    write(writer, chain, an_entry("tx-11", **detail))
    with transaction(url) as cursor:
        cursor.execute("SELECT detail::text FROM audit_log WHERE object_id = 'tx-11'")
        assert cursor.fetchall() == [(json.dumps(detail, sort_keys=True),)]
    assert check(url).is_intact
