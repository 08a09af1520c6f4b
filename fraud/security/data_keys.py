"""The keys that stored values are encrypted with: Fernet keys with names, the newest in use.

A ciphertext begins with the name of its key, so it is decrypted without trying others, and one
look tells which key it still needs. Keys may be added and retired while programs run: each
sees a new one within `LOOK_AGAIN_S`, and at once where a ciphertext names it.
"""

import binascii
import datetime as dt
import threading
import time
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from fraud.domain.errors import ProtectionError, SettingsError
from fraud.security.key_folder import add_key, fingerprint, key_files
from fraud.security.secret_files import read_private
from fraud.security.token_keys import KEY_ID

LOOK_AGAIN_S = 1.0


class DataKeys:
    """The keys of a folder; any thread may use them.

    Args:
        folder: one file per key.
        makes_first: whether a first key is made where there is none.

    Raises:
        SettingsError: a key is unusable, or there is none.
    """

    def __init__(self, folder: Path, *, makes_first: bool) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        if makes_first and not key_files(folder):
            add_data_key(folder, dt.datetime.now(dt.UTC))
        self._fingerprint: object = None
        self._look_at_s = 0.0
        self._keys: dict[str, Fernet] = {}
        self._newest = ""
        self._look()

    @property
    def newest(self) -> str:
        """Name of the key that encrypts."""
        if time.monotonic() >= self._look_at_s:
            self._look()
        return self._newest

    @property
    def names(self) -> list[str]:
        """Names of all keys, oldest first."""
        return sorted(self._keys)

    def encrypt(self, content: bytes) -> str:
        """The ciphertext: the key's name, a colon, a Fernet token."""
        name = self.newest
        return f"{name}:{self._keys[name].encrypt(content).decode()}"

    def decrypt(self, ciphertext: str) -> bytes:
        """What was encrypted.

        Raises:
            ProtectionError: its key is not there, or it was altered.
        """
        name, _, token = ciphertext.partition(":")
        key = self._keys.get(name)
        if key is None:
            self._look()
            key = self._keys.get(name)
        if key is None:
            raise ProtectionError(
                f"A stored value was encrypted with the key {name[:64]!r}, which is not there.",
                remedy="Bring the key back from its backup; without it the value is lost.",
            )
        try:
            return key.decrypt(token)
        except InvalidToken:
            raise ProtectionError(
                "A stored ciphertext was altered: it does not match its signature.",
                remedy="Restore the row from a backup, and find out who could write to it.",
            ) from None

    def _look(self) -> None:
        with self._lock:
            found = fingerprint(self._folder)
            if found != self._fingerprint:
                keys = {path.name: _key(path) for path in key_files(self._folder)}
                if not keys:
                    raise SettingsError(
                        f"There is no encryption key in {self._folder}.",
                        remedy="Bring the keys back, or make the first one: fraud keys rotate",
                    )
                self._newest, self._fingerprint = max(keys), found
                # A dictionary that somebody else reads from is replaced, never changed.
                self._keys = keys
            self._look_at_s = time.monotonic() + LOOK_AGAIN_S


def add_data_key(folder: Path, now: dt.datetime) -> str:
    """Make a new key, which encrypts from now on; its name.

    Raises:
        SettingsError: the folder cannot be written.
    """
    return add_key(folder, Fernet.generate_key(), now)


def _key(path: Path) -> Fernet:
    if not KEY_ID.fullmatch(path.name):
        raise SettingsError(
            f"{path} cannot be the name of an encryption key.",
            remedy="Use up to 64 letters, digits, dots, dashes and underscores.",
        )
    try:
        return Fernet(read_private(path).strip())
    except (ValueError, binascii.Error):
        raise SettingsError(
            f"{path} holds no Fernet key.",
            remedy="It must be 32 random bytes in URL-safe base64, as `fraud keys rotate` makes.",
        ) from None
