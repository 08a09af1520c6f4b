"""The columns that features are finished from, whichever execution filled them."""

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from fraud.domain.aggregates import Aggregate
from fraud.domain.features import Calendar, Category, Codes, Floats, Ints, Texts

K = TypeVar("K")
T = TypeVar("T")

TIME, AMOUNT, LOG = "time_us", "amount_minor", "amount_log"
LABEL, LABELS_KNOWN = "label", "labels_known"
PLACE = "place"
CODE, VALUE_ID = "code", "id"
"""Names of integer columns; those of a text field are `code <field>` and `id <field>`."""


def number_column(field: str) -> str:
    """Name of the column with a number or flag: the bits of its float64, NaN where null."""
    return f"number {field}"


def category_column(category: Category) -> str:
    """Name of the column with the place of a text among those declared, else NONE."""
    return f"category {category.name}"


def hours_column(calendar: Calendar) -> str:
    """Name of the column with whole hours of local time since 1970."""
    return f"hours {calendar.zone} {calendar.field}"


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
        own: the events' own integer columns, by the names above; AMOUNT in minor units.
        numbers: numeric and flag fields as float64, NaN where null.
        texts: text fields.
        places: of text fields among values, by field and values; see `place_among`.
        aggregates: what the executions computed; may be extended and emptied.
    """

    def __init__(
        self,
        own: Mapping[str, Ints],
        numbers: Mapping[str, Floats],
        texts: Mapping[str, Texts],
        places: Mapping[tuple[str, tuple[str, ...]], Codes],
        aggregates: dict[Aggregate, Ints],
    ) -> None:
        self._own = own
        self._numbers = numbers
        self._texts = texts
        self._places = places
        self._shared: dict[Hashable, Ints] = {}
        self.aggregates = aggregates

    def time_us(self) -> Ints:
        """Event times, microseconds UTC."""
        return self._own[TIME]

    def amount_minor(self) -> Ints:
        """Amounts in minor units."""
        return self._own[AMOUNT]

    def amount_log(self) -> Ints:
        """Quantised log amounts."""
        return self._own[LOG]

    def number(self, field: str) -> Floats:
        """A numeric or boolean field, NaN where null."""
        return self._numbers[field]

    def text(self, field: str) -> Texts:
        """A text field."""
        return self._texts[field]

    def place_among(self, field: str, values: tuple[str, ...]) -> Codes:
        """The place of a text field among these values, -1 where it is null or none of them."""
        return self._places[field, values]

    def value_id(self, field: str) -> Ints:
        """A field as the int64 that `LastValue` keeps, NONE where null."""
        return self._own[f"{VALUE_ID} {field}"]

    def place_id(self) -> Ints:
        """Where the events happened as the int64 that `LastPlace` keeps, NONE where null."""
        return self._own[PLACE]

    def aggregate(self, aggregate: Aggregate) -> Ints:
        """An aggregate, NONE where the event lacks the entity."""
        return self.aggregates[aggregate]

    def shared(self, name: Hashable, compute: Callable[[], Ints]) -> Ints:
        """What several features are made of, computed for the first of them."""
        if name not in self._shared:
            self._shared[name] = compute()
        return self._shared[name]
