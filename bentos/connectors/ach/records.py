"""The records of a NACHA file: 94 characters each, and where in them which field stands.

Nacha Operating Rules, Appendix Three (ACH Record Format Specifications). Positions are counted
from 0 here. Whatever we do not need stays as it came: entries are written back byte for byte.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

LENGTH = 94
RECORDS_PER_BLOCK = 10
FILLER = "9" * LENGTH

FILE_HEADER, BATCH_HEADER, ENTRY, ADDENDA, BATCH_CONTROL, FILE_CONTROL = "156789"
RETURN_ADDENDA, CHANGE_ADDENDA = "99", "98"

MIXED, CREDITS_ONLY, DEBITS_ONLY = "200", "220", "225"
SERVICE_CLASSES = (MIXED, CREDITS_ONLY, DEBITS_ONLY)

CREDIT_CODES = frozenset(kind + use for kind in "2345" for use in "1234")
DEBIT_CODES = frozenset(kind + use for kind in "234" for use in "6789") | {"55", "56"}
"""Transaction codes by kind of account (checking, savings, ledger, loan) and use."""

HASH_LIMIT = 10**10
"""A hash total keeps the last ten digits of the sum of routing numbers, check digits left off."""

Direction = Literal["debit", "credit"]


@dataclass(frozen=True)
class FileHeader:
    """Record 1."""

    text: str

    @property
    def origin(self) -> str:
        """Immediate origin: who sends the file."""
        return self.text[13:23].strip()

    @property
    def created_on(self) -> str:
        """YYMMDD."""
        return self.text[23:29]

    @property
    def created_at(self) -> str:
        """HHMM, or blanks."""
        return self.text[29:33]

    @property
    def modifier(self) -> str:
        """Tells the files of a day apart: A to Z, 0 to 9."""
        return self.text[33]


@dataclass(frozen=True)
class BatchHeader:
    """Record 5."""

    text: str

    @property
    def service_class(self) -> str:
        """200 mixed, 220 credits only, 225 debits only."""
        return self.text[1:4]

    @property
    def company_id(self) -> str:
        """Who originates the entries."""
        return self.text[40:50].strip()

    @property
    def sec_code(self) -> str:
        """Standard Entry Class, e.g. WEB."""
        return self.text[50:53]

    @property
    def descriptive_date(self) -> str:
        """Free, but `SD1300` and its like ask for a same-day window."""
        return self.text[63:69].strip()

    @property
    def effective_on(self) -> str:
        """YYMMDD on which the originator wants settlement, or blanks."""
        return self.text[69:75]

    @property
    def odfi(self) -> str:
        """The originator's bank: eight digits of its routing number."""
        return self.text[79:87]


@dataclass(frozen=True)
class Entry:
    """Record 6 and the addenda (7) that belong to it.

    Attributes:
        line: number of record 6 in the file, from 1.
        text: record 6.
        addenda: records 7.
        sec_code: of its batch; an IAT entry has its account elsewhere.
    """

    line: int
    text: str
    addenda: tuple[str, ...]
    sec_code: str

    @property
    def code(self) -> str:
        """Transaction code."""
        return self.text[1:3]

    @property
    def direction(self) -> Direction:
        """Whether money is pulled from the account or pushed to it."""
        return "debit" if self.code in DEBIT_CODES else "credit"

    @property
    def routing(self) -> str:
        """Routing number of the receiving bank, check digit included."""
        return self.text[3:12]

    @property
    def account(self) -> str:
        """Account number at that bank. Never to be stored, shown or logged."""
        return (self.text[39:74] if self.sec_code == "IAT" else self.text[12:29]).strip()

    @property
    def amount_minor(self) -> int:
        """Cents."""
        return int(self.text[29:39])

    @property
    def has_addenda(self) -> bool:
        """What the addenda record indicator says."""
        return self.text[78] == "1"

    @property
    def trace(self) -> str:
        """Trace number."""
        return self.text[79:94]

    @cached_property
    def records(self) -> tuple[str, ...]:
        """All of it, as it came."""
        return (self.text, *self.addenda)


@dataclass(frozen=True)
class Totals:
    """What control records add up.

    Attributes:
        records: entries and addenda.
        hash_total: sum of routing numbers without check digits, last ten digits.
        debit_minor: cents pulled.
        credit_minor: cents pushed.
    """

    records: int = 0
    hash_total: int = 0
    debit_minor: int = 0
    credit_minor: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.records + other.records,
            (self.hash_total + other.hash_total) % HASH_LIMIT,
            self.debit_minor + other.debit_minor,
            self.credit_minor + other.credit_minor,
        )

    @classmethod
    def of(cls, entry: Entry) -> "Totals":
        """What one entry adds."""
        amount, is_debit = entry.amount_minor, entry.direction == "debit"
        return cls(
            len(entry.records),
            int(entry.routing[:8]),
            amount if is_debit else 0,
            0 if is_debit else amount,
        )

    @classmethod
    def of_batch_control(cls, text: str) -> "Totals":
        """What record 8 says.

        Raises:
            ValueError: a field is no number.
        """
        return cls(int(text[4:10]), int(text[10:20]), int(text[20:32]), int(text[32:44]))

    @classmethod
    def of_file_control(cls, text: str) -> "Totals":
        """What record 9 says.

        Raises:
            ValueError: a field is no number.
        """
        return cls(int(text[13:21]), int(text[21:31]), int(text[31:43]), int(text[43:55]))


def is_routing_number(text: str) -> bool:
    """Whether nine digits carry the check digit of the American Bankers Association."""
    if len(text) != 9 or not (text.isascii() and text.isdigit()):
        return False
    return (
        sum(int(digit) * weight for digit, weight in zip(text, (3, 7, 1) * 3, strict=True)) % 10
        == 0
    )
