"""Labels: what became known about a transaction, and when."""

from dataclasses import dataclass
from typing import Literal

LabelSource = Literal["chargeback", "customer_report", "analyst", "return"]

SOURCES: tuple[LabelSource, ...] = ("chargeback", "customer_report", "analyst", "return")


@dataclass(frozen=True, slots=True)
class Label:
    """A verdict about one transaction.

    Attributes:
        transaction_id: the transaction it is about.
        is_fraud: the verdict.
        reported_at_us: when it reached us, microseconds UTC; it can act only afterwards.
        source: who said so.
    """

    transaction_id: str
    is_fraud: bool
    reported_at_us: int
    source: LabelSource
