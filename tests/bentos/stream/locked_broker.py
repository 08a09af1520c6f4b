"""A real broker that lets in who logs in over TLS, with certificates of an authority of ours."""

import datetime as dt
import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from fraud.run.kafka.broker import Broker
from tests.fraud.run.free_ports import free_port
from tests.kafka import a_broker

USER, PASSWORD = "worker", "open sesame"
HOST = "127.0.0.1"
LIFETIME = dt.timedelta(days=1)


class Authority:
    """Signs certificates.

    Args:
        folder: where its own certificate is left, `ca.pem`, and those it signs.
        name: of it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        is_authority = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = (
            self._unsigned(self._name, self._key)
            .add_extension(is_authority, critical=True)
            .sign(self._key, SHA256())
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def issue(self) -> Path:
        """A PEM file with a key and a certificate for this machine's own address."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))])
        certificate = (
            self._unsigned(subject, key)
            .add_extension(address, critical=False)
            .sign(self._key, SHA256())
        )
        file = self._folder / "broker.pem"
        file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
            + self._certificate.public_bytes(Encoding.PEM)
        )
        return file

    def _unsigned(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - LIFETIME)
            .not_valid_after(now + LIFETIME)
        )


@dataclass(frozen=True)
class LockedBroker:
    """A broker with two doors.

    Attributes:
        inside: the broker, as tests reach it without a login.
        outside: settings of who comes through TLS and logs in.
    """

    inside: Broker
    outside: Mapping[str, object]


@contextmanager
def a_locked_broker(classpath: str, folder: Path) -> Iterator[LockedBroker]:
    """A broker that has one user, and is gone afterwards."""
    authority = Authority(folder, "ours")
    port, controller, locked = free_port(), free_port(), free_port()
    doors = f"PLAINTEXT://{HOST}:{port},SASL_SSL://{HOST}:{locked}"
    door = "listener.name.sasl_ssl"
    properties = {
        "listeners": f"{doors},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": doors,
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL"
        ),
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        f"{door}.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        f"{door}.ssl.keystore.type": "PEM",
        f"{door}.ssl.keystore.location": str(authority.issue()),
    }
    with a_broker(
        classpath, properties=properties, port=port, controller_port=controller
    ) as broker:
        login = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(USER, login, PASSWORD.encode())
        admin = AdminClient({"bootstrap.servers": broker.address})
        for made in admin.alter_user_scram_credentials([change]).values():
            made.result()
        password = folder / "password"
        password.write_text(PASSWORD)
        yield LockedBroker(
            broker,
            {
                "kafka_servers": f"{HOST}:{locked}",
                "kafka_security_protocol": "SASL_SSL",
                "kafka_username": USER,
                "kafka_password_file": password,
                "kafka_ca_file": authority.file,
            },
        )
