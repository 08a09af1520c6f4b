"""Every setting of the platform: the only module that reads the environment.

A setting `api_port` is the environment variable `FRAUD_API_PORT`; the one exception is
`DATABASE_URL`, which is called that everywhere. Secrets nobody gave are made once, in
`<run_dir>/secrets/`, readable by their owner alone.
"""

import os
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import SettingsConfigDict

from fraud.domain.errors import SettingsError
from fraud.monitoring_settings import MonitoringSettings
from fraud.promotion_settings import PromotionSettings
from fraud.security.secret_files import (
    MIN_SECRET_BYTES,
    generated_secret,
    generated_signing_key,
    given_file,
    public_key,
)
from fraud.stream_settings import Port, StreamSettings

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]

_VARIABLES = {"database_url": "DATABASE_URL", "jwt_secret_given": "FRAUD_JWT_SECRET"}


def _default_run_dir() -> Path:
    """`.run` in the clone this package is imported from, else in the current directory."""
    root = Path(__file__).resolve().parent.parent
    return (root if (root / "pyproject.toml").is_file() else Path.cwd()) / ".run"


def _default_workers() -> int:
    return min(os.cpu_count() or 1, 8)


class Settings(StreamSettings, MonitoringSettings, PromotionSettings):
    """The configuration of one process; make it with `load_settings`.

    Attributes:
        run_dir: run-time files: data, generated secrets, logs.
        database_url: your PostgreSQL; None starts the embedded one in `run_dir`.
        host: address all servers bind to.
        lake_url: event log, any fsspec URL; `<run_dir>/lake` unless given.
        types_path: folder of fraud types of your own, beside those in `fraud/types`.
        bundle_dir: model bundles; `<run_dir>/bundles` unless given.
        bento_dir: store of Bentos, e.g. that of an image; `<run_dir>/bentoml` unless given.
        mlflow_tracking_uri: the MLflow server; ours at `mlflow_port` unless given.
        jwt_secret_given: HS256 secret, at least 32 bytes; read `jwt_secret` instead.
        jwt_keys_dir: HS256 secrets by name; `<run_dir>/secrets/jwt-keys` unless given.
        jwks: another issuer's public keys (JSON Web Key Set), a file or an https URL.
        jwks_issuer: the `iss` of its tokens; `jwt_issuer` unless given.
        jwt_lifetime_s: seconds until an issued token expires.
        signing_key_file: Ed25519 private key (PEM) that signs model bundles.
        verify_key_file: its public key (PEM); all that serving needs.
        encryption_keys_dir: Fernet keys of stored values by name; `<run_dir>/secrets/data-keys`,
            where the first one is made, unless given.
        look_up_key_file: secret that pseudonyms of sensitive fields are made with, at least 32
            bytes; `<run_dir>/secrets/look-up-key` unless given. It cannot be changed later.
        audit_anchor_file: where heads of the audit log are noted outside the ledger.
        audit_anchor_interval_s: seconds between two notes.
        audit_anchor_sink: where each note goes as well: none, stdout or syslog.
        rate_per_client: requests per second of one token's subject, in each worker.
        burst_per_client: requests it may make at once after a pause.
        rate_per_address: requests per second of one address without a valid token.
        burst_per_address: requests it may make at once after a pause.
        trusted_proxies: addresses or networks, separated by commas, whose X-Forwarded-For and
            X-Forwarded-Proto are believed; nobody's unless given.
        currency: the platform's, ISO 4217 in small letters.
        exchange_rates: of other currencies, in the platform's, e.g. eur=1.08,jpy=0.0067.
        stripe_api_key: turns the Stripe connector on.
        stripe_webhook_secret: turns its webhook on; `whsec_...`, as Stripe shows it.
        stripe_api_base: where Stripe's API is.
        stripe_captures: whether approved payments that wait for capture are captured.
        stripe_acts_on_degraded: whether decisions without a model move money.
        workers: processes of the scoring service.
        journal_max_bytes: size of the file of decisions that wait for the ledger, at most.
        source: what the nightly ingest adds to what the service saw: simulated days, or nothing.
        history_days: days the simulator's history reaches back.
    """

    model_config = SettingsConfigDict(
        env_prefix="FRAUD_", frozen=True, extra="forbid", populate_by_name=True
    )

    run_dir: Path = Field(default_factory=_default_run_dir)
    database_url: str | None = Field(
        default=None, repr=False, validation_alias=AliasChoices("DATABASE_URL", "database_url")
    )
    host: str = "127.0.0.1"
    api_port: Port = 8000
    dagster_port: Port = 3000
    mlflow_port: Port = 5000
    console_port: Port = 8080

    lake_url: str = ""
    types_path: Path | None = None
    bundle_dir: Path = Path()
    bento_dir: Path | None = None
    mlflow_tracking_uri: str = ""

    jwt_secret_given: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("FRAUD_JWT_SECRET", "jwt_secret_given")
    )
    jwt_issuer: str = Field(default="fraud-platform", min_length=1)
    jwt_audience: str = Field(default="fraud-api", min_length=1)
    jwt_lifetime_s: Positive = 24 * 3600
    jwt_keys_dir: Path | None = None
    jwks: str = ""
    jwks_issuer: str = ""
    signing_key_file: Path | None = None
    verify_key_file: Path | None = None

    encryption_keys_dir: Path | None = None
    look_up_key_file: Path | None = None

    audit_anchor_file: Path = Path()
    audit_anchor_interval_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    audit_anchor_sink: Literal["none", "stdout", "syslog"] = "none"

    journal_max_bytes: Positive = 64 * 1024 * 1024

    rate_per_client: Rate = 5000.0
    burst_per_client: Positive = 10_000
    rate_per_address: Rate = 50.0
    burst_per_address: Positive = 200

    trusted_proxies: str = ""

    currency: Annotated[str, Field(pattern="^[a-z]{3}$")] = "usd"
    exchange_rates: str = ""
    stripe_api_key: SecretStr | None = None
    stripe_webhook_secret: SecretStr | None = None
    stripe_api_base: str = "https://api.stripe.com"
    stripe_captures: bool = True
    stripe_acts_on_degraded: bool = False

    workers: Positive = Field(default_factory=_default_workers)
    source: Literal["simulator", "lake"] = "simulator"
    history_days: Positive = 150
    simulator_customers: Positive = 2000
    simulator_merchants: Positive = 4000
    simulator_seed: Annotated[int, Field(ge=0)] = 7
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator(
        *("run_dir", "types_path", "signing_key_file", "verify_key_file", "jwt_keys_dir"),
        *("bento_dir", "encryption_keys_dir", "look_up_key_file"),
    )
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        parts = [part.strip() for part in value.split(",") if part.strip()]
        for part in parts:
            ip_network(part, strict=False)
        return ",".join(parts)

    @field_validator("jwks")
    @classmethod
    def _safe_jwks(cls, value: str) -> str:
        if value and "://" not in value:
            return str(Path(value).expanduser().absolute())
        if value and not _is_safe(value):
            raise ValueError("must be a file or an https:// URL")
        return value

    @field_validator("stripe_api_base")
    @classmethod
    def _safe_base(cls, value: str) -> str:
        if not _is_safe(value):
            raise ValueError("must be an https:// URL")
        return value

    @field_validator("stripe_api_key", "stripe_webhook_secret")
    @classmethod
    def _given(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value().strip() else None

    @field_validator("lake_url")
    @classmethod
    def _absolute_lake(cls, value: str) -> str:
        """A plain path, made absolute: the platform's programs work in another folder."""
        is_path = value and "://" not in value and "::" not in value
        return str(Path(value).expanduser().absolute()) if is_path else value

    @field_validator("database_url")
    @classmethod
    def _postgresql_only(cls, value: str | None) -> str | None:
        if not value:
            return None
        scheme = value.partition("://")[0]
        if scheme.partition("+")[0] not in ("postgresql", "postgres"):
            raise ValueError("must start with postgresql:// (the ledger is PostgreSQL only)")
        return value

    @field_validator("jwt_secret_given")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        given = len(value.get_secret_value().encode())
        if given < MIN_SECRET_BYTES:
            raise ValueError(f"has {given} bytes; HS256 needs at least {MIN_SECRET_BYTES}")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    def model_post_init(self, context: Any, /) -> None:
        """Fill the settings whose defaults follow from others."""
        given = self.model_fields_set
        bundles = self.bundle_dir if "bundle_dir" in given else self.run_dir / "bundles"
        anchors = self.run_dir / "audit-anchors.jsonl"
        if "audit_anchor_file" in given:
            anchors = self.audit_anchor_file.expanduser().absolute()
        reachable = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        self.__dict__.update(
            lake_url=self.lake_url or str(self.run_dir / "lake"),
            bundle_dir=bundles.expanduser().absolute(),
            mlflow_tracking_uri=self.mlflow_tracking_uri
            or f"http://{reachable}:{self.mlflow_port}",
            jwks_issuer=self.jwks_issuer or self.jwt_issuer,
            audit_anchor_file=anchors,
        )

    @property
    def secrets_dir(self) -> Path:
        """Where generated secrets live, mode 0700."""
        return self.run_dir / "secrets"

    @property
    def journal_dir(self) -> Path:
        """Where decisions wait that the ledger could not take."""
        return self.run_dir / "journal"

    @cached_property
    def jwt_secret(self) -> str:
        """The HS256 secret: the one given, else one made once in `secrets_dir`.

        Raises:
            SettingsError: the stored secret is too short or readable by others.
        """
        if self.jwt_secret_given is not None:
            return self.jwt_secret_given.get_secret_value()
        return generated_secret(self.jwt_secret_file)

    @property
    def jwt_secret_file(self) -> Path:
        """Where `jwt_secret` is kept when it was not given."""
        return self.secrets_dir / "jwt-secret"

    @property
    def token_keys_dir(self) -> Path:
        """The folder of HS256 secrets by name."""
        return self.jwt_keys_dir or self.secrets_dir / "jwt-keys"

    @cached_property
    def signing_key_pem(self) -> bytes:
        """The private key that signs model bundles (PKCS 8 PEM, Ed25519).

        Raises:
            SettingsError: the key file given does not exist.
        """
        if self.signing_key_file is not None:
            return given_file(self.signing_key_file, "FRAUD_SIGNING_KEY_FILE")
        return generated_signing_key(self.secrets_dir)

    @cached_property
    def verify_key_pem(self) -> bytes:
        """The public key that bundles are verified with (PEM, Ed25519).

        Raises:
            SettingsError: the key file given does not exist, or holds no such key.
        """
        if self.verify_key_file is not None:
            return given_file(self.verify_key_file, "FRAUD_VERIFY_KEY_FILE")
        return public_key(self.signing_key_pem, "the bundle signing key")

    def replaced(self, **changes: Any) -> Self:
        """A checked copy with other values.

        Raises:
            SettingsError: a value is wrong.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return _checked(type(self), given | changes)


S = TypeVar("S", bound=Settings)


def load_settings(**overrides: Any) -> Settings:
    """The settings from the environment, `overrides` winning.

    Raises:
        SettingsError: a value is wrong; the message names the variable.
    """
    return _checked(Settings, overrides)


def _checked(kind: type[S], values: dict[str, Any]) -> S:
    try:
        return kind(**values)
    except ValidationError as error:
        raise _settings_error(error) from None


def _settings_error(error: ValidationError) -> SettingsError:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "settings"
    variable = _VARIABLES.get(name) or (name if name.isupper() else f"FRAUD_{name.upper()}")
    what = first["msg"].removeprefix("Value error, ")
    return SettingsError(
        f"{variable} is wrong: {what}.", remedy=f"Set or unset {variable}.", field=name
    )


def _is_safe(url: str) -> bool:
    """Whether what is sent there stays unread: encrypted, or on this machine."""
    parts = urlsplit(url)
    is_local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    return parts.scheme == "https" or (parts.scheme == "http" and is_local)
