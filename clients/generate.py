"""Write the models of the three clients from the service's OpenAPI description.

    python clients/generate.py [--openapi FILE] [--out FOLDER] [LANGUAGE ...]

`make clients` runs it. Python's models come from datamodel-code-generator, TypeScript's from
openapi-typescript (in clients/node/node_modules), Java's records from `java_models` beside this.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from java_models import write_java_models

Schema = dict[str, Any]

CLIENTS = Path(__file__).resolve().parent
PATHS = ("/predict", "/batch-predict", "/labels", "/health")
"""What the clients call; schemas of other routes are left out."""

PYTHON = Path("python/fraud_client/models.py")
NODE = Path("node/src/models.ts")
JAVA = Path("java/src/main/java/org/fraudplatform/client/model")


def contract(openapi: Schema) -> Schema:
    """The schemas that the clients' routes reach, as shapes: without what only a server checks."""
    schemas: Schema = {}
    waiting = [name for path in PATHS for name in _references(openapi["paths"][path])]
    while waiting:
        name = waiting.pop()
        if name not in schemas:
            schemas[name] = openapi["components"]["schemas"][name]
            waiting += _references(schemas[name])
    return {
        "openapi": openapi["openapi"],
        "info": {"title": openapi["info"]["title"], "version": "1"},
        "paths": {},
        "components": {"schemas": {name: _shape(schemas[name]) for name in sorted(schemas)}},
    }


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for each in node.values():
            yield from _references(each)
    elif isinstance(node, list):
        for each in node:
            yield from _references(each)


def _shape(schema: Schema) -> Schema:
    """A schema that tolerates further fields, and leaves dependencies of fields to the server."""
    shape = {name: each for name, each in schema.items() if name not in ("allOf", "title")}
    if shape.get("additionalProperties") is False:
        del shape["additionalProperties"]
    shape["properties"] = {
        name: {key: value for key, value in each.items() if key != "title"}
        for name, each in shape.get("properties", {}).items()
    }
    return shape if shape["properties"] else {k: v for k, v in shape.items() if k != "properties"}


def write_python(contract_file: Path, out: Path) -> None:
    """`fraud_client/models.py`: TypedDicts, so that a transaction is a plain dictionary."""
    options = [
        *("--input", str(contract_file), "--input-file-type", "openapi"),
        *("--output", str(out / PYTHON), "--output-model-type", "typing.TypedDict"),
        *("--target-python-version", "3.11", "--enum-field-as-literal", "all"),
        *("--use-union-operator", "--use-standard-collections", "--use-schema-description"),
        *("--formatters", "builtin", "--disable-warnings"),
        *("--custom-file-header", "# Written by clients/generate.py: do not edit."),
    ]
    (out / PYTHON).parent.mkdir(parents=True, exist_ok=True)
    _run([str(Path(sys.executable).with_name("datamodel-codegen")), *options])


def write_node(contract_file: Path, out: Path) -> None:
    """`src/models.ts`: one type per schema."""
    tool = CLIENTS / "node" / "node_modules" / ".bin" / "openapi-typescript"
    (out / NODE).parent.mkdir(parents=True, exist_ok=True)
    options = ["--root-types", "--root-types-no-schema-prefix", "--default-non-nullable", "false"]
    _run([str(tool), str(contract_file), "--output", str(out / NODE), *options])


def write_java(contract_file: Path, out: Path) -> None:
    """`org.fraudplatform.client.model`: one record per schema."""
    write_java_models(json.loads(contract_file.read_text())["components"]["schemas"], out / JAVA)


WRITERS: dict[str, Callable[[Path, Path], None]] = {
    "python": write_python,
    "node": write_node,
    "java": write_java,
}


def generate(openapi: Schema, out: Path, languages: list[str]) -> None:
    """Write the models of some languages below a folder laid out like `clients/`."""
    with tempfile.TemporaryDirectory() as folder:
        contract_file = Path(folder) / "contract.json"
        contract_file.write_text(json.dumps(contract(openapi)))
        for language in languages:
            WRITERS[language](contract_file, out)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def _described() -> Schema:
    from bentos.fraud_detector.openapi import openapi

    document: Schema = json.loads(openapi())
    return document


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write the clients' models.")
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help=", ".join(WRITERS))
    parser.add_argument("--openapi", type=Path, help="a saved description; else the code's own")
    parser.add_argument("--out", type=Path, default=CLIENTS)
    given = parser.parse_args()
    if unknown := sorted(set(given.languages) - set(WRITERS)):
        parser.error(f"no client is written in {', '.join(unknown)}")
    openapi = json.loads(given.openapi.read_text()) if given.openapi else _described()
    generate(openapi, given.out, given.languages or list(WRITERS))


if __name__ == "__main__":
    main()
