from pathlib import Path

import pytest

from bentos.stream.kafka_client import client_config
from fraud.domain.errors import SettingsError
from fraud.settings import load_settings


def test_a_login_over_tls_is_passed_on(tmp_path: Path) -> None:
    password, authority = tmp_path / "password", tmp_path / "ca.pem"
    password.write_text("open sesame\n")
    authority.touch()
    settings = load_settings(
        kafka_servers="one:9093,two:9093",
        kafka_security_protocol="SASL_SSL",
        kafka_username="relay",
        kafka_password_file=password,
        kafka_ca_file=authority,
    )
    config = client_config(settings)
    assert config["bootstrap.servers"] == "one:9093,two:9093"
    assert config["security.protocol"] == "SASL_SSL"
    assert config["sasl.mechanism"] == "SCRAM-SHA-512"
    assert (config["sasl.username"], config["sasl.password"]) == ("relay", "open sesame")
    assert config["ssl.ca.location"] == str(authority)
    assert "open sesame" not in repr(settings)


def test_a_login_needs_a_name() -> None:
    with pytest.raises(SettingsError, match="FRAUD_KAFKA_USERNAME"):
        client_config(load_settings(kafka_security_protocol="SASL_SSL"))


def test_a_password_that_cannot_be_read_names_its_setting(tmp_path: Path) -> None:
    settings = load_settings(
        kafka_security_protocol="SASL_SSL",
        kafka_username="relay",
        kafka_password_file=tmp_path / "gone",
    )
    with pytest.raises(SettingsError, match="FRAUD_KAFKA_PASSWORD_FILE"):
        client_config(settings)


@pytest.mark.parametrize("name", ["kafka_ca_file", "kafka_certificate_file", "kafka_key_file"])
def test_a_file_that_is_missing_names_its_setting(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"FRAUD_{name.upper()} names .*gone"):
        client_config(load_settings(kafka_security_protocol="SSL", **{name: tmp_path / "gone"}))
