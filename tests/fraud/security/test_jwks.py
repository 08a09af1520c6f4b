"""Public key sets: which keys are taken, which are left out, and where from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from fraud.domain.errors import SettingsError, UnavailableError
from fraud.security.jwks import load_jwks, parse_jwks
from fraud.security.keyring import Keyring
from fraud.settings import load_settings

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def public_rsa(bits: int = 2048, **changes: Any) -> dict[str, Any]:
    key = RSA_KEY if bits == 2048 else rsa.generate_private_key(65537, bits)
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "rsa", **changes}


def public_ec(curve: ec.EllipticCurve | None = None, **changes: Any) -> dict[str, Any]:
    key = EC_KEY if curve is None else ec.generate_private_key(curve)
    return {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "ec", **changes}


def parsed(*keys: object) -> dict[str, str]:
    """Algorithms of the keys that were taken, by kid."""
    found = parse_jwks(json.dumps({"keys": keys}).encode(), "test", "them")
    assert all(key.issuer == "them" for key in found.values())
    return {name: key.algorithm for name, key in found.items()}


def test_rsa_and_p256_keys_are_taken() -> None:
    assert parsed(public_rsa(), public_ec()) == {"rsa": "RS256", "ec": "ES256"}
    assert parsed(public_rsa(alg="RS256", use="sig")) == {"rsa": "RS256"}


LEFT_OUT: dict[str, Callable[[], object]] = {
    "no object": lambda: 7,
    "no kid": lambda: {k: v for k, v in public_rsa().items() if k != "kid"},
    "kid is no text": lambda: public_rsa(kid=7),
    "too short": lambda: public_rsa(bits=1024),
    "other curve": lambda: public_ec(ec.SECP384R1()),
    "wrong curve": lambda: public_ec(crv="P-384"),
    "for encryption": lambda: public_rsa(use="enc"),
    "other algorithm": lambda: public_rsa(alg="PS256"),
    "symmetric": lambda: {"kty": "oct", "kid": "x", "k": "c2VjcmV0" * 8},
    "symmetric in disguise": lambda: {"kty": "RSA", "kid": "x", "k": "c2VjcmV0" * 8},
    "no point": lambda: public_ec(x="AAAA", y="AAAA"),
    "private": lambda: {**RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True), "kid": "private"},
    "ed25519": lambda: {
        **OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True),
        "kid": "ed",
    },
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_other_keys_are_left_out(case: str, caplog: pytest.LogCaptureFixture) -> None:
    assert parsed(LEFT_OUT[case](), public_ec()) == {"ec": "ES256"}
    assert "Key 0 of test is left out" in caplog.text


def test_of_two_keys_with_one_name_the_first_counts() -> None:
    assert parsed(public_ec(kid="x"), public_rsa(kid="x")) == {"x": "ES256"}


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 100_000])
def test_what_is_no_key_set_says_so(content: bytes) -> None:
    with pytest.raises(SettingsError, match="no JSON Web Key Set"):
        parse_jwks(content, "test", "them")


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    settings = load_settings(run_dir=tmp_path, jwks=str(tmp_path / "keys.json"))
    with pytest.raises(SettingsError, match="FRAUD_JWKS names"):
        Keyring(settings)


def test_a_server_that_is_away_does_not(tmp_path: Path) -> None:
    settings = load_settings(run_dir=tmp_path, jwks="http://127.0.0.1:9/keys")
    keyring = Keyring(settings)
    with pytest.raises(UnavailableError, match="cannot be fetched"):
        keyring.load_public_keys()
    with pytest.raises(UnavailableError):
        load_jwks("http://127.0.0.1:9/keys", "them")


@pytest.mark.parametrize("source", ["http://192.0.2.1/keys", "ftp://127.0.0.1/keys"])
def test_keys_come_over_a_safe_line(tmp_path: Path, source: str) -> None:
    with pytest.raises(SettingsError, match="FRAUD_JWKS is wrong"):
        load_settings(run_dir=tmp_path, jwks=source)


def test_a_change_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [public_ec()]}))
    keyring = Keyring(load_settings(run_dir=tmp_path, jwks=str(path)))
    assert not keyring.load_public_keys()
    path.write_text(json.dumps({"keys": [public_ec(ec.SECP256R1())]}))  # another key of that name
    assert keyring.load_public_keys()
