"""Ports that are taken, before anything was started."""

import socket

import pytest

from fraud.domain.errors import SettingsError
from fraud.run.ports import check_free
from tests.fraud.run.free_ports import free_port


def test_free_ports_pass() -> None:
    check_free("127.0.0.1", {"FRAUD_API_PORT": free_port(), "FRAUD_MLFLOW_PORT": free_port()})


def test_a_taken_port_is_named_with_its_setting_and_a_way_to_find_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(SettingsError) as caught:
            check_free("127.0.0.1", {"FRAUD_DAGSTER_PORT": port})
    text = str(caught.value)
    assert f"Port {port} is taken" in text
    assert "FRAUD_DAGSTER_PORT=" in text
    assert "ss -ltnp" in text


def test_a_port_that_was_just_left_is_free() -> None:
    """A closed connection lingers for a minute; that must not keep a restart from the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()
        client.close()
    check_free("127.0.0.1", {"FRAUD_API_PORT": port})


def test_equal_ports_are_refused() -> None:
    port = free_port()
    with pytest.raises(SettingsError, match="both"):
        check_free("127.0.0.1", {"FRAUD_API_PORT": port, "FRAUD_MLFLOW_PORT": port})


def test_an_address_of_another_machine_is_refused() -> None:
    # 192.0.2.0/24 is kept for documentation (RFC 5737): no machine has it.
    with pytest.raises(SettingsError, match="FRAUD_HOST"):
        check_free("192.0.2.1", {"FRAUD_API_PORT": free_port()})
