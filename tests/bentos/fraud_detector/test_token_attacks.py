"""Forged, stale and misdirected tokens against the running service: every one is 401."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.bentos.fraud_detector.detector import Detector, a_transaction, running
from tests.servers import temporary_run_dir

THEIRS = "https://id.example"
SECRET = "the secret that signs tokens without a kid, 32 bytes and more"


def part(content: object) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def signed(header: object, claims: object, secret: bytes) -> str:
    """An HMAC token put together by hand, for what the library would refuse to write."""
    signing_input = f"{part(header)}.{part(claims)}"
    mac = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
    return f"{signing_input}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@dataclass
class Door:
    """A service that accepts our secret's tokens, and those of another issuer's two keys."""

    service: Detector
    jwks: Path
    named: str = "2026-11"
    rsa_key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(65537, 2048)
    )
    ec_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def claims(self, without: str = "", **changes: Any) -> dict[str, Any]:
        now_s = int(time.time())
        made = {
            "sub": "checkout",
            "iss": THEIRS,
            "aud": "fraud-api",
            "iat": now_s,
            "exp": now_s + 600,
            "scope": "fraud_detection",
            **changes,
        }
        return {name: value for name, value in made.items() if name != without}

    def ours(self, without: str = "", **changes: Any) -> dict[str, Any]:
        return self.claims(without, **{"iss": "fraud-platform", **changes})

    def rs256(self, claims: dict[str, Any] | None = None, **header: Any) -> str:
        return jwt.encode(
            claims or self.claims(), self.rsa_key, "RS256", headers={"kid": "rsa-1", **header}
        )

    def es256(self, claims: dict[str, Any] | None = None, **header: Any) -> str:
        return jwt.encode(
            claims or self.claims(), self.ec_key, "ES256", headers={"kid": "ec-1", **header}
        )

    def hs256(self, claims: dict[str, Any] | None = None, **header: Any) -> str:
        return jwt.encode(claims or self.ours(), SECRET, "HS256", headers=header or None)

    @property
    def public_pem(self) -> bytes:
        return self.rsa_key.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def public_der(self) -> bytes:
        return self.rsa_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

    def try_with(self, token: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"}
        return httpx.post(f"{self.service.url}/predict", headers=headers, json=a_transaction())


@pytest.fixture(scope="module")
def door(new_ledger: Callable[[], str]) -> Iterator[Door]:
    with temporary_run_dir() as run_dir:
        jwks = run_dir / "jwks.json"
        made = Door(service=None, jwks=jwks)  # type: ignore[arg-type]
        keys = [
            {**RSAAlgorithm.to_jwk(made.rsa_key.public_key(), as_dict=True), "kid": "rsa-1"},
            {**ECAlgorithm.to_jwk(made.ec_key.public_key(), as_dict=True), "kid": "ec-1"},
        ]
        jwks.write_text(json.dumps({"keys": keys}))
        folder = run_dir / "secrets" / "jwt-keys"
        folder.mkdir(parents=True)
        (folder / made.named).write_text("the named secret, also of 32 bytes and more")
        (folder / made.named).chmod(0o600)
        changes = {"jwt_secret_given": SECRET, "jwks": str(jwks), "jwks_issuer": THEIRS}
        with running(run_dir, new_ledger(), "model-1", **changes) as service:
            made.service = service
            yield made


def with_own_key(door: Door, name: str, value: Any = None, **header: Any) -> str:
    """A token under a key of the attacker's own, which the header offers or points to."""
    own = rsa.generate_private_key(65537, 2048)
    content = RSAAlgorithm.to_jwk(own.public_key(), as_dict=True) if value is None else value
    return jwt.encode(door.claims(), own, "RS256", headers={name: content, **header})


def tampered(token: str, **changes: Any) -> str:
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return f"{head}.{part(claims | changes)}.{signature}"


NOW = time.time
SKEW_S = 60

