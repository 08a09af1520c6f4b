"""The declared fraud types, found by looking into this folder: a new file is a new type."""

import importlib
import pkgutil
from functools import cache

import fraud.types
from fraud.domain.errors import NotFound
from fraud.domain.fraud_type import FraudType


@cache
def fraud_types() -> dict[str, FraudType]:
    """All declared fraud types by name."""
    found: dict[str, FraudType] = {}
    for module in pkgutil.iter_modules(fraud.types.__path__):
        if module.name == "registry":
            continue
        namespace = vars(importlib.import_module(f"fraud.types.{module.name}"))
        for value in namespace.values():
            if isinstance(value, FraudType):
                found[value.name] = value
    return dict(sorted(found.items()))


def fraud_type(name: str) -> FraudType:
    """The fraud type of this name.

    Raises:
        NotFound: no file in `fraud/types` declares it.
    """
    try:
        return fraud_types()[name]
    except KeyError:
        raise NotFound(
            f"There is no fraud type {name!r}.",
            remedy=f"Declared are: {', '.join(fraud_types())}.",
            field="fraud_type",
        ) from None
