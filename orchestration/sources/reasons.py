"""Why a row was refused: the field, what it held, and what to do about it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

_SHOWN = 80

_REMEDIES = {
    "missing": "Map a column or a constant to it.",
    "extra_forbidden": "Leave it out of the mapping.",
    "string_pattern_mismatch": "Use only the signs the pattern allows.",
    "string_too_short": "Give a value, or leave the cell empty if the field is optional.",
    "string_too_long": "Shorten it, e.g. by hashing.",
    "literal_error": "Map the source's values onto the allowed ones.",
    "float_type": "Write it as a plain number with a decimal point.",
    "int_type": "Write it as a whole number.",
    "int_from_float": "Write it as a whole number.",
    "bool_type": "Write it as true or false, yes or no, 1 or 0.",
    "finite_number": "Leave the cell empty where the number is unknown.",
}
_REMEDY = "Correct it at the source and ingest the row again."


@dataclass(frozen=True)
class Problem:
    """A field at fault and the whole reason in one or two sentences."""

    field: str
    reason: str


def said(field: str, value: Any, what: str, remedy: str) -> str:
    """One reason, every reason worded alike: `amount -5.0 must be at least 0. Correct ...`."""
    shown = repr(value) if isinstance(value, str) else str(value)
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}... ({len(shown)} characters)"
    subject = field if value is None else f"{field} {shown}"
    return f"{subject} {what}. {remedy}"


def problem_of(error: ValidationError, sensitive: Collection[str] = ()) -> Problem:
    """The first problem the model found, with the names of the other fields at fault.

    Args:
        error: what the model said.
        sensitive: fields whose values are not repeated.
    """
    found = error.errors(include_url=False)
    first = found[0]
    field = str(first["loc"][0]) if first["loc"] else "transaction"
    message = first["msg"].removeprefix("Value error, ")
    for opening, plainly in (
        ("Input should be ", "should be "),
        ("String should ", "should "),
        ("Field required", "is missing"),
    ):
        if message.startswith(opening):
            message = plainly + message.removeprefix(opening)
    value = None if first["type"] == "missing" or field in sensitive else first["input"]
    reason = said(field, value, message, _REMEDIES.get(first["type"], _REMEDY))
    others = sorted({str(each["loc"][0]) for each in found[1:] if each["loc"]} - {field})
    return Problem(field, reason + (f" Also wrong: {', '.join(others)}." if others else ""))
