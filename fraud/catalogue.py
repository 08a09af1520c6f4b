"""The catalogue of features: a page generated from the fraud types, and what differs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from fraud.domain.features import Feature
from fraud.domain.fraud_type import FraudType

DTYPE = "float32"
"""Of every feature's value."""

_HEAD = """# Features

What models see, by fraud type, in the order of their input. [The contract](../feature_store/CONTRACT.md) says what the words mean.

*Written by `fraud features docs --write` from `fraud/types`; `make check` fails where it is not current.*
"""  # noqa: E501
_COLUMNS = ("feature", "description", "of", "type", "default", "unit")


@dataclass(frozen=True)
class Schema:
    """The features of one schema hash, as far as they are known.

    Attributes:
        name: what a person calls it, e.g. `code` or the file it came from.
        schema_hash: names it.
        feature_names: in the order of the model's input.
        definition: see `definition_of`; None where only the names were kept.
    """

    name: str
    schema_hash: str
    feature_names: tuple[str, ...]
    definition: Mapping[str, Any] | None = None


def definition_of(fraud_type: FraudType) -> dict[str, Any]:
    """All that a schema hash stands for, and what people read, as plain data.

    `features` holds one entry per feature, by name; the rest is what they share.
    """
    content = fraud_type.schema
    features = {
        feature.name: {
            "kind": kind,
            **parameters,
            "of": whose(feature),
            "dtype": DTYPE,
            "description": feature.description,
        }
        for feature, (kind, parameters) in zip(
            fraud_type.features, content["features"], strict=True
        )
    }
    entities = {entity.name: list(entity.fields) for entity in fraud_type.entities}
    definition: dict[str, Any] = json.loads(
        json.dumps(content | {"entities": entities, "features": features})
    )
    return definition


def schema_of(fraud_type: FraudType) -> Schema:
    """The schema of the running code."""
    return Schema(
        "code", fraud_type.schema_hash, fraud_type.feature_names, definition_of(fraud_type)
    )


def as_text(schema: Schema) -> str:
    """A schema as JSON, for files."""
    content = {
        "schema_hash": schema.schema_hash,
        "feature_names": schema.feature_names,
        "definition": schema.definition,
    }
    return json.dumps(content, indent=2)


def whose(feature: Feature) -> str:
    """The entities whose history a feature looks at; `event` where it needs none."""
    entities = dict.fromkeys(aggregate.entity for aggregate in feature.aggregates())
    return ", ".join(entities) or "event"


def page(fraud_types: Iterable[FraudType]) -> str:
    """The catalogue as Markdown."""
    return "\n".join([_HEAD, *map(_section, fraud_types)])


def _section(fraud_type: FraudType) -> str:
    rows = [_COLUMNS, tuple("---" for _ in _COLUMNS)]
    for feature in fraud_type.features:
        number = f"{feature.default:.15g}"
        name = f"`{feature.name}`"
        rows.append((name, feature.description, whose(feature), DTYPE, number, feature.unit))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    entities = "; ".join(
        f"{entity.name} by {' and '.join(f'`{field}`' for field in entity.fields)}"
        for entity in fraud_type.entities
    )
    return (
        f"## {fraud_type.title} (`{fraud_type.name}`)\n\n"
        f"{len(fraud_type.features)} features, schema `{fraud_type.schema_hash}`. "
        f"Entities: {entities}.\n\n{table}\n"
    )


def differences(old: Schema, new: Schema) -> list[str]:
    """What became different from one schema to another, one line each; none if nothing."""
    if old.schema_hash == new.schema_hash:
        return []
    lines = list(_of_names(old, new))
    if old.definition is not None and new.definition is not None:
        lines += _of_features(old, old.definition["features"], new.definition["features"])
        lines += _of_the_rest(old.definition, new.definition)
    else:
        unknown = old if old.definition is None else new
        lines.append(f"unknown  of {unknown.name} only the names of the features are kept")
    return lines


def _of_names(old: Schema, new: Schema) -> Iterator[str]:
    for name in old.feature_names:
        if name not in new.feature_names:
            yield f"removed  {name}{_described(old, name)}"
    for name in new.feature_names:
        if name not in old.feature_names:
            yield f"added    {name}{_described(new, name)}"
    kept = [name for name in old.feature_names if name in new.feature_names]
    if kept != [name for name in new.feature_names if name in old.feature_names]:
        yield "moved    features stand in another order"


def _described(schema: Schema, name: str) -> str:
    return f": {schema.definition['features'][name]['description']}" if schema.definition else ""


def _of_features(schema: Schema, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in schema.feature_names:
        changes = _changes(old[name], new.get(name, old[name]))
        if said := "; ".join(f"{what} {before} -> {after}" for what, before, after in changes):
            yield f"changed  {name}: {said}"


def _of_the_rest(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before_rest, after_rest = (
        {key: value for key, value in each.items() if key != "features"} for each in (old, new)
    )
    for what, before, after in _changes(before_rest, after_rest):
        yield f"contract {what}: {before} -> {after}"


def _changes(
    old: Mapping[str, Any], new: Mapping[str, Any], under: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Path, old and new value of everything that differs."""
    for key in dict.fromkeys(chain(old, new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _changes(before, after, f"{under}{key}.")
        elif before != after:
            yield f"{under}{key}", _shown(before), _shown(after)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
