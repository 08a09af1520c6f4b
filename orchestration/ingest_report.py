"""The account of an ingest: what became of every row."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.table import Table


@dataclass
class IngestReport:
    """What became of the rows of a source; `rows_lost` is zero or there is a bug.

    Attributes:
        rows_in: transactions that came.
        rows_accepted: written to the log.
        rows_quarantined: refused, with a reason.
        rows_duplicate: equal to a transaction seen before.
        rows_served: events the platform itself decided on, added beside them.
        labels_in: labels that came.
        labels: written to the log, or delivered.
        labels_delivered: taken in by the ledger, as it knows their transactions; the log has
            them on the day of their delivery.
        labels_quarantined: refused, with a reason.
        labels_duplicate: equal to a label seen before.
        labels_served: labels reported to the platform itself, added beside them.
        first_day: first day on which an accepted transaction was observed.
        last_day: the last one.
        refused_for: refused rows and labels by the field at fault.
    """

    rows_in: int = 0
    rows_accepted: int = 0
    rows_quarantined: int = 0
    rows_duplicate: int = 0
    rows_served: int = 0
    labels_in: int = 0
    labels: int = 0
    labels_delivered: int = 0
    labels_quarantined: int = 0
    labels_duplicate: int = 0
    labels_served: int = 0
    first_day: dt.date | None = None
    last_day: dt.date | None = None
    refused_for: Counter[str] = field(default_factory=Counter)

    @property
    def rows_lost(self) -> int:
        """Transactions of which nobody knows what became."""
        kept = self.rows_accepted + self.rows_quarantined + self.rows_duplicate
        return self.rows_in - kept

    @property
    def labels_lost(self) -> int:
        """Labels of which nobody knows what became."""
        return self.labels_in - self.labels - self.labels_quarantined - self.labels_duplicate

    def count(self, accepted: int, refused_fields: Iterable[str]) -> None:
        """Add transactions: how many were written, and the field at fault of each refused one."""
        before = self.refused_for.total()
        self.refused_for.update(refused_fields)
        self.rows_quarantined += self.refused_for.total() - before
        self.rows_accepted += accepted

    def count_refused_labels(self, fields: Iterable[str]) -> None:
        """Add refused labels by the field at fault."""
        before = self.refused_for.total()
        self.refused_for.update(fields)
        self.labels_quarantined += self.refused_for.total() - before

    def saw(self, days: Iterable[dt.date]) -> None:
        """Widen the range of days."""
        for day in days:
            self.first_day = min(self.first_day or day, day)
            self.last_day = max(self.last_day or day, day)


def report_table(report: IngestReport, source: str) -> Table:
    """The report for people."""
    table = Table(title=f"Ingested {source}", title_justify="left", show_header=False)
    days = f"{report.first_day} to {report.last_day}" if report.first_day else "none"
    fields = ", ".join(f"{name} {count:,}" for name, count in report.refused_for.most_common(5))
    for name, value in (
        ("rows in", f"{report.rows_in:,}"),
        ("accepted", f"{report.rows_accepted:,}"),
        ("quarantined", f"{report.rows_quarantined:,}"),
        ("exact duplicates", f"{report.rows_duplicate:,}"),
        ("lost", f"{report.rows_lost:,}"),
        ("labels accepted", f"{report.labels:,}"),
        ("labels quarantined", f"{report.labels_quarantined:,}"),
        ("refused for", fields or "nothing"),
        ("days observed", days),
    ):
        table.add_row(name, value)
    return table