ATTACKS: dict[str, Callable[[Door], str]] = {
    "alg none": lambda d: f"{part({'alg': 'none'})}.{part(d.ours())}.",
    "alg None": lambda d: f"{part({'alg': 'None'})}.{part(d.ours())}.",
    "alg nOnE, a good kid": lambda d: (
        f"{part({'alg': 'nOnE', 'kid': 'rsa-1'})}.{part(d.claims())}."
    ),
    "alg none, signature kept": lambda d: f"{part({'alg': 'none'})}.{d.hs256().split('.', 1)[1]}",
    "alg missing": lambda d: signed({"typ": "JWT"}, d.ours(), SECRET.encode()),
    "alg a list": lambda d: signed({"alg": ["HS256"]}, d.ours(), SECRET.encode()),
    "alg HS512": lambda d: jwt.encode(d.ours(), SECRET * 2, "HS512"),
    "public PEM as HMAC secret": lambda d: signed(
        {"alg": "HS256", "kid": "rsa-1"}, d.claims(), d.public_pem
    ),
    "public DER as HMAC secret": lambda d: signed(
        {"alg": "HS256", "kid": "rsa-1"}, d.claims(), d.public_der
    ),
    "public PEM as HMAC secret, no kid": lambda d: signed({"alg": "HS256"}, d.ours(), d.public_pem),
    "HMAC under an RSA name": lambda d: signed(
        {"alg": "RS256", "kid": "rsa-1"}, d.claims(), d.public_pem
    ),
    "RSA key under an EC name": lambda d: d.rs256(kid="ec-1"),
    "EC key under an RSA name": lambda d: d.es256(kid="rsa-1"),
    "RSA token that names a secret": lambda d: d.rs256(kid=d.named),
    "PS256 with the RSA key": lambda d: jwt.encode(
        d.claims(), d.rsa_key, "PS256", headers={"kid": "rsa-1"}
    ),
    "wrong kid": lambda d: d.rs256(kid="rsa-2"),
    "kid of a retired secret": lambda d: d.hs256(kid="2025-01"),
    "no kid": lambda d: jwt.encode(d.claims(), d.rsa_key, "RS256"),
    "kid is a number": lambda d: signed({"alg": "HS256", "kid": 7}, d.ours(), SECRET.encode()),
    "kid is a list": lambda d: signed({"alg": "HS256", "kid": ["a"]}, d.ours(), SECRET.encode()),
    "kid climbs": lambda d: signed({"alg": "HS256", "kid": "../../../dev/null"}, d.ours(), b"x"),
    "kid climbs to the secret": lambda d: d.hs256(kid="../jwt-secret"),
    "kid is an absolute path": lambda d: signed(
        {"alg": "HS256", "kid": "/dev/null"}, d.ours(), b"x"
    ),
    "kid injects SQL": lambda d: signed(
        {"alg": "HS256", "kid": "x' UNION SELECT 'AAAA' --"}, d.ours(), b"AAAA"
    ),
    "kid injects a command": lambda d: d.hs256(kid="|touch owned"),
    "kid breaks the line": lambda d: d.hs256(kid="a\r\nINFO all good"),
    "kid with a null byte": lambda d: d.hs256(kid="2026-11\x00.png"),
    "expired": lambda d: d.rs256(d.claims(exp=NOW() - 1)),
    "expired long ago": lambda d: d.hs256(d.ours(exp=0)),
    "exp is text": lambda d: signed({"alg": "HS256"}, d.ours(exp="2099-01-01"), SECRET.encode()),
    "exp is endless": lambda d: signed({"alg": "HS256"}, d.ours(exp=float("inf")), SECRET.encode()),
    "exp is absurd": lambda d: d.hs256(d.ours(exp=10**15)),
    "not yet": lambda d: d.es256(d.claims(nbf=NOW() + SKEW_S)),
    "issued in the future": lambda d: d.es256(d.claims(iat=NOW() + SKEW_S)),
    "wrong aud": lambda d: d.rs256(d.claims(aud="other-api")),
    "wrong aud in a list": lambda d: d.rs256(d.claims(aud=["other-api", "fraud-api2"])),
    "aud of another kind": lambda d: signed(
        {"alg": "HS256"}, d.ours(aud={"fraud-api": 1}), SECRET.encode()
    ),
    "wrong iss": lambda d: d.rs256(d.claims(iss="https://evil.example")),
    "their key, our iss": lambda d: d.rs256(d.ours()),
    "our key, their iss": lambda d: d.hs256(d.claims()),
    "iss with a slash more": lambda d: d.rs256(d.claims(iss=THEIRS + "/")),
    **{
        f"no {name}": lambda d, name=name: d.rs256(d.claims(without=name))
        for name in ("exp", "iss", "aud", "sub")
    },
    **{
        f"{name} is null": lambda d, name=name: signed(
            {"alg": "HS256"}, d.ours(**{name: None}), SECRET.encode()
        )
        for name in ("exp", "iss", "aud", "sub")
    },
    "sub breaks the line": lambda d: d.hs256(d.ours(sub="a\r\nb")),
    "sub is a number": lambda d: signed({"alg": "HS256"}, d.ours(sub=7), SECRET.encode()),
    "sub is huge": lambda d: d.hs256(d.ours(sub="x" * 201)),
    **{
        f"guessed secret {secret!r}": lambda d, secret=secret: signed(
            {"alg": "HS256"}, d.ours(), secret
        )
        for secret in (b"", b"secret", b"changeme", b"fraud-platform", b"\x00" * 32)
    },
    "weak RSA key": lambda d: jwt.encode(
        d.claims(), rsa.generate_private_key(65537, 1024), "RS256", headers={"kid": "rsa-1"}
    ),
    "another RSA key": lambda d: jwt.encode(
        d.claims(), rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": "rsa-1"}
    ),
    "more scopes": lambda d: tampered(d.rs256(), scope="fraud_detection metrics"),
    "another subject": lambda d: tampered(d.hs256(), sub="root"),
    "a later end": lambda d: tampered(d.es256(), exp=NOW() + 10**6),
    "signature cut off": lambda d: d.rs256().rpartition(".")[0] + ".",
    "signature of another token": lambda d: (
        d.rs256().rpartition(".")[0] + "." + d.rs256(d.claims(sub="x")).rpartition(".")[2]
    ),
    "zero ECDSA signature": lambda d: f"{d.es256().rpartition('.')[0]}.{part(chr(0) * 64)}",
    "embedded jwk": lambda d: with_own_key(d, "jwk"),
    "embedded jwk under a known name": lambda d: with_own_key(d, "jwk", kid="rsa-1"),
    "jku": lambda d: with_own_key(d, "jku", "http://127.0.0.1:9/jwks.json", kid="rsa-1"),
    "x5u": lambda d: with_own_key(d, "x5u", "http://127.0.0.1:9/cert.pem", kid="rsa-1"),
    "x5c": lambda d: with_own_key(d, "x5c", ["AAAA"], kid="rsa-1"),
    "critical extension": lambda d: d.rs256(crit=["exp2"], exp2=1),
    "encrypted token": lambda d: f"{part({'alg': 'dir', 'enc': 'A256GCM'})}..a.b.c",
    "token inside a token": lambda d: d.hs256(d.ours(), cty="JWT", kid="x"),
    "huge token": lambda d: d.hs256(d.ours(padding="x" * 20_000)),
    "huge header": lambda d: f"{part({'alg': 'HS256', 'x': 'y' * 20_000})}.{part(d.ours())}.x",
    "deeply nested": lambda d: f"{part('[' * 5000)}.{part('[' * 200)}.x",
    "not base64": lambda d: "%%%.%%%.%%%",
    "four parts": lambda d: d.hs256() + ".x",
    "one part": lambda d: "x",
    "two tokens": lambda d: f"{d.hs256()} {d.hs256()}",
    "token in quotes": lambda d: f'"{d.hs256()}"',
}


