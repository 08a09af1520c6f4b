"""The declared fraud types: a new file is a new type, here or in a folder of your own."""

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import fraud.types
from fraud.domain.errors import ContractError, FraudError, NotFound, SettingsError
from fraud.domain.fraud_type import FraudType
from fraud.settings import load_settings


@cache
def fraud_types() -> dict[str, FraudType]:
    """All declared fraud types by name: of this folder, then of FRAUD_TYPES_PATH.

    Raises:
        SettingsError: the folder of FRAUD_TYPES_PATH, or a file in it, cannot be used.
        ContractError: a declaration contradicts itself, or a name is taken.
    """
    found: dict[str, FraudType] = {}
    own = load_settings().types_path
    for module in [*_ours(), *(_theirs(own) if own else ())]:
        for value in vars(module).values():
            if isinstance(value, FraudType) and found.setdefault(value.name, value) is not value:
                raise ContractError(
                    f"{module.__file__} declares {value.name!r}, and so does another file.",
                    remedy="Give it a name of its own.",
                )
    return dict(sorted(found.items()))


def fraud_type(name: str) -> FraudType:
    """The fraud type of this name.

    Raises:
        NotFound: no file declares it.
    """
    try:
        return fraud_types()[name]
    except KeyError:
        raise NotFound(
            f"There is no fraud type {name!r}.",
            remedy=f"Declared are: {', '.join(fraud_types())}. A file of your own is found "
            "where FRAUD_TYPES_PATH names its folder.",
            field="fraud_type",
        ) from None


def _ours() -> Iterator[ModuleType]:
    for module in pkgutil.iter_modules(fraud.types.__path__):
        if module.name != "registry":
            yield importlib.import_module(f"fraud.types.{module.name}")


def _theirs(folder: Path) -> Iterator[ModuleType]:
    if not folder.is_dir():
        raise SettingsError(
            f"FRAUD_TYPES_PATH names {folder}, which is no folder.",
            remedy="Give the folder that holds the files of your fraud types, or unset it.",
            field="types_path",
        )
    for path in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"fraud_types_of_your_own.{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except FraudError:
            raise
        except Exception as error:
            raise SettingsError(
                f"The fraud type file {path} cannot be read: {type(error).__name__}: {error}.",
                remedy="Compare it with docs/adding-a-fraud-type.md.",
                field="types_path",
            ) from error
        yield module
