"""Named token keys: two at once, one that signs, and one that is gone."""

import datetime as dt
import time
from pathlib import Path

import pytest

from fraud.domain.errors import NotFound, SettingsError, Unauthenticated, UnknownKey
from fraud.run.smoke import development_token
from fraud.security.keyring import Keyring, retire, token_keys
from fraud.security.token_keys import UNNAMED, add_token_key, read_token_keys
from fraud.security.tokens import TokenVerifier
from fraud.settings import Settings, load_settings

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
SECRET = "a secret of more than 32 bytes, for tests"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(run_dir=tmp_path)


def verifier_of(settings: Settings) -> tuple[Keyring, TokenVerifier]:
    keyring = Keyring(settings)
    return keyring, TokenVerifier(keyring, settings.jwt_issuer, settings.jwt_audience)


def test_keys_overlap_until_the_old_one_is_retired(settings: Settings) -> None:
    keyring, verifier = verifier_of(settings)
    unnamed = development_token(settings)
    first = add_token_key(settings.token_keys_dir, NOON)
    old = development_token(settings)
    second = add_token_key(settings.token_keys_dir, NOON + dt.timedelta(seconds=1))
    new = development_token(settings)
    assert keyring.reload_secrets()
    for token in (unnamed, old, new):
        assert verifier.verify(token).subject == "developer"
    retire(settings, first)
    assert keyring.reload_secrets()
    verifier.forget()
    with pytest.raises(UnknownKey, match=first):
        verifier.verify(old)
    retire(settings, UNNAMED)
    assert keyring.reload_secrets()
    verifier.forget()
    with pytest.raises(UnknownKey, match="names no key"):
        verifier.verify(unnamed)
    assert verifier.verify(new).subject == "developer"
    with pytest.raises(SettingsError, match="last token key"):
        retire(settings, second)


def test_the_newest_key_signs(settings: Settings) -> None:
    assert token_keys(settings).signing == (None, settings.jwt_secret)
    later = add_token_key(settings.token_keys_dir, NOON + dt.timedelta(seconds=1))
    add_token_key(settings.token_keys_dir, NOON)
    assert token_keys(settings).signing[0] == later


def test_keys_are_random_and_private(settings: Settings) -> None:
    names = [add_token_key(settings.token_keys_dir, NOON) for _ in range(2)]
    keys = read_token_keys(settings.token_keys_dir, None)
    assert len({keys.named[name] for name in names}) == 2
    assert all(len(keys.named[name]) >= 64 for name in names)
    for name in names:
        assert (settings.token_keys_dir / name).stat().st_mode & 0o077 == 0


def test_nothing_is_reread_while_nothing_changes(settings: Settings) -> None:
    keyring, _ = verifier_of(settings)
    assert not keyring.reload_secrets()
    add_token_key(settings.token_keys_dir, NOON)
    assert keyring.reload_secrets()
    assert not keyring.reload_secrets()


@pytest.mark.parametrize(
    ("name", "content", "mode", "message"),
    [
        ("short", "31 bytes are one byte too few!!", 0o600, "fewer than 32 bytes"),
        ("open", SECRET, 0o644, "read by other users"),
        ("a key", SECRET, 0o600, "cannot be the name"),
        ("x" * 65, SECRET, 0o600, "cannot be the name"),
    ],
)
def test_an_unusable_key_stops_the_start_and_nothing_else(
    settings: Settings, name: str, content: str, mode: int, message: str
) -> None:
    keyring, verifier = verifier_of(settings)
    token = development_token(settings)
    settings.token_keys_dir.mkdir(parents=True)
    path = settings.token_keys_dir / name
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(SettingsError, match=message):
        Keyring(settings)
    assert not keyring.reload_secrets()  # what runs goes on with the keys it has
    assert verifier.verify(token).subject == "developer"


def test_hidden_files_are_no_keys(settings: Settings) -> None:
    """Kubernetes mounts secrets beside `..data`, and drafts begin with a dot."""
    settings.token_keys_dir.mkdir(parents=True)
    (settings.token_keys_dir / ".draft").write_text("x")
    (settings.token_keys_dir / "..data").mkdir()
    assert read_token_keys(settings.token_keys_dir, None).named == {}


@pytest.mark.parametrize("key_id", ["../jwt-secret", "/etc/passwd", "", "a\x00b", "' OR 1=1 --"])
def test_a_kid_is_a_name_and_never_a_path(settings: Settings, key_id: str) -> None:
    add_token_key(settings.token_keys_dir, NOON)
    _ = settings.jwt_secret
    with pytest.raises(Unauthenticated):
        Keyring(settings).find({"alg": "HS256", "kid": key_id})


def test_what_is_not_there_cannot_be_retired(settings: Settings) -> None:
    add_token_key(settings.token_keys_dir, NOON)
    add_token_key(settings.token_keys_dir, NOON)
    for name in ("nothing", "../jwt-secret", UNNAMED):
        with pytest.raises(NotFound):
            retire(settings, name)


def test_a_secret_from_the_environment_is_not_ours_to_remove(tmp_path: Path) -> None:
    settings = load_settings(run_dir=tmp_path, jwt_secret_given=SECRET)
    add_token_key(settings.token_keys_dir, NOON)
    with pytest.raises(SettingsError, match="FRAUD_JWT_SECRET"):
        retire(settings, UNNAMED)


def test_looking_for_changes_is_cheap(settings: Settings) -> None:
    """Twice a second; 5 ms would be a hundredth of a core, 0.05 ms was measured."""
    for _ in range(5):
        add_token_key(settings.token_keys_dir, NOON)
    keyring, _ = verifier_of(settings)
    took_s = []
    for _ in range(20):
        began = time.perf_counter()
        keyring.reload_secrets()
        took_s.append(time.perf_counter() - began)
    assert min(took_s) < 0.005
