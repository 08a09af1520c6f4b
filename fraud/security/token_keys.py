"""HS256 secrets with names, so that a new one can be used while the old one is still accepted.

They are in a folder (`fraud.security.key_folder`); a file's name is the `kid` of the tokens
signed with it, and the newest signs. Beside them there may be one secret without a name, for
tokens without `kid`.
"""

import datetime as dt
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fraud.domain.errors import SettingsError, UnknownKey
from fraud.security.key_folder import add_key, key_files
from fraud.security.secret_files import GENERATED_BYTES, MIN_SECRET_BYTES, read_private
from fraud.security.tokens import VerificationKey

KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
UNNAMED = "unnamed"
"""What people call the secret without a name."""


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """The secrets that verify tokens now; a source of keys.

    Attributes:
        named: secrets by `kid`.
        unnamed: the secret for tokens without `kid`, if there is one.
    """

    named: Mapping[str, str] = field(repr=False)
    unnamed: str | None = field(repr=False)

    def find(self, header: Mapping[str, Any]) -> VerificationKey:
        key_id = header.get("kid")
        secret = self.unnamed if key_id is None else self.named.get(key_id)
        if secret is None:
            raise unknown_key(key_id)
        return VerificationKey(secret, "HS256")

    @property
    def signing(self) -> tuple[str | None, str]:
        """Name and secret that new tokens are signed with.

        Raises:
            SettingsError: there is no secret.
        """
        if self.named:
            newest = max(self.named)
            return newest, self.named[newest]
        if self.unnamed is None:
            raise SettingsError("There is no key to sign tokens with.", remedy="fraud keys add")
        return None, self.unnamed


def unknown_key(key_id: object) -> UnknownKey:
    """What somebody learns whose token names a key we do not have."""
    which = "no key" if key_id is None else f"the key {str(key_id)[:50]!r}, which is not known"
    return UnknownKey(f"The token names {which}.", remedy="Ask for a new token.")


def read_token_keys(folder: Path, unnamed: str | None) -> TokenKeys:
    """The secrets of a folder; it need not exist.

    Raises:
        SettingsError: a file is too short, readable by others, or has no proper name.
    """
    named: dict[str, str] = {}
    for path in key_files(folder):
        if not KEY_ID.fullmatch(path.name):
            raise SettingsError(
                f"{path} cannot be the name of a token key.",
                remedy="Use up to 64 letters, digits, dots, dashes and underscores.",
            )
        secret = read_private(path).decode("utf-8", "replace").strip()
        if len(secret.encode()) < MIN_SECRET_BYTES:
            raise SettingsError(
                f"The token key in {path} has fewer than {MIN_SECRET_BYTES} bytes.",
                remedy="Retire it and add another: fraud keys add",
            )
        named[path.name] = secret
    return TokenKeys(named, unnamed)


def add_token_key(folder: Path, now: dt.datetime) -> str:
    """Make a new secret, which signs from now on; its name.

    Raises:
        SettingsError: the folder cannot be written.
    """
    return add_key(folder, secrets.token_urlsafe(GENERATED_BYTES).encode(), now)
