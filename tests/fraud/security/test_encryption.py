"""Sealed fields: what is in them, and what is noticed when somebody moves or alters them."""

import base64
import datetime as dt
import hashlib
import hmac
import json
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from fraud.domain.errors import ContractError, ProtectionError, SettingsError
from fraud.domain.event import Event, sensitive_fields
from fraud.domain.features import Category
from fraud.security.data_keys import DataKeys, add_data_key
from fraud.security.encryption import data_keys_dir, field_protection
from fraud.security.key_folder import key_files, retire_key
from fraud.settings import load_settings
from fraud.types.account_opening import ACCOUNT_OPENING
from fraud.types.credit_card import CREDIT_CARD
from tests.fraud.ledger.builders import an_event
from tests.protection import protection_with

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def an_application(transaction_id: str, **fields: object) -> Event:
    content = {"email": "ann@example.org", "ip_address": "192.0.2.7", "channel": "web", **fields}
    return Event("account_opening", transaction_id, 1, 0, content)


def test_sensitive_fields_become_pseudonyms_and_come_back(tmp_path: Path) -> None:
    keep = protection_with(tmp_path)
    event = an_application("T1")
    hidden, sealed = keep.hidden(event), keep.sealed(event)
    assert sealed is not None
    for secret in ("ann@example.org", "192.0.2.7"):
        assert secret not in repr(hidden)
        assert secret not in sealed
    assert hidden.fields["channel"] == "web"
    assert keep.revealed(hidden, sealed) == event


def test_an_event_without_sensitive_values_costs_no_token(tmp_path: Path) -> None:
    keep = protection_with(tmp_path)
    event = an_event()
    assert keep.hidden(event) is event
    assert keep.sealed(event) is None
    assert keep.revealed(event, None) is event


def test_a_pseudonym_is_an_hmac_of_field_and_value(tmp_path: Path) -> None:
    keep = protection_with(tmp_path)
    mac = hmac.digest(b"k" * 32, b"field email\0ann@example.org", hashlib.sha256)
    assert keep.pseudonym("email", "ann@example.org") == (
        "~" + base64.urlsafe_b64encode(mac[:16]).decode().rstrip("=")
    )
    assert keep.pseudonym("device_id", "x") != keep.pseudonym("ip_address", "x")
    other = protection_with(tmp_path, b"o" * 32)
    assert other.pseudonym("email", "x") != keep.pseudonym("email", "x")


def test_a_ciphertext_in_another_row_is_found_out(tmp_path: Path) -> None:
    keep = protection_with(tmp_path)
    one, two = an_application("ONE"), an_application("TWO", email="bob@example.org")
    with pytest.raises(ProtectionError, match=r"row 'TWO' .* another row"):
        keep.revealed(keep.hidden(two), keep.sealed(one))
    with pytest.raises(ProtectionError, match="another row"):
        keep.open("quarantine", "ONE", keep.sealed(one) or "")


def test_a_value_in_another_field_is_found_out(tmp_path: Path) -> None:
    """Whoever may write to the row cannot exchange what two fields stand for."""
    keep = protection_with(tmp_path)
    event = an_application("T1", device_id="d")
    hidden = keep.hidden(event)
    fields = {**hidden.fields, "email": hidden.fields["device_id"]}
    moved = Event("account_opening", "T1", 1, 0, fields)
    with pytest.raises(ProtectionError, match="email of transaction 'T1'"):
        keep.revealed(moved, keep.sealed(event))


@pytest.mark.parametrize("place", [0, 30, 60, -1])
def test_an_altered_ciphertext_is_refused(tmp_path: Path, place: int) -> None:
    keep = protection_with(tmp_path)
    sealed = keep.sealed(an_application("T1")) or ""
    start = sealed.index(":") + 1
    at = start + place if place >= 0 else len(sealed) - 3
    altered = sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :]
    with pytest.raises(ProtectionError, match="altered"):
        keep.open("transactions", "T1", altered)


def test_a_new_key_encrypts_and_the_old_one_still_opens(tmp_path: Path) -> None:
    keep = protection_with(tmp_path)
    event = an_application("T1")
    old = keep.sealed(event)
    name = add_data_key(tmp_path, dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
    elsewhere = protection_with(tmp_path)  # another process, which sees the new key first
    new = elsewhere.sealed(event)
    assert new is not None
    assert new.startswith(f"{name}:")
    assert keep.revealed(keep.hidden(event), new) == event, "a named key is looked for at once"
    assert keep.revealed(keep.hidden(event), old) == event


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    keep = protection_with(tmp_path)
    old = keep.keys.newest
    sealed = keep.sealed(an_application("T1"))
    add_data_key(tmp_path, dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
    retire_key(tmp_path, old, "encryption key")
    with pytest.raises(ProtectionError, match=f"key '{old}', which is not there"):
        protection_with(tmp_path).open("transactions", "T1", sealed or "")


def test_the_content_is_plain_json_under_the_standard_recipe(tmp_path: Path) -> None:
    """Who has the key needs nothing of ours to read it."""
    keep = protection_with(tmp_path)
    name, _, token = (keep.sealed(an_application("T1")) or "").partition(":")
    content = json.loads(Fernet((tmp_path / name).read_bytes()).decrypt(token))
    values = {"email": "ann@example.org", "ip_address": "192.0.2.7"}
    assert content == ["transactions", "T1", values]


def test_the_body_digest_is_keyed(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"body").digest()
    keep, other = protection_with(tmp_path), protection_with(tmp_path, b"o" * 32)
    assert keep.digest(digest) == keep.digest(digest) != other.digest(digest) != digest


def test_keys_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    settings = load_settings(run_dir=tmp_path)
    event = an_application("T1")
    sealed = field_protection(settings).sealed(event)
    again = field_protection(load_settings(run_dir=tmp_path))
    assert again.revealed(again.hidden(event), sealed) == event
    [key] = key_files(data_keys_dir(settings))
    for file in (key, settings.secrets_dir / "look-up-key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_given_keys_are_never_made_up(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no encryption key"):
        field_protection(load_settings(run_dir=tmp_path, encryption_keys_dir=tmp_path / "keys"))
    with pytest.raises(SettingsError, match="FRAUD_LOOK_UP_KEY_FILE"):
        field_protection(load_settings(run_dir=tmp_path, look_up_key_file=tmp_path / "key"))


def test_a_file_that_holds_no_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad").touch(0o600)
    with pytest.raises(SettingsError, match="bad holds no Fernet key"):
        DataKeys(tmp_path, makes_first=True)


def test_every_sensitive_field_is_declared_at_the_field() -> None:
    assert sensitive_fields(CREDIT_CARD.transaction) == ("device_id",)
    assert set(sensitive_fields(ACCOUNT_OPENING.transaction)) == {
        *("email", "ip_address", "ip_network", "device_id"),
        *("phone_id", "identity_id", "address_id"),
    }


def test_a_feature_may_not_read_what_it_can_only_compare() -> None:
    from dataclasses import replace

    with pytest.raises(ContractError, match="reads the sensitive field 'device_id'"):
        replace(CREDIT_CARD, features=(Category(field="device_id", values=("d",)),), rules=())
