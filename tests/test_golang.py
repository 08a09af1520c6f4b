"""Which versions of Go tests can use."""

import pytest

from tests.golang import is_new


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("go version go1.19.8 linux/amd64", False),
        ("go version go1.20 linux/amd64", False),
        ("go version go1.21 linux/amd64", True),
        ("go version go1.26.8 linux/arm64", True),
        ("go version devel +1a2b3c linux/amd64", True),
    ],
)
def test_an_old_go_is_told_from_a_new_one(said: str, verdict: bool) -> None:
    assert is_new(said) is verdict
