"""The columns that features are finished from, whichever execution filled them."""

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from fraud.domain.aggregates import Aggregate
from fraud.domain.features import Floats, Ints, Texts

K = TypeVar("K")
T = TypeVar("T")

TIME, AMOUNT, LOG = "time_us", "amount_minor", "amount_log"
LABEL, LABELS_KNOWN = "label", "labels_known"
PLACE = "place"
CODE, VALUE_ID = "code", "id"
"""Names of integer columns; those of a text field are `code <field>` and `id <field>`."""


class Taken(dict[K, T]):
    """A mapping that makes each value when it is first asked for."""

    def __init__(self, make: Callable[[K], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: K) -> T:
        self[key] = self._make(key)
        return self[key]


class ColumnInputs:
    """`fraud.domain.features.Inputs` over plain arrays of one length n.

    Args:
        time_us: event times, microseconds UTC.
        amount_minor: amounts in minor units.
        amount_log: quantised log amounts.
        numbers: numeric and flag fields as float64, NaN where null.
        texts: text fields.
        value_ids: fields as the int64 that `LastValue` keeps.
        aggregates: what the executions computed; may be extended and emptied.
    """

    def __init__(
        self,
        time_us: Ints,
        amount_minor: Ints,
        amount_log: Ints,
        numbers: Mapping[str, Floats],
        texts: Mapping[str, Texts],
        value_ids: Mapping[str, Ints],
        aggregates: dict[Aggregate, Ints],
    ) -> None:
        self._time_us = time_us
        self._amount_minor = amount_minor
        self._amount_log = amount_log
        self._numbers = numbers
        self._texts = texts
        self._value_ids = value_ids
        self._shared: dict[Hashable, Ints] = {}
        self.aggregates = aggregates

    def time_us(self) -> Ints:
        """Event times, microseconds UTC."""
        return self._time_us

    def amount_minor(self) -> Ints:
        """Amounts in minor units."""
        return self._amount_minor

    def amount_log(self) -> Ints:
        """Quantised log amounts."""
        return self._amount_log

    def number(self, field: str) -> Floats:
        """A numeric or boolean field, NaN where null."""
        return self._numbers[field]

    def text(self, field: str) -> Texts:
        """A text field."""
        return self._texts[field]

    def value_id(self, field: str) -> Ints:
        """A field as the int64 that `LastValue` keeps, NONE where null."""
        return self._value_ids[field]

    def aggregate(self, aggregate: Aggregate) -> Ints:
        """An aggregate, NONE where the event lacks the entity."""
        return self.aggregates[aggregate]

    def shared(self, name: Hashable, compute: Callable[[], Ints]) -> Ints:
        """What several features are made of, computed for the first of them."""
        if name not in self._shared:
            self._shared[name] = compute()
        return self._shared[name]
