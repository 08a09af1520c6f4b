"""NACHA files read and written; another maker's library judges what is written."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import achkit
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.connectors.ach.file import write_file
from bentos.connectors.ach.reading import read_file
from bentos.connectors.ach.records import CREDIT_CODES, DEBIT_CODES, Entry, is_routing_number
from fraud.domain.errors import MalformedInput
from tests.bentos.connectors.nacha_files import LINE, ABatch, AnEntry, a_file

ROUTINGS = ("011401533", "091000019", "021000021", "122105155")

CODES = sorted((CREDIT_CODES | DEBIT_CODES) - {"55", "56"})
JUDGED = tuple(code for code in CODES if code[1] in "2378")
"""Returns and zero-dollar entries are unknown to the library that judges."""

entries = st.builds(
    AnEntry,
    routing=st.sampled_from(ROUTINGS),
    account=st.text("0123456789", min_size=1, max_size=17),
    amount=st.integers(0, 9_999_999_999),
    addenda=st.sampled_from([(), ("05INVOICE 17",), ("05ONE", "05TWO")]),
)


@st.composite
def files(draw: st.DrawFn, codes: Sequence[str] = CODES) -> bytes:
    """Files of up to 4 batches whose trace numbers differ."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    trace, batches = 0, []
    for size in sizes:
        made = []
        for _ in range(size):
            trace += 1
            made.append(replace(draw(entries), trace=trace, code=draw(st.sampled_from(codes))))
        batches.append(ABatch(made, sec_code=draw(st.sampled_from(["PPD", "CCD", "WEB"]))))
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    return a_file(*batches, line_end=line_end)


@given(files())
def test_a_file_written_whole_is_the_file_that_was_read(content: bytes) -> None:
    file = read_file(content)
    assert file.faults == ()
    assert write_file(file, lambda entry: True) == content


@given(files(JUDGED), st.sets(st.integers(0, 60)))
def test_what_is_left_of_a_file_balances(content: bytes, kept: set[int]) -> None:
    """`kept` are numbers of lines."""
    file = read_file(content)
    written = write_file(file, lambda entry: entry.line in kept)
    report = achkit.validate(written.decode())
    assert report["ok"], report["errors"]
    again = read_file(written)
    assert again.faults == ()
    expected = [entry.records for _, entry in file.entries if entry.line in kept]
    assert [entry.records for _, entry in again.entries] == expected


@given(files())
def test_another_parser_reads_the_same(content: bytes) -> None:
    theirs = [
        (each["trace_number"], each["routing"], each["amount_cents"], each["account"])
        for batch in achkit.parse(content.decode())["batches"]
        for each in batch["entries"]
    ]
    ours = [(e.trace, e.routing, e.amount_minor, e.account) for _, e in read_file(content).entries]
    assert ours == theirs


def test_what_another_library_makes_is_read() -> None:
    made = achkit.AchFile.create(origin_dfi="091000019", company_id="1234567890")
    batch = made.batch(sec="WEB", description="RENT", effective_date="2026-03-02")
    batch.debit(name="Jane", routing="011401533", account="0072", amount_cents=124_050)
    batch.credit(name="Joe", routing="021000021", account="73", amount_cents=99, addenda="HELLO")
    [(_, debit), (_, credit)] = read_file(made.render().encode()).entries
    assert (debit.direction, debit.amount_minor, debit.account) == ("debit", 124_050, "0072")
    assert (credit.direction, credit.amount_minor) == ("credit", 99)
    assert credit.addenda[0][3:8] == "HELLO"


def test_a_file_without_line_ends_is_read_and_written() -> None:
    content = a_file(line_end="")
    assert write_file(read_file(content), lambda entry: True) == content


def test_an_international_entry_has_its_account_elsewhere() -> None:
    line = "6270114015330007" + " " * 13 + f"{12_500:010}" + f"{'GB29NWBK60161331926819':<35}"
    entry = Entry(1, line.ljust(LINE), (), "IAT")
    assert (entry.account, entry.amount_minor) == ("GB29NWBK60161331926819", 12_500)


def test_check_digits_of_routing_numbers() -> None:
    assert all(map(is_routing_number, ROUTINGS))
    assert not any(map(is_routing_number, ("011401534", "01140153", "01140153a", "")))


THREE = ABatch([AnEntry(1), AnEntry(2), AnEntry(3)])


def altered(content: bytes, line: int, change: Callable[[str], str]) -> bytes:
    lines = content.decode().split("\n")
    lines[line - 1] = change(lines[line - 1])
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda line: "699" + line[3:], "transaction code '99'"),
        (lambda line: line[:3] + "011401534" + line[12:], "routing number '011401534'"),
        (lambda line: line[:29] + "00000A2500" + line[39:], "amount '00000A2500'"),
        (lambda line: line[:79] + "09100001000000X", "trace number"),
        (lambda line: line[:12] + " " * 17 + line[29:], "an empty account number"),
        (lambda line: line[:78] + "1" + line[79:], "an addenda indicator that does not fit"),
        (lambda line: line[:-1], "other than 94 characters"),
    ],
)
def test_a_broken_entry_is_set_apart_by_its_line(
    change: Callable[[str], str], problem: str
) -> None:
    file = read_file(altered(a_file(THREE), 4, change))
    [fault] = file.faults
    assert fault.line == 4
    assert problem in fault.problem
    assert [entry.line for _, entry in file.entries] == [3, 5]


def test_a_debit_among_credits_is_set_apart() -> None:
    mixed = ABatch([AnEntry(1, code="22"), AnEntry(2, code="27")], service_class="220")
    [fault] = read_file(a_file(mixed)).faults
    assert "a debit in a batch of class 220" in fault.problem


def test_of_a_batch_whose_totals_do_not_agree_nothing_is_trusted() -> None:
    raised = altered(a_file(THREE), 4, lambda line: line[:29] + "0000099999" + line[39:])
    file = read_file(raised)
    assert [fault.line for fault in file.faults] == [3, 4, 5]
    assert "debit_minor 37500 declared, 124999 counted" in file.faults[0].problem
    assert list(file.entries) == []


def test_entries_that_share_a_trace_number_are_set_apart() -> None:
    file = read_file(a_file(ABatch([AnEntry(1), AnEntry(1)]), ABatch([AnEntry(2)])))
    assert [fault.line for fault in file.faults] == [3, 4]
    assert [entry.trace for _, entry in file.entries] == ["091000010000002"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The file is empty"),
        (b"hello\n", "Line 1 has a record of type 'h' where a file header must stand"),
        (a_file().replace(b"JANE", b"J\xc3\xa9E"), "Line 3 has the byte 0xc3"),
        (b"\n".join(a_file().split(b"\n")[:4]), "Line 4 has the end of the file where"),
        (b"\n".join(a_file().split(b"\n")[:3]), "Line 3 has the end of the file where"),
        (altered(a_file(), 2, lambda line: line[:-1]), "Line 2 has 93 characters"),
        (altered(a_file(), 4, lambda line: "8200XX" + line[6:]), "Line 4 is a control record"),
        (altered(a_file(), 6, lambda line: "6" * LINE), "Line 6 stands after the file control"),
        (a_file(control={"debit": 1}), "debit_minor 1 declared, 12500 counted"),
        (a_file(control={"batches": 2}), "counts 000002 batches, and there are 1"),
    ],
)
def test_a_broken_frame_refuses_the_file(content: bytes, message: str) -> None:
    with pytest.raises(MalformedInput, match=message):
        read_file(content)


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    with pytest.raises(MalformedInput):
        read_file(content)
