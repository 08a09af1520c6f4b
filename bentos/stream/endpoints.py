"""Endpoints of webhooks: a YAML file says where they are, secrets stand in files of their own."""

import base64
import binascii
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fraud.domain.errors import SettingsError
from fraud.ledger.outbox import ERASURES_TOPIC, RESULTS_TOPIC

Topic = Literal["fraud_results", "fraud_erasures"]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]

_PREFIX = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64


class Endpoint(BaseModel):
    """One receiver of webhooks.

    Attributes:
        name: of letters, digits, `-` and `_`; its sink is `webhook:<name>`.
        url: https, or http on this machine.
        secret_file: secrets as in Standard Webhooks, `whsec_` and Base64 of 24 to 64 bytes, one
            a line; requests are signed with each, so that a receiver can change its secret.
        topics: what it is told.
        attempts: how often a message is sent before it is a dead letter.
        first_pause_s: limit of the random pause after the first try; it doubles each time.
        longest_pause_s: where it stops doubling.
        timeout_s: seconds one request may take.
        connections: most requests at a time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,50}$")]
    url: str
    secret_file: Path
    topics: frozenset[Topic] = frozenset({RESULTS_TOPIC, ERASURES_TOPIC})
    attempts: Annotated[int, Field(ge=1, le=50)] = 8
    first_pause_s: Seconds = 0.5
    longest_pause_s: Seconds = 60.0
    timeout_s: Seconds = 10.0
    connections: Annotated[int, Field(ge=1, le=256)] = 16

    @field_validator("url")
    @classmethod
    def _safe(cls, value: str) -> str:
        parts = urlsplit(value)
        is_local = parts.hostname in ("127.0.0.1", "::1", "localhost")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
            raise ValueError("must be an https:// URL")
        return value

    @property
    def sink(self) -> str:
        """The name its progress is kept under."""
        return f"webhook:{self.name}"

    def secrets(self) -> list[str]:
        """What requests are signed with.

        Raises:
            SettingsError: the file cannot be read or holds something else.
        """
        try:
            found = self.secret_file.read_text(encoding="ascii").split()
        except (OSError, UnicodeError) as error:
            raise self._bad_secret(f"cannot be read: {error}") from None
        for each in found:
            try:
                size = len(base64.b64decode(each.removeprefix(_PREFIX), validate=True))
            except binascii.Error:
                size = 0
            if not (each.startswith(_PREFIX) and _LEAST_BYTES <= size <= _MOST_BYTES):
                raise self._bad_secret("holds something that is no secret")
        if not found:
            raise self._bad_secret("is empty")
        return found

    def _bad_secret(self, what: str) -> SettingsError:
        return SettingsError(
            f"The secret_file of webhook {self.name!r}, {str(self.secret_file)!r}, {what}.",
            remedy="Make one with: echo whsec_$(openssl rand -base64 32)",
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    endpoints: list[Endpoint]


def read_endpoints(path: Path) -> list[Endpoint]:
    """The endpoints of a file; secret files are looked for beside it.

    Raises:
        SettingsError: it cannot be read, or says something wrong.
    """
    try:
        found = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise _wrong(path, f"cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise _wrong(path, f"is wrong at {where}: {first['msg']}") from None
    names = [each.name for each in found.endpoints]
    if len(set(names)) < len(names):
        raise _wrong(path, "names an endpoint twice")
    return [
        each.model_copy(update={"secret_file": path.parent / each.secret_file})
        for each in found.endpoints
    ]


def _wrong(path: Path, what: str) -> SettingsError:
    return SettingsError(
        f"FRAUD_WEBHOOKS_FILE, {str(path)!r}, {what}.", remedy="See docs/relay.md for its form."
    )
