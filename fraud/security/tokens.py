"""Bearer tokens: JSON Web Tokens (RFC 7519) that say who calls and what they may do.

A token must carry `exp`, `iss`, `aud` and `sub`; `scope` lists what it allows, separated by
spaces (RFC 8693). The algorithm is the key's, never the token's: which key may verify with
which algorithm is decided before the signature is looked at.
"""

import datetime as dt
import hashlib
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt
from jwt.exceptions import InvalidJTIError, InvalidSubjectError
from jwt.types import Options

from fraud.domain.errors import Forbidden, SettingsError, Unauthenticated
from fraud.domain.event import EPOCH
from fraud.security.revocation import Revocations
from fraud.security.secret_files import MIN_SECRET_BYTES

MAX_TOKEN_CHARS = 8192
MAX_SUBJECT_CHARS = 200
CLOCK_SKEW_S = 5
"""How far the issuer's clock may run ahead of ours."""

LATEST_S = 60_000_000_000
"""Times beyond the year 3871 are taken for nonsense."""

_REQUIRED = ("exp", "iss", "aud", "sub")
_REMEDY = "Send a valid token in the header 'Authorization: Bearer <token>'."
_SIGNATURE_ONLY = Options(
    verify_exp=False, verify_nbf=False, verify_iat=False, verify_aud=False, verify_iss=False
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, and what the token allows.

    Attributes:
        subject: the claim `sub`.
        scopes: the claim `scope`.
        token_id: the claim `jti`, where there is one.
        issued_s: the claim `iat`, seconds since 1970, where there is one.
    """

    subject: str
    scopes: frozenset[str]
    token_id: str | None = field(default=None, compare=False)
    issued_s: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key, and what it is good for.

    Attributes:
        key: a secret or public key as PyJWT takes it.
        algorithm: the one algorithm it verifies.
        issuer: whose tokens it verifies; None for the verifier's own.
    """

    key: Any = field(repr=False)
    algorithm: str
    issuer: str | None = None


class KeySource(Protocol):
    """Knows the key that a token must be verified with."""

    def find(self, header: Mapping[str, Any]) -> VerificationKey:
        """The key for a token's header.

        Raises:
            Unauthenticated: no key is for such a token.
        """


class SharedSecret:
    """One HS256 secret for every token.

    Raises:
        SettingsError: the secret is shorter than 32 bytes.
    """

    def __init__(self, secret: str) -> None:
        if len(secret.encode()) < MIN_SECRET_BYTES:
            raise SettingsError(
                f"The JWT secret has {len(secret.encode())} bytes; HS256 needs at least "
                f"{MIN_SECRET_BYTES}.",
                remedy="Set FRAUD_JWT_SECRET to a longer one, or unset it to have one made.",
            )
        self._secret = secret

    def find(self, header: Mapping[str, Any]) -> VerificationKey:
        return VerificationKey(self._secret, "HS256")


def issue(
    secret: str,
    subject: str,
    scopes: Iterable[str],
    *,
    lifetime_s: int,
    issuer: str,
    audience: str,
    now_s: float,
    key_id: str | None = None,
) -> str:
    """A signed token.

    Args:
        secret: HS256 secret of at least 32 bytes.
        subject: who will use it.
        scopes: what it allows, e.g. `fraud_detection`.
        lifetime_s: seconds until it expires.
        issuer: the `iss` the verifier expects.
        audience: the `aud` the verifier expects.
        now_s: the time, seconds since 1970.
        key_id: name of the secret, where it has one.

    Raises:
        SettingsError: the secret is too short.
    """
    key = SharedSecret(secret).find({})
    claims = {
        "sub": subject,
        "scope": " ".join(sorted(scopes)),
        "iss": issuer,
        "aud": audience,
        "iat": int(now_s),
        "exp": int(now_s) + lifetime_s,
        "jti": str(uuid.uuid4()),
    }
    headers = {"kid": key_id} if key_id is not None else None
    return jwt.encode(claims, key.key, algorithm=key.algorithm, headers=headers)


def token_digest(token: str) -> bytes:
    """What a token is remembered by, since it is a secret."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class TokenVerifier:
    """Verifies tokens, remembering the last ones it found good until they expire.

    Args:
        secret: HS256 secret, or a source of keys.
        issuer: the `iss` a token must have.
        audience: the `aud` a token must have or contain.
        clock: seconds since 1970.
        remembered: most tokens remembered.

    Raises:
        SettingsError: the secret is shorter than 32 bytes.
    """

    def __init__(
        self,
        secret: str | KeySource,
        issuer: str,
        audience: str,
        *,
        clock: Callable[[], float] = time.time,
        remembered: int = 1024,
    ) -> None:
        self.revocations = Revocations()
        """Tokens taken back; replaced as a whole by whoever watches the ledger."""
        self._keys: KeySource = SharedSecret(secret) if isinstance(secret, str) else secret
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._remembered = remembered
        self._good: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._generation = 0
        self._lock = threading.Lock()

    def verify(self, token: str) -> Principal:
        """Who a token speaks for.

        Raises:
            Unauthenticated: it proves nothing; the message says why.
        """
        now_s = self._clock()
        digest = token_digest(token)
        generation = self._generation
        principal = self._remembered_one(digest, now_s)
        if principal is None:
            claims = self._verified_claims(token)
            expires_s = self._check_times(claims, now_s)
            principal = _principal(claims)
            with self._lock:
                if generation == self._generation:  # else its key may be gone by now
                    self._good[digest] = (expires_s, principal)
                while len(self._good) > self._remembered:
                    self._good.popitem(last=False)
        if self.revocations.cover(principal.subject, principal.token_id, principal.issued_s):
            raise _refused("The token was revoked", "Ask for a new token.")
        return principal

    def recall(self, digest: bytes) -> Principal | None:
        """Who a token speaks for that was verified before and is still good; None for any other.

        Args:
            digest: of the token, see `token_digest`.
        """
        principal = self._remembered_one(digest, self._clock())
        if principal is None or self.revocations.cover(
            principal.subject, principal.token_id, principal.issued_s
        ):
            return None
        return principal

    def forget(self) -> None:
        """Verify every token anew: the keys have changed."""
        with self._lock:
            self._generation += 1
            self._good.clear()

    def _remembered_one(self, digest: bytes, now_s: float) -> Principal | None:
        with self._lock:
            known = self._good.get(digest)
            if known is None:
                return None
            if known[0] > now_s:
                self._good.move_to_end(digest)
                return known[1]
            del self._good[digest]
            return None

    def _verified_claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARS:
            raise _refused(f"The token is longer than {MAX_TOKEN_CHARS} characters")
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.find(header)
            algorithm = key.algorithm
            if header.get("alg") != algorithm:
                raise _refused(f"The token is not signed with {algorithm}")
            claims = jwt.decode(token, key.key, algorithms=[algorithm], options=_SIGNATURE_ONLY)
        except jwt.InvalidSignatureError:
            raise _refused("The token's signature is wrong") from None
        except InvalidSubjectError:
            raise _refused("The token's claim 'sub' is not text") from None
        except InvalidJTIError:
            raise _refused("The token's claim 'jti' is not text") from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _refused("The token is not a JSON Web Token") from None
        for name in _REQUIRED:
            if claims.get(name) is None:
                raise _refused(f"The token lacks the claim {name!r}")
        self._check_parties(claims, key.issuer or self._issuer)
        return claims

    @staticmethod
    def _check_times(claims: Mapping[str, Any], now_s: float) -> float:
        expires_s = _time(claims, "exp")
        if expires_s <= now_s:
            raise _refused(f"The token expired at {_iso(expires_s)}", "Ask for a new token.")
        for name in ("nbf", "iat"):
            if claims.get(name) is not None:
                since_s = _time(claims, name)
                if since_s > now_s + CLOCK_SKEW_S:
                    raise _refused(f"The token is not valid before {_iso(since_s)}")
        return expires_s

    def _check_parties(self, claims: Mapping[str, Any], issuer: str) -> None:
        if claims["iss"] != issuer:
            raise _refused("The token was issued by somebody else")
        audience = claims["aud"]
        meant_for = [audience] if isinstance(audience, str) else audience
        if not isinstance(meant_for, list) or self._audience not in meant_for:
            raise _refused("The token is meant for another audience")


def require(principal: Principal, scope: str) -> None:
    """Let pass who has the scope.

    Raises:
        Forbidden: the token does not allow it.
    """
    if scope not in principal.scopes:
        raise Forbidden(
            f"The token lacks the scope {scope!r}.", remedy="Ask for a token with that scope."
        )


def _refused(what: str, remedy: str = _REMEDY) -> Unauthenticated:
    return Unauthenticated(f"{what}.", remedy=remedy)


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < LATEST_S:
        raise _refused(f"The token's claim {name!r} is not a time in seconds since 1970")
    return float(value)


def _iso(time_s: float) -> str:
    moment = EPOCH + dt.timedelta(seconds=time_s)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _principal(claims: Mapping[str, Any]) -> Principal:
    return Principal(
        subject=_subject(claims),
        scopes=_scopes(claims),
        token_id=claims.get("jti"),
        issued_s=None if claims.get("iat") is None else _time(claims, "iat"),
    )


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_SUBJECT_CHARS:
        raise _refused(f"The token's claim 'sub' is not 1 to {MAX_SUBJECT_CHARS} characters")
    if not subject.isprintable():
        raise _refused("The token's claim 'sub' has unprintable characters")
    return subject


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    scope = claims.get("scope", "")
    parts = scope.split() if isinstance(scope, str) else scope
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise _refused("The token's claim 'scope' is not text")
    return frozenset(parts)
