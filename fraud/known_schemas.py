"""Feature schemas by name: of the running code, of what serves, of the ledger, of a file."""

import json
from pathlib import Path

from psycopg2.extensions import cursor as Cursor

from fraud.catalogue import Schema, schema_of
from fraud.domain.errors import MalformedInput, NotFound
from fraud.domain.fraud_type import FraudType
from fraud.ledger.deployments import current_deployment
from fraud.ledger.embedded import ledger_url
from fraud.ledger.engine import connect
from fraud.ledger.models import feature_definition, feature_names
from fraud.settings import Settings

CODE, SERVED = "code", "served"
MANIFEST = "manifest.json"


def find_schema(name: str, fraud_type: FraudType, settings: Settings) -> Schema:
    """The schema that a person means.

    Args:
        name: `code`; `served`, of the model that serves; a schema hash that the ledger keeps;
            or a file: a bundle's manifest, or what `fraud features list --json` printed.
        fraud_type: whose.
        settings: where ledger and bundles are.

    Raises:
        NotFound: there is no such schema.
        MalformedInput: the file holds none.
        LedgerUnavailable: PostgreSQL does not answer.
    """
    if name == CODE:
        return schema_of(fraud_type)
    if "/" in name or name.endswith(".json"):
        return read_schema(Path(name), name)
    connection = connect(ledger_url(settings))
    try:
        with connection.cursor() as cursor:
            if name == SERVED:
                return served_schema(cursor, fraud_type, settings)
            return _recorded(cursor, name)
    finally:
        connection.close()


def served_schema(cursor: Cursor, fraud_type: FraudType, settings: Settings) -> Schema:
    """The schema that the serving model was trained under.

    Raises:
        NotFound: no model serves, or its manifest is gone.
        MalformedInput: its manifest cannot be read.
    """
    deployment = current_deployment(cursor, fraud_type.name)
    if deployment is None:
        raise NotFound(
            f"No model of {fraud_type.name} serves.", remedy="Run `fraud pipeline run` first."
        )
    manifest = settings.bundle_dir / deployment.bundle_path / MANIFEST
    return _with_definition(cursor, read_schema(manifest, SERVED))


def read_schema(path: Path, name: str) -> Schema:
    """The schema in a bundle's manifest or in what `fraud features list --json` printed.

    Raises:
        NotFound: there is no such file.
        MalformedInput: the file holds neither.
    """
    if not path.is_file():
        raise NotFound(f"There is no file {path}.", remedy="Check the path.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = tuple(content["feature_names"])
        return Schema(name, content["schema_hash"], names, content.get("definition"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MalformedInput(
            f"{path} holds no feature schema: {type(error).__name__} {error}.",
            remedy="Give a bundle's manifest.json, or save `fraud features list --json`.",
        ) from None


def _recorded(cursor: Cursor, schema_hash: str) -> Schema:
    names = feature_names(cursor, schema_hash)
    if names is None:
        raise NotFound(
            f"The ledger keeps no feature schema {schema_hash!r}.",
            remedy=f"Give {CODE}, {SERVED}, a schema hash of a deployed model, or a file.",
        )
    return _with_definition(cursor, Schema(schema_hash, schema_hash, tuple(names)))


def _with_definition(cursor: Cursor, schema: Schema) -> Schema:
    """The schema with what the ledger knows of it; definitions of an older form stay unknown."""
    definition = feature_definition(cursor, schema.schema_hash)
    if definition is None or "features" not in definition:
        return schema
    return Schema(schema.name, schema.schema_hash, schema.feature_names, definition)
