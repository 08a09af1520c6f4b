"""NACHA files of any shape, written here and not by what they test."""

from collections.abc import Sequence
from dataclasses import dataclass, field

LINE = 94


@dataclass(frozen=True)
class AnEntry:
    """One entry; what is left out is a payment of 125.00 out of a checking account."""

    trace: int = 1
    code: str = "27"
    routing: str = "011401533"
    account: str = "0123456789"
    amount: int = 12_500
    addenda: tuple[str, ...] = ()
    name: str = "JANE DOE"

    def lines(self, odfi: str) -> list[str]:
        trace = f"{odfi}{self.trace:07}"
        head = f"6{self.code}{self.routing}{self.account:<17}{self.amount:010}"
        text = f"{head}{'ID1':<15}{self.name:<22}  {'1' if self.addenda else '0'}{trace}"
        return [text, *(f"7{each:<80.80}{trace}"[:LINE].ljust(LINE) for each in self.addenda)]

    @property
    def is_debit(self) -> bool:
        return self.code[1] >= "5"


def a_return(code: str, original: str, **changes: object) -> AnEntry:
    """A returned debit: the addenda (99) name the reason and the entry that comes back."""
    odfi = "01140153"
    info = f"99{code}{original}{'':6}{odfi}{'':44}"  # reason, original trace, no death, bank
    fields: dict[str, object] = {"code": "26", "addenda": (info,), **changes}
    return AnEntry(**fields)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ABatch:
    entries: Sequence[AnEntry] = (AnEntry(),)
    service_class: str = "200"
    sec_code: str = "PPD"
    company_id: str = "1234567890"
    descriptive_date: str = ""
    effective: str = "260303"
    odfi: str = "09100001"
    control: dict[str, int] = field(default_factory=dict)

    def lines(self, number: int) -> list[str]:
        head = f"5{self.service_class}{'ACME CORP':<16}{'':20}{self.company_id:<10}"
        what = f"{self.sec_code}{'PAYROLL':<10}{self.descriptive_date:<6}{self.effective:6}   1"
        body = [line for entry in self.entries for line in entry.lines(self.odfi)]
        count, digest, debit, credit = self.totals(len(body))
        totals = f"{count:06}{digest:010}{debit:012}{credit:012}"
        control = f"8{self.service_class}{totals}{self.company_id:<10}{'':25}{self.odfi}{number:07}"
        return [f"{head}{what}{self.odfi}{number:07}", *body, control]

    def totals(self, records: int) -> tuple[int, int, int, int]:
        totals = {
            "records": records,
            "hash": sum(int(entry.routing[:8]) for entry in self.entries) % 10**10,
            "debit": sum(entry.amount for entry in self.entries if entry.is_debit),
            "credit": sum(entry.amount for entry in self.entries if not entry.is_debit),
        }
        return tuple((totals | self.control).values())  # type: ignore[return-value]


def a_file(
    *batches: ABatch,
    created: str = "2603020900",
    modifier: str = "A",
    line_end: str = "\n",
    control: dict[str, int] | None = None,
) -> bytes:
    """A file that was made on Monday 2026-03-02 at nine, Eastern."""
    batches = batches or (ABatch(),)
    made = [batch.lines(number) for number, batch in enumerate(batches, 1)]
    names = f"{'FEDERAL RESERVE BANK':<23}{'ACME BANK':<23}{'':8}"
    header = f"101 011000015 091000019{created}{modifier}094101{names}"
    lines = [header, *(line for each in made for line in each)]
    each = [batch.totals(len(lines) - 2) for batch, lines in zip(batches, made, strict=True)]
    records, digest, debit, credit = (sum(column) for column in zip(*each, strict=True))
    totals = {"batches": len(batches), "blocks": -(-(len(lines) + 1) // 10), "records": records}
    totals |= {"hash": digest % 10**10, "debit": debit, "credit": credit}
    totals |= control or {}
    widths = (6, 6, 8, 10, 12, 12)
    counted = "".join(
        f"{value:0{width}}" for value, width in zip(totals.values(), widths, strict=True)
    )
    lines.append(f"9{counted}".ljust(LINE))
    lines += ["9" * LINE] * (-len(lines) % 10)
    assert all(len(line) == LINE for line in lines), [line for line in lines if len(line) != LINE]
    return (line_end.join(lines) + line_end).encode()
