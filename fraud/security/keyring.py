"""Every key that verifies tokens: our secrets and the public keys of another issuer."""

import logging
import threading
from collections.abc import Mapping
from typing import Any

from fraud.domain.errors import FraudError, NotFound, SettingsError
from fraud.security.jwks import is_url, load_jwks
from fraud.security.key_folder import fingerprint, retire_key
from fraud.security.token_keys import (
    UNNAMED,
    TokenKeys,
    read_token_keys,
)
from fraud.security.tokens import VerificationKey
from fraud.settings import Settings

log = logging.getLogger("fraud.security")


class Keyring:
    """A source of keys that can change while it is used.

    The header's `kid` is looked up in dictionaries and is used for nothing else; `jwk`, `jku`,
    `x5u` and `x5c` are never looked at.

    Args:
        settings: says where the keys are.

    Raises:
        SettingsError: a secret is unusable, or the key set's file.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._secrets = token_keys(settings)  # makes the first one, where there is none
        self._fingerprint = self._seen()
        self._secrets = token_keys(settings)
        self._public: dict[str, VerificationKey] = {}
        if settings.jwks and not is_url(settings.jwks):
            self.load_public_keys()

    @property
    def has_public_keys(self) -> bool:
        """Whether another issuer's tokens are accepted."""
        return bool(self._settings.jwks)

    def find(self, header: Mapping[str, Any]) -> VerificationKey:
        key_id = header.get("kid")
        public = self._public.get(key_id) if isinstance(key_id, str) else None
        return public if public is not None else self._secrets.find(header)

    def reload_secrets(self) -> bool:
        """Take over secrets that were added or retired; whether there were any.

        It reads file names; secrets that cannot be used leave the old ones in force.
        """
        with self._lock:
            found = self._seen()
            if found == self._fingerprint:
                return False
            self._fingerprint = found
            try:
                self._secrets = token_keys(self._settings)
            except FraudError as error:
                log.error("The token keys stay as they were: %s", error)
                return False
            return True

    def _seen(self) -> object:
        unnamed = self._settings.jwt_secret_file
        return fingerprint(self._settings.token_keys_dir), unnamed.exists()

    def load_public_keys(self) -> bool:
        """Take over the other issuer's key set, which blocks; whether it has changed.

        Raises:
            FraudError: it cannot be had; the old one stays in force.
        """
        assert self._settings.jwks
        found = load_jwks(self._settings.jwks, self._settings.jwks_issuer)
        with self._lock:
            has_changed = {name: _text(key) for name, key in found.items()} != {
                name: _text(key) for name, key in self._public.items()
            }
            self._public = found
            return has_changed


def token_keys(settings: Settings) -> TokenKeys:
    """Our own secrets as they are now.

    Where there are named ones, none is made for tokens without a name.

    Raises:
        SettingsError: a secret is unusable.
    """
    keys = read_token_keys(settings.token_keys_dir, None)
    has_unnamed = settings.jwt_secret_given is not None or settings.jwt_secret_file.exists()
    if has_unnamed or not keys.named:
        keys = TokenKeys(keys.named, settings.jwt_secret)
    return keys


def retire(settings: Settings, name: str) -> None:
    """Remove one of our own secrets.

    Raises:
        NotFound: there is none of that name.
        SettingsError: it is the last one, or it was given in the environment.
    """
    keys = token_keys(settings)
    if len(keys.named) + (keys.unnamed is not None) < 2:
        raise SettingsError(
            "This is the last token key; without it nobody could come in.",
            remedy="Run first: fraud keys add",
        )
    if name != UNNAMED:
        retire_key(settings.token_keys_dir, name, "token key")
    elif settings.jwt_secret_given is not None:
        raise SettingsError(
            "The key without a name is FRAUD_JWT_SECRET.", remedy="Unset it and start again."
        )
    elif keys.unnamed is None:
        raise NotFound("There is no token key without a name.", remedy="See: fraud keys list")
    else:
        settings.jwt_secret_file.unlink()


def _text(key: VerificationKey) -> object:
    return key.key.public_numbers(), key.algorithm
