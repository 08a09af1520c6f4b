import os
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from fraud.domain.errors import SettingsError
from fraud.security.secret_files import generated_secret, generated_signing_key, public_key


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "jwt"
    secret = generated_secret(path)
    assert len(secret) == 64  # 48 random bytes in base64
    assert generated_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]  # no draft is left


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    made: list[str] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        made.append(generated_secret(tmp_path / "jwt"))

    makers = [threading.Thread(target=make) for _ in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(made) == 8
    assert len(set(made)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_secret_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "jwt"
    generated_secret(path)
    path.chmod(mode)
    with pytest.raises(SettingsError, match="chmod 600"):
        generated_secret(path)


def test_a_secret_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jwt"
    generated_secret(path)
    path.write_text("short")
    with pytest.raises(SettingsError, match="fewer than 32 bytes"):
        generated_secret(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        generated_secret(tmp_path / "file" / "jwt")


def test_signing_keys_belong_together(tmp_path: Path) -> None:
    private = load_pem_private_key(generated_signing_key(tmp_path), None)
    public = load_pem_public_key((tmp_path / "bundle-verify-key.pem").read_bytes())
    assert isinstance(private, Ed25519PrivateKey)
    assert isinstance(public, Ed25519PublicKey)
    public.verify(private.sign(b"manifest"), b"manifest")
    assert generated_signing_key(tmp_path) == generated_signing_key(tmp_path)


def test_a_new_signing_key_brings_its_own_public_half(tmp_path: Path) -> None:
    generated_signing_key(tmp_path)
    (tmp_path / "bundle-signing-key.pem").unlink()
    private_pem = generated_signing_key(tmp_path)
    left = (tmp_path / "bundle-verify-key.pem").read_bytes()
    assert left == public_key(private_pem, "the key")


def test_other_keys_are_refused() -> None:
    other = rsa.generate_private_key(65537, 2048)
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for wrong in (pem, b"nonsense", b""):
        with pytest.raises(SettingsError, match="No Ed25519 private key in PEM form: the key"):
            public_key(wrong, "the key")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("owner", "mode", "is_private"),
    [
        (10001, 0o440, True),  # as Kubernetes mounts a secret for a group
        (10001, 0o444, False),
        (10001, 0o460, False),
        (0, 0o440, False),
    ],
)
def test_a_file_of_somebody_else_may_be_shared_with_our_group(
    tmp_path: Path, owner: int, mode: int, is_private: bool
) -> None:
    path = tmp_path / "secret"
    path.write_text("x" * 32)
    os.chown(path, owner, 0)
    path.chmod(mode)
    if is_private:
        assert generated_secret(path) == "x" * 32
    else:
        with pytest.raises(SettingsError, match="other users"):
            generated_secret(path)