def test_the_real_tokens_are_good(door: Door) -> None:
    """Without this the matrix below could pass with a door that lets nobody in."""
    named = jwt.encode(
        door.ours(),
        "the named secret, also of 32 bytes and more",
        "HS256",
        headers={"kid": door.named},
    )
    for token in (door.rs256(), door.es256(), door.hs256(), named):
        assert door.try_with(token).status_code == 200


@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long")
@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_is_401_and_audited(door: Door, attack: str) -> None:
    before = door.service.count("audit_log")
    token = ATTACKS[attack](door)
    answer = door.try_with(token)
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    problem = answer.json()
    assert problem["type"] == "urn:fraud-platform:problem:unauthenticated"
    assert "Traceback" not in answer.text
    assert token not in answer.text
    assert door.service.count("audit_log") == before + 1
    (record,) = door.service.rows(
        "SELECT actor, action, outcome, origin, object_id, detail->>'problem', detail->>'why'"
        " FROM audit_log ORDER BY recorded_at DESC, position DESC LIMIT 1"
    )
    assert record[:6] == (
        *("anonymous", "refuse", "failure", "127.0.0.1"),
        *("/predict", "unauthenticated"),
    )
    assert record[6].isprintable()
    assert record[6] == problem["detail"]


def test_attacks_leave_no_trace_in_the_file_system(door: Door) -> None:
    assert not list(Path.cwd().glob("owned*"))


def test_a_weak_secret_stops_the_start(new_ledger: Callable[[], str]) -> None:
    from fraud.domain.errors import SettingsError

    with (
        temporary_run_dir() as run_dir,
        pytest.raises(SettingsError, match="FRAUD_JWT_SECRET is wrong: has 5 bytes"),
        running(run_dir, new_ledger(), jwt_secret_given="short"),
    ):
        pass
