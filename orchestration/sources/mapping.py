"""Column mappings: what a source calls the fields of a fraud type, written in YAML.

time_zone: Europe/Paris          # of times without an offset; UTC if absent
delimiter: ";"                   # of CSV files; a comma if absent
transaction:
  transaction_id: TX_ID          # a column
  timestamp: {column: TS, epoch: s}
  amount: {column: CENTS, divide_by: 100}
  merchant_category: {constant: grocery}
  card_present: {column: ENTRY, map: {chip: true, keyed: false}}
  email_domain: {column: EMAIL, extract: "@(.+)$"}   # the group of a regular expression
  transaction_id: {digest_of: [IP, EMAIL, TS]}       # where rows have no number of their own
  observed_at: SEEN              # `timestamp` if absent
label:                           # leave out where there are no labels
  is_fraud: FRAUD
  report_delay: 7d               # after the timestamp; or reported_at: COLUMN
  source: {constant: chargeback} # the default
  keep_genuine: false            # true where "not fraud" is a verdict, not a silence
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator

from fraud.domain.errors import InvalidField, MalformedInput, NotFound
from fraud.domain.event import TransactionBase
from fraud.domain.windows import parse_duration


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _text_keys(values: object) -> object:
    if not isinstance(values, dict):
        return values
    if any(isinstance(key, bool) for key in values):
        raise ValueError("quote the keys of map: YAML reads yes, no, on and off as true or false")
    return {str(key): value for key, value in values.items()}


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"{pattern!r} must have one group in parentheses, and has {groups}")
    return pattern


class Column(_Strict):
    """Where the values of one field come from."""

    column: str | None = None
    constant: str | bool | float | None = None
    digest_of: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    extract: Annotated[str, AfterValidator(_one_group)] | None = None
    map: Annotated[dict[str, str | bool | float | None] | None, BeforeValidator(_text_keys)] = None
    epoch: Annotated[str, Field(pattern="^(s|ms|us)$")] | None = None
    divide_by: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [self.column, self.constant, self.digest_of]
        if sum(each is not None for each in given) != 1:
            raise ValueError("give either a column or a constant (or digest_of)")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The source's columns it needs."""
        return (self.column,) if self.column else self.digest_of or ()


def _as_column(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"there is no time zone {name!r}; write it like Europe/Paris") from error
    return name


def _known_duration(text: str) -> str:
    parse_duration(text)
    return text


Origin = Annotated[Column, BeforeValidator(_as_column)]


class LabelMapping(_Strict):
    """Where labels come from."""

    is_fraud: Origin
    reported_at: Origin | None = None
    report_delay: Annotated[str, AfterValidator(_known_duration)] | None = None
    source: Origin = Column(constant="chargeback")
    keep_genuine: bool = False

    @model_validator(mode="after")
    def _one_moment(self) -> Self:
        if (self.reported_at is None) == (self.report_delay is None):
            raise ValueError("give either reported_at or report_delay")
        return self


class Mapping(_Strict):
    """A whole mapping file."""

    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    transaction: dict[str, Origin]
    label: LabelMapping | None = None

    def columns(self) -> list[str]:
        """The source's columns that are needed, each once."""
        origins = list(self.transaction.values())
        if self.label is not None:
            origins += [self.label.is_fraud, self.label.source]
            origins += [self.label.reported_at] if self.label.reported_at else []
        return list(dict.fromkeys(column for origin in origins for column in origin.columns))


def load_mapping(path: Path, model: type[TransactionBase]) -> Mapping:
    """Read a mapping and hold it against the fraud type it is for.

    Raises:
        NotFound: there is no such file.
        MalformedInput: it is not YAML, or not of the form above.
        InvalidField: it names an unknown field, or leaves out a required one.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(
            f"The mapping {path} cannot be read: {error.strerror}.", remedy="Check the path."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise MalformedInput(
            f"The mapping {path.name} is not valid YAML{where}.",
            remedy="Compare it with examples/handbook.yaml.",
        ) from None
    try:
        mapping = Mapping.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise MalformedInput(
            f"The mapping {path.name} is wrong at {place}: {_plain(first['msg'])}.",
            remedy="Compare it with examples/handbook.yaml.",
        ) from None
    _check_fields(mapping, path.name, model)
    return mapping


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def _check_fields(mapping: Mapping, name: str, model: type[TransactionBase]) -> None:
    known = [*model.model_fields, "observed_at"]
    problems = []
    for field in mapping.transaction:
        if field not in known:
            close = difflib.get_close_matches(field, known, 1)
            meant = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(known)}."
            problems.append((field, f"is not a field that {name} can map to", meant))
    for field, info in model.model_fields.items():
        if info.is_required() and field not in mapping.transaction:
            problems.append((field, f"is required, and {name} maps nothing to it", "Add a line."))
    if not {"timestamp", "observed_at"} & set(mapping.transaction):
        problems.append(("timestamp", f"is missing in {name}", "Map a column to it."))
    if problems:
        raise InvalidField(problems)
