"""Public keys of another issuer, as a JSON Web Key Set (RFC 7517): from a file or by HTTPS."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from fraud.domain.errors import SettingsError, UnavailableError
from fraud.security.tokens import VerificationKey

MIN_RSA_BITS = 2048
MAX_BYTES = 256 * 1024
FETCH_TIMEOUT_S = 5.0

_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y")}
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}

log = logging.getLogger("fraud.security")


def is_url(source: str) -> bool:
    """Whether a source is fetched rather than read."""
    return "://" in source


def load_jwks(source: str, issuer: str) -> dict[str, VerificationKey]:
    """The keys of a source by `kid`; this blocks.

    Args:
        source: path of a file, or a URL.
        issuer: the `iss` that tokens signed with them must have.

    Raises:
        UnavailableError: the URL does not answer as it should.
        SettingsError: the file cannot be read, or it is no key set.
    """
    return parse_jwks(_fetched(source) if is_url(source) else _read(source), source, issuer)


def parse_jwks(content: bytes, source: str, issuer: str) -> dict[str, VerificationKey]:
    """The usable keys of a key set by `kid`.

    Left out, with a line in the log: keys without `kid`, of other kinds, too short, for
    encryption, or secret.

    Raises:
        SettingsError: it is no key set.
    """
    try:
        keys = json.loads(content)["keys"]
        if not isinstance(keys, list):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SettingsError(
            f"{source} is no JSON Web Key Set.", remedy="It must hold an object with a list `keys`."
        ) from None
    found: dict[str, VerificationKey] = {}
    for place, each in enumerate(keys):
        try:
            key_id, key = _key(each, issuer)
            if key_id in found:
                raise ValueError("its kid stands twice")
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            log.warning("Key %d of %s is left out: %s", place, source, error)
        else:
            found[key_id] = key
    return found


def _key(data: Any, issuer: str) -> tuple[str, VerificationKey]:
    if not isinstance(data, Mapping):
        raise TypeError("it is no object")
    key_id, kind = data.get("kid"), data.get("kty")
    if not isinstance(key_id, str) or not key_id:
        raise ValueError("it has no kid")
    if kind not in _PUBLIC:
        raise ValueError("it is neither RSA nor EC")
    algorithm = _ALGORITHMS[kind]
    if data.get("alg", algorithm) != algorithm or data.get("use", "sig") != "sig":
        raise ValueError(f"it is not for {algorithm} signatures")
    if "d" in data:
        raise ValueError("it is a private key, which must not be published")
    if kind == "EC" and data.get("crv") != "P-256":
        raise ValueError("its curve is not P-256")
    public = {"kty": kind, **{name: data[name] for name in _PUBLIC[kind] if name in data}}
    key = jwt.PyJWK(public, algorithm=algorithm).key
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise ValueError(f"it has fewer than {MIN_RSA_BITS} bits")
    return key_id, VerificationKey(key, algorithm, issuer)


def _read(source: str) -> bytes:
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"FRAUD_JWKS names {source!r}, which cannot be read: {error.strerror}.",
            remedy="Give the path or the https:// URL of a JSON Web Key Set.",
        ) from None


def _fetched(source: str) -> bytes:
    content = b""
    try:
        with httpx.stream("GET", source, timeout=FETCH_TIMEOUT_S) as response:
            if response.status_code != 200:
                raise _unavailable(source, f"it answered {response.status_code}")
            for part in response.iter_bytes():
                content += part
                if len(content) > MAX_BYTES:
                    raise _unavailable(source, f"it sent more than {MAX_BYTES:,} bytes")
    except httpx.HTTPError as error:
        raise _unavailable(source, f"{type(error).__name__}: {error}") from None
    return content


def _unavailable(source: str, why: str) -> UnavailableError:
    return UnavailableError(
        f"The key set {source} cannot be fetched: {why}.", remedy="Check FRAUD_JWKS."
    )
