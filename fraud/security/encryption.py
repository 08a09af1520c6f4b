"""What of an event is sensitive: encrypted where it is kept, a pseudonym where it is compared.

A fraud type's file says which of its fields are sensitive. Inside the platform such a field
holds a *pseudonym*, a keyed hash of field and value: equal values have equal ones, so entities,
distinct counts and look-ups work on them, and nobody without the key can tell or try out what
they stand for. The value itself is kept beside them, *sealed*: one Fernet token per row, which
says inside which row and which fields it belongs to, so that a token moved elsewhere is found out.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from fraud.domain.errors import ProtectionError, SettingsError
from fraud.domain.event import Event, Scalar, sensitive_fields
from fraud.security.data_keys import DataKeys
from fraud.security.secret_files import generated_secret
from fraud.settings import Settings
from fraud.types.registry import fraud_types

PSEUDONYM_BYTES = 16
PSEUDONYM_MARK = "~"
"""First character of every pseudonym, to tell a column that holds some from one that does not."""


def _hmac(key: bytes, purpose: str) -> HMAC:
    """HMAC-SHA256 that has taken in what it is for; a copy of it takes in the rest."""
    started = HMAC(key, SHA256())
    started.update(purpose.encode() + b"\0")
    return started


def _finished(started: HMAC, content: bytes) -> bytes:
    copied = started.copy()
    copied.update(content)
    return copied.finalize()


class FieldProtection:
    """Seals and hides the sensitive fields of events; any thread may use it.

    Args:
        keys: what values are encrypted with.
        look_up_key: what pseudonyms are made with; another one makes others of all.
        sensitive: names of the sensitive fields by fraud type.
    """

    def __init__(
        self, keys: DataKeys, look_up_key: bytes, sensitive: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.keys = keys
        self.sensitive = dict(sensitive)
        names = {name for each in sensitive.values() for name in each}
        self._hashes = {name: _hmac(look_up_key, f"field {name}") for name in names}
        self._reference_hash = _hmac(look_up_key, "reference")
        self._body_hash = _hmac(look_up_key, "body")

    def pseudonym(self, field: str, value: str) -> str:
        """What stands for a value of a sensitive field: `~` and 22 letters."""
        content = value.encode("utf-8", "surrogatepass")
        digest = _finished(self._hashes[field], content)[:PSEUDONYM_BYTES]
        return PSEUDONYM_MARK + base64.urlsafe_b64encode(digest).decode()[:22]

    def digest(self, body_digest: bytes) -> bytes:
        """What is kept of a body's digest: without the key nobody can try out bodies."""
        return _finished(self._body_hash, body_digest)

    def reference(self, text: str) -> str:
        """What names a value in records that are never erased: equal for equal ones."""
        digest = _finished(self._reference_hash, text.encode("utf-8", "surrogatepass"))
        return PSEUDONYM_MARK + base64.urlsafe_b64encode(digest[:PSEUDONYM_BYTES]).decode()[:22]

    def stored(self, fraud_type: str, field: str, value: str) -> str:
        """How a value of a field is kept: as its pseudonym where it is sensitive."""
        return self.pseudonym(field, value) if field in self.sensitive[fraud_type] else value

    def hidden(self, event: Event) -> Event:
        """The event with pseudonyms for what is sensitive."""
        pseudonyms = {
            name: self.pseudonym(name, str(value))
            for name in self.sensitive[event.fraud_type]
            if (value := event.fields.get(name)) is not None
        }
        return event if not pseudonyms else _with(event, pseudonyms)

    def hidden_record(self, fraud_type: str, record: Mapping[str, object]) -> dict[str, object]:
        """Fields of whatever kind, with pseudonyms for what is sensitive."""
        names = self.sensitive[fraud_type]
        return {
            name: self.pseudonym(name, str(value)) if name in names and value is not None else value
            for name, value in record.items()
        }

    def sealed(self, event: Event) -> str | None:
        """What is sensitive of the event, encrypted for its row; None where nothing is."""
        values = {
            name: value
            for name in self.sensitive[event.fraud_type]
            if (value := event.fields.get(name)) is not None
        }
        return self.seal("transactions", event.transaction_id, values) if values else None

    def revealed(self, event: Event, sealed: str | None) -> Event:
        """The event as it came.

        Args:
            event: with pseudonyms.
            sealed: what the row keeps beside them.

        Raises:
            ProtectionError: the ciphertext is of another row, was altered, or cannot be read.
        """
        if sealed is None:
            return event
        values = self.open("transactions", event.transaction_id, sealed)
        for name, value in values.items():
            if event.fields.get(name) != self.pseudonym(name, str(value)):
                raise ProtectionError(
                    f"The encrypted {name} of transaction {event.transaction_id!r} is not the one "
                    "its row was written with.",
                    remedy="Restore the row from a backup, and find out who could write to it.",
                )
        return _with(event, values)

    def seal(self, table: str, row: str, content: Mapping[str, object]) -> str:
        """Fields as one ciphertext that belongs to a row."""
        return self.keys.encrypt(json.dumps([table, row, content]).encode())

    def open(self, table: str, row: str, sealed: str) -> dict[str, Scalar]:
        """The fields of a ciphertext that was sealed for this row.

        Raises:
            ProtectionError: it was sealed for another row, altered, or cannot be read.
        """
        of_table, of_row, content = json.loads(self.keys.decrypt(sealed))
        if (of_table, of_row) != (table, row):
            raise ProtectionError(
                f"The ciphertext in row {row!r} of {table} was written for another row.",
                remedy="Restore the row from a backup, and find out who could write to it.",
            )
        return dict(content)


def field_protection(settings: Settings) -> FieldProtection:
    """The protection that the settings name; keys nobody gave are made once.

    Raises:
        SettingsError: a key is missing or unusable.
    """
    keys = DataKeys(data_keys_dir(settings), makes_first=settings.encryption_keys_dir is None)
    sensitive = {name: sensitive_fields(each.transaction) for name, each in fraud_types().items()}
    return FieldProtection(keys, _look_up_key(settings), sensitive)


def data_keys_dir(settings: Settings) -> Path:
    """The folder of Fernet keys by name."""
    return settings.encryption_keys_dir or settings.secrets_dir / "data-keys"


def _look_up_key(settings: Settings) -> bytes:
    """The secret of pseudonyms: the one given, else one made once."""
    given = settings.look_up_key_file
    if given is not None and not given.is_file():
        raise SettingsError(
            f"FRAUD_LOOK_UP_KEY_FILE names {str(given)!r}, which is no file.",
            remedy="Give the file of the key that this installation began with.",
        )
    return generated_secret(given or settings.secrets_dir / "look-up-key").encode()


def _with(event: Event, fields: Mapping[str, Scalar]) -> Event:
    """The event with some of its fields replaced."""
    return Event(
        event.fraud_type,
        event.transaction_id,
        event.event_time_us,
        event.amount_minor,
        {**event.fields, **fields},
    )
