"""Fraud types are found in the package, and in a folder of one's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fraud.domain.errors import ContractError, NotFound, SettingsError
from fraud.types.registry import fraud_type, fraud_types

OWN = """\
import dataclasses
from fraud.types.ach import ACH
GIFT = dataclasses.replace(ACH, name={name!r}, title="Gifts")
"""

Declare = Callable[[str], None]


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Declare]:
    monkeypatch.setenv("FRAUD_TYPES_PATH", str(tmp_path))

    def write(text: str) -> None:
        (tmp_path / "gift.py").write_text(text)
        fraud_types.cache_clear()

    yield write
    fraud_types.cache_clear()


def test_the_four_types_are_there() -> None:
    assert {"account_opening", "account_takeover", "ach", "credit_card"} <= set(fraud_types())


def test_a_file_in_a_folder_of_ones_own_is_a_type(declare: Declare) -> None:
    declare(OWN.format(name="gift"))
    assert fraud_type("gift").title == "Gifts"
    assert "ach" in fraud_types()


@pytest.mark.parametrize(
    ("text", "error", "what"),
    [
        (OWN.format(name="ach"), ContractError, "gift.py declares 'ach', and so does another file"),
        (OWN.format(name="Gift-Cards"), ContractError, "is called 'Gift-Cards'"),
        ("import no_such_module", SettingsError, "gift.py cannot be read: ModuleNotFoundError"),
        ("GIFT = (", SettingsError, "gift.py cannot be read: SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    declare: Declare, text: str, error: type[Exception], what: str
) -> None:
    declare(text)
    with pytest.raises(error, match=what):
        fraud_types()


def test_a_folder_that_is_none_is_refused(
    declare: Declare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    declare("")
    monkeypatch.setenv("FRAUD_TYPES_PATH", str(tmp_path / "gone"))
    with pytest.raises(SettingsError, match=r"FRAUD_TYPES_PATH names .*gone, which is no folder"):
        fraud_types()


def test_an_unknown_type_is_told_where_to_stand() -> None:
    with pytest.raises(NotFound, match=r"There is no fraud type 'gift'.*FRAUD_TYPES_PATH"):
        fraud_type("gift")
