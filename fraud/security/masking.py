"""Card numbers and verification codes: found in any text, and masked.

A card number (PAN, ISO/IEC 7812) is 13 to 19 digits in a range that a payment network uses,
with a valid check digit (Luhn), written in one go or in groups with one kind of separator.
What stays of it is its first six and last four digits, which PCI DSS 3.4 permits to show.
A verification code (CVV, CVC) has no form of its own: it is known by what it is called.
"""

import logging
import re
import traceback
from collections.abc import Callable, Iterator, Mapping

_SEPARATOR = r"(?:%2[0DdEe]|[ \t\u00a0+._\-\u2010-\u2015]{1,2})"
_RUN = re.compile(rf"\d(?:{_SEPARATOR}?\d){{12,}}")
_STRETCH = re.compile(r"[\d \t+._-]{13,}", re.ASCII)
"""Where there may be such a run in plain text: what breaks off here is not looked at closer."""
_GROUP = re.compile(rf"(\d+)({_SEPARATOR}?)")
_NETWORKS = re.compile(
    r"""
    4(?:\d{12}|\d{15}|\d{18})                                       # Visa
    | 5[1-5]\d{14} | (?:222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}  # Mastercard
    | 3[47]\d{13}                                                   # American Express
    | 3[0689]\d{12,17}                                              # Diners Club
    | 35\d{14,17}                                                   # JCB
    | (?:5[06-8]|6\d)\d{11,17}                          # Maestro, Discover, UnionPay, RuPay
    | 220[0-4]\d{12,15}                                             # Mir
    """,
    re.VERBOSE | re.ASCII,
)
_START = re.compile(r"(?<!\d)(?:4|6|[25]\D|2[2-7]|3|5[0-8])", re.ASCII)
"""How a group of digits begins from which a number of one of these networks may begin: no date
of this century does."""

_UUID = re.compile(
    r"(?<![0-9a-z])[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    r"(?![0-9a-z])",
    re.IGNORECASE | re.ASCII,
)
"""RFC 9562: one in some 1,500 has digits between its dashes that pass for a card number."""

_NO_DIGITS = "x" * 36
"""As long as a UUID."""

_CODE_NAME = r"(?:cvv2?|cvc2?|cav2|csc|card[\s_-]?(?:verification|security)[\s_-]?(?:code|value))"
_CODE = re.compile(
    rf"(?i)(?<![a-z])({_CODE_NAME}[\"']?(?:\s+is)?[\s:=]{{1,3}}[\"']?)\d{{3,4}}(?!\d)"
)
_CODE_FIELD = re.compile(rf"(?i){_CODE_NAME}|security[\s_-]?code")
_CODE_HINT = re.compile("cvv|cvc|cav2|csc|card")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

SHORTEST = 13
"""Digits of a card number at least."""


def holds_card_number(text: str) -> bool:
    """Whether a card number stands anywhere in the text."""
    return _has_enough_digits(text) and next(_card_numbers(text), None) is not None


def is_code_field(name: str) -> bool:
    """Whether a field or column of this name holds card verification codes."""
    return _CODE_FIELD.fullmatch(name.strip()) is not None


def masked(text: str) -> str:
    """The text with the middle of every card number, and every named code, starred out."""
    if _has_enough_digits(text):
        parts: list[str] = []
        done = 0
        for begin, end, digits in _card_numbers(text):
            parts += text[done:begin], digits[:6], "*" * (len(digits) - 10), digits[-4:]
            done = end
        text = "".join(parts) + text[done:]
    if _CODE_HINT.search(text.lower()):
        text = _CODE.sub(r"\1***", text)
    return text


