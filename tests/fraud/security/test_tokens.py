import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from fraud.domain.errors import Forbidden, SettingsError, Unauthenticated
from fraud.security.revocation import Revocations
from fraud.security.tokens import (
    CLOCK_SKEW_S,
    MAX_TOKEN_CHARS,
    Principal,
    TokenVerifier,
    VerificationKey,
    issue,
    require,
)

SECRET = "a secret of more than 32 bytes, for tests"
NOW_S = 1_790_078_400.0  # 2026-09-22T12:00:00Z
CLAIMS: dict[str, Any] = {
    "sub": "till-7",
    "iss": "fraud-platform",
    "aud": "fraud-api",
    "iat": int(NOW_S),
    "exp": int(NOW_S) + 3600,
    "scope": "fraud_detection operations",
}


class Clock:
    """Seconds since 1970, set by hand."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(clock: Clock) -> TokenVerifier:
    return TokenVerifier(SECRET, "fraud-platform", "fraud-api", clock=clock)


def a_token(secret: str = SECRET, without: str = "", **changes: object) -> str:
    claims = {name: value for name, value in (CLAIMS | changes).items() if name != without}
    return jwt.encode(claims, secret, algorithm="HS256")


def part(content: object) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def signed(header: object, claims: object, secret: str = SECRET) -> str:
    """A token put together by hand, for what the library would refuse to write."""
    signing_input = f"{part(header)}.{part(claims)}"
    mac = hmac.new(secret.encode(), signing_input.encode(), hashlib.sha256).digest()
    return f"{signing_input}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def refusal(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        verifier.verify(token)
    return caught.value.message


def test_an_issued_token_is_good(verifier: TokenVerifier) -> None:
    token = issue(
        SECRET,
        "till-7",
        ["operations", "fraud_detection"],
        lifetime_s=60,
        issuer="fraud-platform",
        audience="fraud-api",
        now_s=NOW_S,
    )
    expected = Principal("till-7", frozenset({"fraud_detection", "operations"}))
    assert verifier.verify(token) == expected


def test_every_issued_token_has_a_name_of_its_own() -> None:
    tokens = [
        issue(SECRET, "x", [], lifetime_s=60, issuer="i", audience="a", now_s=NOW_S)
        for _ in range(2)
    ]
    assert tokens[0] != tokens[1]


@pytest.mark.parametrize(
    ("changes", "scopes"),
    [
        ({}, {"fraud_detection", "operations"}),
        ({"scope": ["fraud_detection"]}, {"fraud_detection"}),
        ({"scope": ""}, set()),
        ({"aud": ["other", "fraud-api"]}, {"fraud_detection", "operations"}),
        ({"nbf": NOW_S + CLOCK_SKEW_S}, {"fraud_detection", "operations"}),
    ],
)
def test_good_tokens(verifier: TokenVerifier, changes: dict[str, Any], scopes: set[str]) -> None:
    assert verifier.verify(a_token(**changes)).scopes == scopes


def test_scopes_are_optional(verifier: TokenVerifier) -> None:
    assert verifier.verify(a_token(without="scope")).scopes == frozenset()


BAD_TOKENS: list[tuple[str, str]] = [
    ("", "The token is not a JSON Web Token."),
    ("garbage", "The token is not a JSON Web Token."),
    ("a.b.c", "The token is not a JSON Web Token."),
    ("..", "The token is not a JSON Web Token."),
    ("\ud800\x00é", "The token is not a JSON Web Token."),
    (f"{part('[]')}.{part({})}.x", "The token is not a JSON Web Token."),
    (signed({"alg": "HS256"}, ["no", "claims"]), "The token is not a JSON Web Token."),
    (signed({"alg": "HS256"}, "no JSON"), "The token is not a JSON Web Token."),
    (signed({"alg": "HS256"}, "[" * 3000), "The token is not a JSON Web Token."),
    (
        signed({"alg": "HS256", "crit": ["x"], "x": 1}, CLAIMS),
        "The token is not a JSON Web Token.",
    ),
    ("x" * (MAX_TOKEN_CHARS + 1), "The token is longer than 8192 characters."),
    (f"{part({'alg': 'none'})}.{part(CLAIMS)}.", "The token is not signed with HS256."),
    (f"{part({'alg': 'None'})}.{part(CLAIMS)}.", "The token is not signed with HS256."),
    (signed({"alg": "HS512"}, CLAIMS), "The token is not signed with HS256."),
    (signed({"alg": ["HS256"]}, CLAIMS), "The token is not signed with HS256."),
    (signed({"typ": "JWT"}, CLAIMS), "The token is not signed with HS256."),
    (a_token("another secret of more than 32 bytes...."), "The token's signature is wrong."),
    (signed({"alg": "HS256"}, CLAIMS)[:-4] + "AAAA", "The token's signature is wrong."),
    (f"{part({'alg': 'HS256'})}.{part(CLAIMS)}.", "The token's signature is wrong."),
    (a_token(exp=NOW_S), "The token expired at 2026-09-22T12:00:00Z."),
    (a_token(exp=0), "The token expired at 1970-01-01T00:00:00Z."),
    (a_token(nbf=NOW_S + 60), "The token is not valid before 2026-09-22T12:01:00Z."),
    (a_token(iat=NOW_S + 60), "The token is not valid before 2026-09-22T12:01:00Z."),
    (a_token(iss="somebody"), "The token was issued by somebody else."),
    (a_token(aud="other"), "The token is meant for another audience."),
    (a_token(aud=["fraud-api-2"]), "The token is meant for another audience."),
    (
        signed({"alg": "HS256"}, CLAIMS | {"aud": {"fraud-api": 1}}),
        "The token is meant for another audience.",
    ),
    (a_token(without="exp"), "The token lacks the claim 'exp'."),
    (a_token(without="iss"), "The token lacks the claim 'iss'."),
    (a_token(without="aud"), "The token lacks the claim 'aud'."),
    (a_token(without="sub"), "The token lacks the claim 'sub'."),
    (signed({"alg": "HS256"}, CLAIMS | {"sub": 7}), "The token's claim 'sub' is not text."),
    (a_token(jti=7), "The token's claim 'jti' is not text."),
    (a_token(sub=""), "The token's claim 'sub' is not 1 to 200 characters."),
    (a_token(sub="x" * 201), "The token's claim 'sub' is not 1 to 200 characters."),
    (a_token(sub="till\r\n7"), "The token's claim 'sub' has unprintable characters."),
    (a_token(scope=7), "The token's claim 'scope' is not text."),
    (a_token(scope=[7]), "The token's claim 'scope' is not text."),
    *(
        (
            signed({"alg": "HS256"}, CLAIMS | {"exp": exp}),
            "The token's claim 'exp' is not a time in seconds since 1970.",
        )
        for exp in ("2099", True, [], float("nan"), float("inf"), -1, 10**400)
    ),
]


@pytest.mark.parametrize(
    ("token", "message"),
    BAD_TOKENS,
    ids=[f"{place}: {message}" for place, (_, message) in enumerate(BAD_TOKENS)],
)
def test_bad_tokens_prove_nothing(verifier: TokenVerifier, token: str, message: str) -> None:
    for _ in range(2):  # what is refused once must not be remembered as good
        assert refusal(verifier, token) == message


def test_a_public_key_is_no_shared_secret(clock: Clock) -> None:
    """Algorithm confusion: a token signed with HMAC under a public key everybody has."""
    public_pem = (
        rsa.generate_private_key(65537, 2048)
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )

    class PublicKey:
        def find(self, header: object) -> VerificationKey:
            return VerificationKey(public_pem, "RS256")

    verifier = TokenVerifier(PublicKey(), "fraud-platform", "fraud-api", clock=clock)
    forged = signed({"alg": "HS256"}, CLAIMS, secret=public_pem)
    assert refusal(verifier, forged) == "The token is not signed with RS256."
    renamed = signed({"alg": "RS256"}, CLAIMS, secret=public_pem)
    assert refusal(verifier, renamed) == "The token's signature is wrong."


def test_other_keys_can_be_used(clock: Clock) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    class Ring:
        def find(self, header: Any) -> VerificationKey:
            if header.get("kid") != "2026-09":
                raise Unauthenticated("There is no such key.")
            return VerificationKey(key.public_key(), "ES256")

    verifier = TokenVerifier(Ring(), "fraud-platform", "fraud-api", clock=clock)
    token = jwt.encode(CLAIMS, private, algorithm="ES256", headers={"kid": "2026-09"})
    assert verifier.verify(token).subject == "till-7"
    other = jwt.encode(CLAIMS, private, algorithm="ES256", headers={"kid": "2025-01"})
    assert refusal(verifier, other) == "There is no such key."


def test_a_remembered_token_still_expires(verifier: TokenVerifier, clock: Clock) -> None:
    token = a_token()
    verifier.verify(token)
    clock.now_s = CLAIMS["exp"] - 1
    verifier.verify(token)
    clock.now_s = CLAIMS["exp"]
    assert refusal(verifier, token).startswith("The token expired")


def test_few_tokens_are_remembered(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = TokenVerifier(SECRET, "fraud-platform", "fraud-api", clock=clock, remembered=2)
    tokens = [a_token(sub=name) for name in ("one", "two", "three")]
    verified: list[str] = []
    decode = jwt.decode

    def noted(token: str, *args: Any, **options: Any) -> Any:
        verified.append(token)
        return decode(token, *args, **options)

    monkeypatch.setattr(jwt, "decode", noted)
    for token in (tokens[0], tokens[1], tokens[0], tokens[2], tokens[0], tokens[1]):
        verifier.verify(token)
    # the second is forgotten for the third, since the first was used in between
    assert verified == [tokens[0], tokens[1], tokens[2], tokens[1]]


def test_a_key_verifies_its_own_issuers_tokens_only(clock: Clock) -> None:
    class Theirs:
        def find(self, header: Any) -> VerificationKey:
            return VerificationKey(SECRET, "HS256", issuer="them")

    verifier = TokenVerifier(Theirs(), "fraud-platform", "fraud-api", clock=clock)
    assert verifier.verify(a_token(iss="them")).subject == "till-7"
    assert refusal(verifier, a_token()) == "The token was issued by somebody else."


def test_a_remembered_token_ends_with_its_key(clock: Clock) -> None:
    class Lost:
        key: VerificationKey | None = VerificationKey(SECRET, "HS256")

        def find(self, header: Any) -> VerificationKey:
            if self.key is None:
                raise Unauthenticated("There is no such key.")
            return self.key

    keys = Lost()
    verifier = TokenVerifier(keys, "fraud-platform", "fraud-api", clock=clock)
    token = a_token()
    verifier.verify(token)
    keys.key = None
    verifier.verify(token)  # still remembered
    verifier.forget()
    assert refusal(verifier, token) == "There is no such key."


def test_a_token_verified_while_the_keys_changed_is_not_remembered(clock: Clock) -> None:
    class Changing:
        asked = 0

        def find(self, header: Any) -> VerificationKey:
            self.asked += 1
            verifier.forget()  # as another thread would, in this very moment
            return VerificationKey(SECRET, "HS256")

    keys = Changing()
    verifier = TokenVerifier(keys, "fraud-platform", "fraud-api", clock=clock)
    token = a_token()
    verifier.verify(token)
    verifier.verify(token)
    assert keys.asked == 2


@pytest.mark.parametrize(
    ("revocations", "claims", "is_revoked"),
    [
        (Revocations(tokens=frozenset({"a"})), {"jti": "a"}, True),
        (Revocations(tokens=frozenset({"a"})), {"jti": "b"}, False),
        (Revocations(tokens=frozenset({"a"})), {}, False),
        (Revocations(subjects={"till-7": NOW_S}), {}, True),
        (Revocations(subjects={"till-7": NOW_S + 0.9}), {}, True),
        (Revocations(subjects={"till-7": NOW_S - 1}), {}, False),
        (Revocations(subjects={"till-8": NOW_S}), {}, False),
        (Revocations(subjects={"till-7": 0.0}), {"without": "iat"}, True),
    ],
)
def test_revoked_tokens(
    verifier: TokenVerifier,
    revocations: Revocations,
    claims: dict[str, Any],
    is_revoked: bool,
) -> None:
    token = a_token(**claims)
    verifier.verify(token)  # remembered as good, and yet:
    verifier.revocations = revocations
    if is_revoked:
        assert refusal(verifier, token) == "The token was revoked."
    else:
        assert verifier.verify(token).subject == "till-7"


@pytest.mark.parametrize("secret", ["", "short", "31 bytes are one byte too few!!"])
def test_short_secrets_are_refused(secret: str) -> None:
    assert len(secret) < 32
    with pytest.raises(SettingsError, match="at least 32"):
        TokenVerifier(secret, "i", "a")
    with pytest.raises(SettingsError, match="at least 32"):
        issue(secret, "x", [], lifetime_s=1, issuer="i", audience="a", now_s=NOW_S)


def test_a_token_signed_with_an_empty_key_is_refused(verifier: TokenVerifier) -> None:
    assert refusal(verifier, signed({"alg": "HS256"}, CLAIMS, secret="")) == (
        "The token's signature is wrong."
    )


def test_scopes_are_required() -> None:
    principal = Principal("till-7", frozenset({"fraud_detection"}))
    require(principal, "fraud_detection")
    with pytest.raises(Forbidden, match="lacks the scope 'operations'"):
        require(principal, "operations")
