from pathlib import Path

import pytest
from pydantic import ValidationError

from fraud.domain.errors import SettingsError
from fraud.run.places import Places
from fraud.run.programs import absolute_paths, bentoml_environment
from fraud.settings import Settings, load_settings

SECRET = "a secret of more than 32 bytes, for tests"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("FRAUD_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)


def test_everything_has_a_default_below_the_run_folder(tmp_path: Path) -> None:
    settings = load_settings(run_dir=tmp_path)
    assert settings.database_url is None
    assert settings.host == "127.0.0.1"
    assert (settings.api_port, settings.dagster_port) == (8000, 3000)
    assert (settings.mlflow_port, settings.console_port) == (5000, 8080)
    assert settings.lake_url == str(tmp_path / "lake")
    assert settings.bundle_dir == tmp_path / "bundles"
    assert settings.mlflow_tracking_uri == "http://127.0.0.1:5000"


def test_the_default_run_folder_is_the_clones() -> None:
    assert load_settings().run_dir == Path(__file__).parents[2] / ".run"


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FRAUD_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("FRAUD_API_PORT", "9000")
    monkeypatch.setenv("FRAUD_LAKE_URL", "s3://lake")
    monkeypatch.setenv("FRAUD_LOG_LEVEL", "debug")
    monkeypatch.setenv("FRAUD_JWT_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", "postgres://db.example/fraud")
    settings = load_settings()
    assert (settings.run_dir, settings.api_port) == (tmp_path, 9000)
    assert (settings.lake_url, settings.log_level) == ("s3://lake", "DEBUG")
    assert settings.jwt_secret == SECRET
    assert settings.database_url == "postgres://db.example/fraud"


def test_relative_paths_are_those_of_the_caller_in_every_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The platform's programs work in the run folder; `fraud ingest` wherever it is called."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRAUD_LAKE_URL", "lake")
    monkeypatch.setenv("FRAUD_BUNDLE_DIR", "bundles")
    monkeypatch.setenv("FRAUD_VERIFY_KEY_FILE", "key.pem")
    monkeypatch.setenv("FRAUD_JWT_KEYS_DIR", "keys")
    monkeypatch.setenv("FRAUD_JWKS", "jwks.json")
    monkeypatch.setenv("FRAUD_AUDIT_ANCHOR_FILE", "anchors.jsonl")
    monkeypatch.delenv("FRAUD_SIGNING_KEY_FILE", raising=False)
    assert absolute_paths(load_settings(run_dir=tmp_path / "run")) == {
        "FRAUD_RUN_DIR": str(tmp_path / "run"),
        "FRAUD_LAKE_URL": str(tmp_path / "lake"),
        "FRAUD_BUNDLE_DIR": str(tmp_path / "bundles"),
        "FRAUD_VERIFY_KEY_FILE": str(tmp_path / "key.pem"),
        "FRAUD_JWT_KEYS_DIR": str(tmp_path / "keys"),
        "FRAUD_JWKS": str(tmp_path / "jwks.json"),
        "FRAUD_AUDIT_ANCHOR_FILE": str(tmp_path / "anchors.jsonl"),
    }


def test_empty_secrets_and_addresses_count_as_not_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FRAUD_JWT_SECRET", "")
    monkeypatch.setenv("DATABASE_URL", "")
    settings = load_settings(run_dir=tmp_path)
    assert settings.database_url is None
    assert len(settings.jwt_secret) == 64


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("FRAUD_API_PORT", "eighty", "FRAUD_API_PORT is wrong: Input should be a valid integer"),
        ("FRAUD_API_PORT", "0", "FRAUD_API_PORT is wrong: Input should be greater than"),
        ("FRAUD_API_PORT", "70000", "FRAUD_API_PORT is wrong: Input should be less than"),
        ("FRAUD_JWT_SECRET", "short", "FRAUD_JWT_SECRET is wrong: has 5 bytes; HS256 needs"),
        ("FRAUD_JWT_ISSUER", "", "FRAUD_JWT_ISSUER is wrong"),
        ("FRAUD_WORKERS", "0", "FRAUD_WORKERS is wrong"),
        ("FRAUD_LOG_LEVEL", "loud", "FRAUD_LOG_LEVEL is wrong"),
        ("DATABASE_URL", "mysql://x", "DATABASE_URL is wrong: must start with postgresql://"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(SettingsError, match="FRAUD_API_PROT"):
        load_settings(api_prot=1)


def test_secrets_are_not_printed(tmp_path: Path) -> None:
    settings = load_settings(
        run_dir=tmp_path, jwt_secret_given=SECRET, database_url="postgresql://u:hunter2@h/d"
    )
    assert SECRET not in repr(settings)
    assert "hunter2" not in repr(settings)


def test_settings_do_not_change(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        load_settings(run_dir=tmp_path).host = "0.0.0.0"  # type: ignore[misc]


def test_a_changed_copy_derives_its_defaults_anew(tmp_path: Path) -> None:
    settings = load_settings(run_dir=tmp_path, api_port=9000)
    moved = settings.replaced(run_dir=tmp_path / "other", host="0.0.0.0")
    assert isinstance(moved, Settings)
    assert moved.api_port == 9000
    assert moved.bundle_dir == tmp_path / "other" / "bundles"
    assert moved.mlflow_tracking_uri == "http://127.0.0.1:5000"  # 0.0.0.0 is no destination


def test_generated_secrets_stay_the_same(tmp_path: Path) -> None:
    one, other = load_settings(run_dir=tmp_path), load_settings(run_dir=tmp_path)
    assert one.jwt_secret == other.jwt_secret
    assert one.signing_key_pem == other.signing_key_pem
    assert one.verify_key_pem == other.verify_key_pem


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    load_settings(run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_keys_can_come_from_files(tmp_path: Path) -> None:
    maker = load_settings(run_dir=tmp_path / "training")
    (tmp_path / "private.pem").write_bytes(maker.signing_key_pem)
    (tmp_path / "public.pem").write_bytes(maker.verify_key_pem)
    signing = load_settings(run_dir=tmp_path / "a", signing_key_file=tmp_path / "private.pem")
    serving = load_settings(run_dir=tmp_path / "b", verify_key_file=tmp_path / "public.pem")
    assert signing.verify_key_pem == serving.verify_key_pem == maker.verify_key_pem
    assert not (tmp_path / "b").exists()  # who only verifies has no private key


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = load_settings(run_dir=tmp_path, verify_key_file=tmp_path / "gone.pem")
    with pytest.raises(SettingsError, match="FRAUD_VERIFY_KEY_FILE names"):
        _ = settings.verify_key_pem


@pytest.mark.parametrize("value", ["*", "proxy.example", "10.0.0.0/40"])
def test_proxies_are_named_by_address(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match="FRAUD_TRUSTED_PROXIES is wrong"):
        load_settings(run_dir=tmp_path, trusted_proxies=value)


def test_nobody_is_a_trusted_proxy_unless_named(tmp_path: Path) -> None:
    for given, expected in (("", ""), (" 10.0.0.0/8, ::1 ", "10.0.0.0/8,::1")):
        settings = load_settings(run_dir=tmp_path, trusted_proxies=given)
        environment = bentoml_environment(settings, Places(tmp_path))
        assert environment["FORWARDED_ALLOW_IPS"] == expected