def masked_value(value: object) -> object:
    """A JSON-like value with everything in it masked, keys included; numbers may be cards too."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        text = f"{value:.0f}" if value == value and abs(value) < 1e19 else ""
        return masked(text) if holds_card_number(text) and float(text) == value else value
    if isinstance(value, Mapping):
        return masked_record(value)
    if isinstance(value, list | tuple):
        return [masked_value(each) for each in value]
    return value


def masked_record(record: Mapping[str, object]) -> dict[str, object]:
    """The fields of a record, masked; of a field that is named after a code nothing stays."""
    return {
        masked(str(name)): "***" if is_code_field(str(name)) else masked_value(value)
        for name, value in record.items()
    }


def card_fields(content: Mapping[str, object]) -> list[str]:
    """Names of the texts of a JSON object that hold a card number, e.g. `entries.2.value`."""
    found: list[str] = []
    for name, value in content.items():
        if isinstance(value, str):
            if holds_card_number(value):
                found.append(name)
        elif isinstance(value, dict):
            found += [f"{name}.{inner}" for inner in card_fields(value)]
        elif isinstance(value, list):
            found += [f"{name}.{inner}" for inner in card_fields(dict(_numbered(value)))]
    return found


def install_masking() -> None:
    """Mask every log record of this process as it is made, whoever logs and wherever to."""
    before = logging.getLogRecordFactory()
    if isinstance(before, _MaskedRecords):
        return
    logging.setLogRecordFactory(_MaskedRecords(before))


class _MaskedRecords:
    """A factory of log records that hold no card data, tracebacks included."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: object, **kwargs: object) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        said = record.getMessage()
        shown = masked(said)
        if shown != said:
            record.msg, record.args = shown, None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = masked("".join(traceback.format_exception(*record.exc_info))).rstrip()
        return record


def _numbered(values: list[object]) -> Iterator[tuple[str, object]]:
    return ((str(place), value) for place, value in enumerate(values))


def _has_enough_digits(text: str) -> bool:
    """A cheap look: most fields of most requests are shorter than any card number."""
    if len(text) < SHORTEST:
        return False
    if not text.isascii():  # digits are not only those of ASCII
        return True
    return len(text) - len(text.encode().translate(None, b"0123456789")) >= SHORTEST


def _may_hold_run(text: str) -> bool:
    """A closer look, still cheap: timestamps, ids and hashes go no further."""
    if text.isascii() and "%" not in text:
        return any(map(_START.search, _STRETCH.findall(text)))
    return _RUN.search(text) is not None


def _card_numbers(text: str) -> Iterator[tuple[int, int, str]]:
    """Begin, end and digits of every card number, from left to right."""
    if not _may_hold_run(text):  # nor is there one without the UUIDs
        return
    if text.count("-") >= 4:
        text = _UUID.sub(_NO_DIGITS, text)
    for run in _RUN.finditer(text):
        if run[0].isascii() and _START.search(run[0]) is None:
            continue
        groups = [
            (run.start() + each.start(1), run.start() + each.end(1), each[1], each[2])
            for each in _GROUP.finditer(run[0])
        ]
        first = 0
        while first < len(groups):
            last = _last_group(groups, first)
            if last is None:
                first += 1
                continue
            yield groups[first][0], groups[last][1], _digits(groups, first, last)
            first = last + 1


_Groups = list[tuple[int, int, str, str]]


def _last_group(groups: _Groups, first: int) -> int | None:
    """The last of the groups that from this one on are a card number; None if they are not."""
    if groups[first][2][0] in "01789":  # no network's
        return None
    found = None
    digits = 0
    for last in range(first, len(groups)):
        digits += len(groups[last][2])
        if digits > 19 or (last > first and groups[last - 1][3] != groups[first][3]):
            break
        if digits >= SHORTEST and _is_card_number(_digits(groups, first, last)):
            found = last
    return found


def _digits(groups: _Groups, first: int, last: int) -> str:
    joined = "".join(digits for _, _, digits, _ in groups[first : last + 1])
    return joined if joined.isascii() else "".join(str(int(each)) for each in joined)


def _is_card_number(digits: str) -> bool:
    if _NETWORKS.fullmatch(digits) is None:
        return False
    numbers = [int(each) for each in reversed(digits)]
    return (sum(numbers[::2]) + sum(_DOUBLED[each] for each in numbers[1::2])) % 10 == 0
