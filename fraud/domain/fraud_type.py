"""A fraud type: everything the platform must know of it, declared in one file."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from fraud.domain.aggregates import DISTINCT_MEMORY, OUTCOME_MEMORY, Aggregate
from fraud.domain.errors import ContractError
from fraud.domain.event import Scalar, TransactionBase, entity_key, field_kinds, sensitive_fields
from fraud.domain.features import Feature
from fraud.domain.places import EARTH_RADIUS_M, FASTEST_KMH, LEAST_ELAPSED_US
from fraud.domain.policy import Costs, Thresholds
from fraud.domain.rules import Rule
from fraud.domain.windows import LATENESS_HOPS, parse_duration

CONTRACT_VERSION = 2
"""Raised when the feature contract changes the value of any feature."""


@dataclass(frozen=True)
class Entity:
    """Somebody or something with a history: identified by one or more text fields."""

    name: str
    fields: tuple[str, ...]

    def key(self, values: Mapping[str, Scalar]) -> str | None:
        """The key of this entity's state for an event; None where a field is null."""
        parts = [values[name] for name in self.fields]
        if None in parts:
            return None
        return entity_key(self.name, [str(part) for part in parts])


@dataclass(frozen=True)
class FraudType:
    """One kind of fraud.

    Attributes:
        name: as used in URLs, tables and files.
        title: for people.
        transaction: the door: the fields of a transaction and what is accepted.
        subject: the field that says whose case an event is: whom analysts look at.
        entities: whose histories the features look at.
        features: in the order of the model's input.
        rules: conditions that raise the risk whatever the model says.
        costs: what mistakes cost.
        fallback_thresholds: used where a model brings none.
        thresholds: what models of this type bring; None lets training choose them by cost.
        maturity: duration after which a transaction without a fraud label counts as genuine.
        on_failure: what is answered while model, features or ledger are away.
    """

    name: str
    title: str
    transaction: type[TransactionBase]
    subject: str
    entities: tuple[Entity, ...]
    features: tuple[Feature, ...]
    rules: tuple[Rule, ...]
    costs: Costs
    fallback_thresholds: Thresholds
    maturity: str
    on_failure: Literal["rules_only", "refuse"]
    thresholds: Thresholds | None = None
    reviewer_group: str = field(default="fraud-analysts")

    def __post_init__(self) -> None:
        self._check_fields()
        names = self.feature_names
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ContractError(
                f"{self.name}: features declared twice: {', '.join(doubled)}",
                remedy="Give each feature one line.",
            )
        known = {entity.name for entity in self.entities}
        for feature in self.features:
            unknown = {aggregate.entity for aggregate in feature.aggregates()} - known
            if unknown:
                raise ContractError(
                    f"{self.name}: feature {feature.name} looks at {sorted(unknown)}",
                    remedy=f"Declared entities are {sorted(known)}.",
                )
            if float(np.float32(feature.default)) != feature.default:
                raise ContractError(
                    f"{self.name}: the default {feature.default!r} of {feature.name} is no float32",
                    remedy="Take a number that is one, such as 0, -1 or 0.5.",
                )
        for rule in self.rules:
            for condition in rule.conditions:
                if condition.feature not in names:
                    raise ContractError(
                        f"{self.name}: rule {rule.code} tests {condition.feature!r}",
                        remedy="Rules test declared features.",
                    )

    def _check_fields(self) -> None:
        if not re.fullmatch("[a-z][a-z0-9_]{0,49}", self.name):
            raise ContractError(
                f"A fraud type is called {self.name!r}",
                remedy="Use up to 50 small letters, digits and underscores, a letter first.",
            )
        kinds = field_kinds(self.transaction)
        for name in kinds:
            default = self.transaction.model_fields[name]
            # A file's empty cell is null: any other default would let the two doors disagree.
            if not default.is_required() and default.get_default() is not None:
                raise ContractError(
                    f"{self.name}: the field {name} has the default {default.get_default()!r}",
                    remedy="Require it, or let it be None and give its features a default.",
                )
        texts = [name for name, kind in kinds.items() if kind == "text"]
        for name in (name for entity in self.entities for name in entity.fields):
            if name not in texts:
                raise ContractError(
                    f"{self.name}: {name!r} identifies an entity, but is not a text field",
                    remedy=f"Text fields are {', '.join(texts)}.",
                )
        if (self.subject,) not in [entity.fields for entity in self.entities]:
            raise ContractError(
                f"{self.name}: the subject {self.subject!r} is not an entity by itself",
                remedy=f'Declare Entity("...", ("{self.subject}",)).',
            )
        if not self.transaction.model_fields[self.subject].is_required():
            raise ContractError(
                f"{self.name}: the subject {self.subject!r} may be missing",
                remedy="Require it: every event is somebody's.",
            )
        for feature in self.features:
            named = getattr(feature, "field", "") or getattr(feature, "of", "")
            if named and named not in kinds:
                raise ContractError(
                    f"{self.name}: feature {feature.name} reads the field {named!r}",
                    remedy=f"Declared fields are {', '.join(kinds)}.",
                )

        self._check_sensitive(kinds)

    def _check_sensitive(self, kinds: Mapping[str, str]) -> None:
        """Whatever is sensitive becomes a pseudonym: it can be compared and nothing else."""
        sensitive = sensitive_fields(self.transaction)
        for name in sensitive:
            if kinds[name] != "text":
                raise ContractError(
                    f"{self.name}: the sensitive field {name!r} is no text",
                    remedy="A pseudonym cannot be computed with: leave the field open, and say so.",
                )
        for feature in self.features:
            read = getattr(feature, "field", "")
            if read in sensitive:
                raise ContractError(
                    f"{self.name}: feature {feature.name} reads the sensitive field {read!r}",
                    remedy="Entities, distinct counts and changes may look at it; values are "
                    "known to rules only.",
                )

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in model order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def aggregates(self) -> tuple[Aggregate, ...]:
        """All aggregates the features need, each once."""
        return tuple(
            dict.fromkeys(
                aggregate for feature in self.features for aggregate in feature.aggregates()
            )
        )

    @cached_property
    def maturity_us(self) -> int:
        """Maturity in microseconds."""
        return parse_duration(self.maturity)

    @property
    def schema(self) -> dict[str, Any]:
        """All that gives the features their meaning, as plain data; `features` in model order."""
        return {
            "contract": CONTRACT_VERSION,
            "lateness_hops": LATENESS_HOPS,
            "outcome_memory": OUTCOME_MEMORY,
            "distinct_memory": DISTINCT_MEMORY,
            "earth_radius_m": EARTH_RADIUS_M,
            "least_elapsed_us": LEAST_ELAPSED_US,
            "fastest_kmh": FASTEST_KMH,
            "maturity": self.maturity,
            "fields": field_kinds(self.transaction),
            "entities": [dataclasses.asdict(entity) for entity in self.entities],
            "features": [
                [type(feature).__name__, dataclasses.asdict(feature)] for feature in self.features
            ],
        }

    @cached_property
    def schema_hash(self) -> str:
        """Content address of the schema; serving compares it with training's."""
        return hashlib.sha256(json.dumps(self.schema, sort_keys=True).encode()).hexdigest()[:16]
