"""Secrets that are made once and kept in files only their owner can read."""

import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fraud.domain.errors import SettingsError

MIN_SECRET_BYTES = 32
"""Least length of an HS256 secret: that of the hash (RFC 7518, 3.2)."""

GENERATED_BYTES = 48


def generated_secret(path: Path) -> str:
    """The secret in a file; 48 random bytes, URL-safe base64, where there is none yet.

    Raises:
        SettingsError: the file is too short, or readable by others.
    """
    if not path.exists():
        write_once(path, secrets.token_urlsafe(GENERATED_BYTES).encode())
    secret = read_private(path).decode("utf-8", "replace").strip()
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise SettingsError(
            f"The secret in {path} has fewer than {MIN_SECRET_BYTES} bytes.",
            remedy="Delete the file to have a new one made; issued tokens end with it.",
        )
    return secret


def generated_signing_key(directory: Path) -> bytes:
    """The Ed25519 private key (PKCS 8 PEM) that signs model bundles, made where there is none.

    Its public half is left beside it, for hosts that only verify.

    Raises:
        SettingsError: the private key's file is unusable, or readable by others.
    """
    path = directory / "bundle-signing-key.pem"
    if not path.exists():
        new = Ed25519PrivateKey.generate()
        write_once(path, new.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private_pem = read_private(path)
    public_pem = public_key(private_pem, str(path))
    public_path = directory / "bundle-verify-key.pem"
    if public_path.exists() and public_path.read_bytes() != public_pem:
        public_path.unlink()  # it belonged to a key that was removed
    if not public_path.exists():
        write_once(public_path, public_pem)
    return private_pem


def public_key(private_pem: bytes, name: str) -> bytes:
    """The public half (SubjectPublicKeyInfo PEM) of an Ed25519 private key.

    Raises:
        SettingsError: it is no such key; the message calls it `name`.
    """
    try:
        key = load_pem_private_key(private_pem, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(
            f"No Ed25519 private key in PEM form: {name}.",
            remedy="Restore it, or remove it to have a new one made, and train again.",
        )
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def write_once(path: Path, content: bytes) -> None:
    """Put content into a new file of mode 0600; of several writers the first one wins.

    Raises:
        SettingsError: the folder cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # atomic, and refuses to replace what another wrote
        except FileExistsError:
            return
        finally:
            draft.unlink()
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}.",
            remedy="Make the folder writable, or set FRAUD_RUN_DIR to one that is.",
        ) from None


def read_private(path: Path) -> bytes:
    """The content of a file that only its owner can read.

    One that somebody else owns may let its group read: so orchestrators hand secrets to a
    container that is not root.

    Raises:
        SettingsError: others can read it, or we cannot.
    """
    try:
        status = path.stat()
        forbidden = 0o077 if status.st_uid == os.geteuid() else 0o037
        if stat.S_IMODE(status.st_mode) & forbidden:
            raise SettingsError(
                f"{path} can be read by other users.", remedy=f"Run: chmod 600 {path}"
            )
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}.", remedy="Check its owner and mode."
        ) from None


def given_file(path: Path, variable: str) -> bytes:
    """What a file holds that a variable of the environment names.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{variable} names {str(path)!r}, which cannot be read: {error.strerror}.",
            remedy="Give the path of a file this process may read.",
        ) from None


def given_secret(path: Path | None, variable: str) -> str:
    """The only line of a file that a variable names, "" where none was named.

    Raises:
        SettingsError: it cannot be read.
    """
    return "" if path is None else given_file(path, variable).decode().strip()
