"""Java records from JSON schemas: one file per schema, with a builder where fields are many.

Small on purpose: it knows the shapes that the contract of the clients has, and stops at others.
"""

import re
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

PACKAGE = "org.fraudplatform.client.model"
HEADER = "// Written by clients/generate.py: do not edit.\n"
RENAMED = {"Transaction": "TransactionData", "Decision": "FraudPrediction"}
"""The names that the integration guide's Java example goes by."""

_NUMBERS = {"number": "Double", "integer": "Long", "boolean": "Boolean"}
_IMPORTS = {
    "BigDecimal": "java.math.BigDecimal",
    "Instant": "java.time.Instant",
    "List": "java.util.List",
    "Map": "java.util.Map",
    "JsonFormat": "com.fasterxml.jackson.annotation.JsonFormat",
    "JsonIgnoreProperties": "com.fasterxml.jackson.annotation.JsonIgnoreProperties",
    "JsonInclude": "com.fasterxml.jackson.annotation.JsonInclude",
    "JsonProperty": "com.fasterxml.jackson.annotation.JsonProperty",
}


def write_java_models(schemas: dict[str, Schema], folder: Path) -> None:
    """Write one Java file per schema, and those of schemas inside schemas.

    Args:
        schemas: by name.
        folder: of the package; files of schemas that are gone are deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.java"):
        path.unlink()
    union = {_last(each["$ref"]) for each in schemas["Transaction"]["oneOf"]}
    for name, schema in schemas.items():
        java_name = _java_name(name)
        if "oneOf" in schema:
            text = _union(java_name, schema)
        else:
            text = _Record(java_name, schema, is_transaction=name in union).text()
        (folder / f"{java_name}.java").write_text(text)


class _Record:
    """One record: its components, nested records, and a builder for a transaction."""

    def __init__(self, name: str, schema: Schema, *, is_transaction: bool = False) -> None:
        self.name = name
        self._schema = schema
        self._is_transaction = is_transaction
        self._nested: list[_Record] = []
        self._required = schema.get("required", [])
        self._fields = {
            field: (_constant(each), self._type(field, each))
            for field, each in schema["properties"].items()
        }

    def text(self) -> str:
        """The whole file."""
        body = self.body()
        words = set(re.findall(r"\w+", body))
        imports = sorted(path for word, path in _IMPORTS.items() if word in words)
        lines = "".join(f"import {path};\n" for path in imports)
        return f"{HEADER}package {PACKAGE};\n\n{lines}\n{body}"

    def body(self) -> str:
        """The record's declaration."""
        union = f" implements {RENAMED['Transaction']}" if self._is_transaction else ""
        components = ",\n".join(f"    {self._component(field)}" for field in self._fields)
        inside = "\n".join(_indented(each.body()) for each in self._nested)
        inside += _indented(self._builder()) if self._is_transaction else ""
        about = self._schema.get("description")
        comment = f"/** {' '.join(about.split())} */\n" if about else ""
        annotations = (
            "@JsonInclude(JsonInclude.Include.NON_NULL)\n"
            "@JsonIgnoreProperties(ignoreUnknown = true)\n"
        )
        head = f"{comment}{annotations}public record {self.name}("
        return f"{head}\n{components}){union} {{\n{inside}}}\n"

    def _component(self, field: str) -> str:
        java_type = self._fields[field][1]
        shape = "@JsonFormat(shape = JsonFormat.Shape.STRING) " if java_type == "Instant" else ""
        return f'@JsonProperty("{field}") {shape}{java_type} {_camel(field)}'

    def _type(self, field: str, schema: Schema) -> str:
        """The Java type of a schema; boxed, as everything may be absent."""
        if "$ref" in schema:
            return _java_name(_last(schema["$ref"]))
        if "anyOf" in schema:
            [schema] = [each for each in schema["anyOf"] if each.get("type") != "null"]
        kind = schema.get("type")
        if isinstance(kind, list):
            [kind] = [each for each in kind if each != "null"]
        if kind == "array":
            return f"List<{self._type(field.removesuffix('s'), schema['items'])}>"
        if kind == "object":
            return self._object(field, schema)
        if field == "amount":
            return "BigDecimal"
        if kind in _NUMBERS:
            return _NUMBERS[kind]
        if kind == "string" or "enum" in schema:
            return "Instant" if schema.get("format") == "date-time" else "String"
        raise ValueError(f"{self.name}.{field}: no Java type for {schema}")

    def _object(self, field: str, schema: Schema) -> str:
        if "properties" in schema:
            nested = _Record(_camel(f"_{field}"), schema)
            self._nested.append(nested)
            return nested.name
        values = schema.get("additionalProperties", True)
        value = "Object" if values is True else self._type(field.removesuffix("s"), values)
        return f"Map<String, {value}>"

    def _builder(self) -> str:
        """A builder: required fields first, the others by name."""
        required = [name for name in self._required if self._fields[name][0] is None]
        optional = [
            name for name in self._fields if name not in required and not self._fields[name][0]
        ]
        parameters = ", ".join(f"{self._fields[name][1]} {_camel(name)}" for name in required)
        given = ", ".join(_camel(name) for name in required)
        lines = [
            f"/** Starts a {self.name}; these fields are required. */",
            f"public static Builder builder({parameters}) {{",
            f"    return new Builder({given});",
            "}",
            "",
            "/** Takes the optional fields. */",
            "public static final class Builder {",
            *(f"    private final {self._fields[n][1]} {_camel(n)};" for n in required),
            *(f"    private {self._fields[n][1]} {_camel(n)};" for n in optional),
            "",
            f"    private Builder({parameters}) {{",
            *(f"        this.{_camel(n)} = {_camel(n)};" for n in required),
            "    }",
        ]
        for name in optional:
            lines += [
                "",
                f"    public Builder {_camel(name)}({self._fields[name][1]} value) {{",
                f"        this.{_camel(name)} = value;",
                "        return this;",
                "    }",
            ]
        values = ", ".join(self._fields[name][0] or _camel(name) for name in self._fields)
        lines += [
            "",
            f"    public {self.name} build() {{",
            f"        return new {self.name}({values});",
            "    }",
            "}",
        ]
        return "\n".join(lines) + "\n"


def _union(name: str, schema: Schema) -> str:
    permitted = ", ".join(_java_name(_last(each["$ref"])) for each in schema["oneOf"])
    return (
        f"{HEADER}package {PACKAGE};\n\n"
        "/** A transaction of any fraud type. */\n"
        f"public sealed interface {name}\n    permits {permitted} {{\n\n"
        "    /** Its name: sent again, it gets its first answer. */\n"
        "    String transactionId();\n"
        "}\n"
    )


def _constant(schema: Schema) -> str | None:
    return _text(schema["const"]) if "const" in schema else None


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _java_name(name: str) -> str:
    return RENAMED.get(name, name)


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def _indented(text: str) -> str:
    return "".join(f"    {line}" if line.strip() else line for line in text.splitlines(True))
