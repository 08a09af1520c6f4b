"""Ed25519 signatures (RFC 8032) over manifests."""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fraud.domain.errors import BundleError


def new_signing_keys() -> tuple[bytes, bytes]:
    """A fresh Ed25519 key pair as PEM: private (PKCS 8, not encrypted) and public."""
    private = Ed25519PrivateKey.generate()
    return (
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )


def sign(private_key_pem: bytes, content: bytes) -> bytes:
    """The 64 bytes of the Ed25519 signature over `content`.

    Raises:
        BundleError: the key cannot be used.
    """
    try:
        key = serialization.load_pem_private_key(private_key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BundleError(
            "The private key for bundles cannot be read.",
            remedy="Give an Ed25519 key as PEM, without a passphrase.",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(
            f"The private key for bundles is a {type(key).__name__}.",
            remedy="Give an Ed25519 key as PEM, without a passphrase.",
        )
    return key.sign(content)


def is_signed(public_key_pem: bytes, signature: bytes, content: bytes) -> bool:
    """Whether the signature over `content` was made with the key's private half.

    Raises:
        BundleError: the key cannot be used.
    """
    try:
        key = serialization.load_pem_public_key(public_key_pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BundleError(
            "The public key for bundles cannot be read.", remedy="Give an Ed25519 key as PEM."
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise BundleError(
            f"The public key for bundles is a {type(key).__name__}.",
            remedy="Give an Ed25519 key as PEM.",
        )
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True
