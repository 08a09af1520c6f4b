"""What a fraud type's pydantic model demands of each field, as data a frame can be held to.

The model stays the only declaration. A demand this module cannot read is not ignored: the
field is marked as not understood, and its rows go through pydantic one by one.
"""

import datetime as dt
import types
import typing
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import AfterValidator, BeforeValidator
from pydantic.fields import FieldInfo

from fraud.domain.event import Money, Timestamp, TogetherWith, TransactionBase
from fraud.domain.time_zones import known_zone, zone_names

Kind = Literal["text", "number", "whole", "flag", "money", "moment"]

_KINDS: dict[Any, Kind] = {str: "text", float: "number", int: "whole", bool: "flag"}
_ALIASES: tuple[tuple[Any, Kind], ...] = ((Money, "money"), (Timestamp, "moment"))
_VALIDATORS: dict[int, Kind] = {
    id(note.func): kind
    for annotation, kind in _ALIASES
    for note in typing.get_args(annotation)
    if isinstance(note, BeforeValidator)
}
# Beyond these signs, Arrow's and pydantic's pattern languages may mean different things.
_PLAIN_PATTERN = frozenset("^$[]{}-~!+,*_:/@") | frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)


@dataclass
class Constraint:
    """What one field demands.

    Attributes:
        name: of the field.
        kind: how its values are held in a column.
        is_required: a row without it is refused.
        is_nullable: null is an accepted value.
        choices: the only texts allowed, if listed.
        patterns: regular expressions a text must match.
        least_length: of a text, in characters.
        most_length: of a text, in characters.
        bounds: `(comparison, number)` a number must satisfy, comparison one of ge gt le lt.
        is_accepted: what a text must pass besides, by its value alone; None if nothing.
        together_with: a field that is null where this one is, and only there; none if empty.
        is_understood: whether all demands are held in this object.
    """

    name: str
    kind: Kind = "number"
    is_required: bool = False
    is_nullable: bool = False
    choices: tuple[str, ...] = ()
    patterns: list[str] = field(default_factory=list)
    least_length: int = 0
    most_length: int | None = None
    bounds: list[tuple[str, float]] = field(default_factory=list)
    is_accepted: Callable[[str], bool] | None = None
    together_with: str = ""
    is_understood: bool = True


@cache
def constraints(model: type[TransactionBase]) -> tuple[Constraint, ...]:
    """The constraints of a model's fields, in declared order."""
    found = tuple(_constraint(name, info) for name, info in model.model_fields.items())
    validators = model.__pydantic_decorators__
    written = {f for v in validators.field_validators.values() for f in v.info.fields}
    for constraint in found:
        if validators.model_validators or written & {constraint.name, "*"}:
            constraint.is_understood = False
    return found


def _constraint(name: str, info: FieldInfo) -> Constraint:
    found = Constraint(name, is_required=info.is_required())
    _read_annotation(info.annotation, found)
    for note in info.metadata:
        _read_note(note, found)
    return found


def _read_annotation(annotation: Any, found: Constraint) -> None:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(annotation) if part is not type(None)]
        found.is_nullable = len(inner) < len(typing.get_args(annotation))
        found.is_understood &= len(inner) == 1
        _read_annotation(inner[0], found)
    elif origin is Annotated:
        plain, *notes = typing.get_args(annotation)
        _read_annotation(plain, found)
        for note in notes:
            for part in note.metadata if isinstance(note, FieldInfo) else [note]:
                _read_note(part, found)
    elif origin is Literal:
        choices = typing.get_args(annotation)
        found.kind, found.choices = "text", choices
        found.is_understood &= all(isinstance(choice, str) for choice in choices)
    elif annotation in _KINDS:
        found.kind = _KINDS[annotation]
    elif annotation is not dt.datetime:
        found.is_understood = False


def _read_note(note: Any, found: Constraint) -> None:
    if isinstance(note, BeforeValidator) and id(note.func) in _VALIDATORS:
        found.kind = _VALIDATORS[id(note.func)]
    elif isinstance(note, AfterValidator) and note.func is known_zone:
        found.is_accepted = zone_names().__contains__
    elif isinstance(note, AfterValidator) and isinstance(note.func, TogetherWith):
        found.together_with = note.func.field
    elif isinstance(note, MinLen):
        found.least_length = note.min_length
    elif isinstance(note, MaxLen):
        found.most_length = note.max_length
    elif isinstance(note, Ge | Gt | Le | Lt):
        ((comparison, bound),) = asdict(note).items()
        found.bounds.append((comparison, float(bound)))
    elif isinstance(pattern := getattr(note, "pattern", None), str) and vars(note) == {
        "pattern": pattern
    }:
        found.patterns.append(pattern)
        found.is_understood &= set(pattern) <= _PLAIN_PATTERN and "[^" not in pattern
    else:
        found.is_understood = False
