"""The OpenAPI 3.1 description, written from the code that decides what is accepted.

Request schemas come from the fraud types' own models, problems and statuses from `problems`,
scopes and limits from `access`; only the reply is described by hand, and a test compares it.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import orjson
from pydantic import AfterValidator
from starlette.routing import compile_path

from bentos.fraud_detector.access import ROUTES, SCORING, Access
from bentos.fraud_detector.health import software_version
from bentos.fraud_detector.intake import DEFAULT_FRAUD_TYPE, MAX_BATCH_ITEMS
from bentos.fraud_detector.operations.description import operations
from bentos.fraud_detector.problems import MEDIA_TYPE, TITLES
from fraud.domain.event import TogetherWith
from fraud.domain.fraud_type import FraudType
from fraud.types.registry import fraud_types

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}

_SUMMARIES = {
    "/predict": "Decide on one transaction",
    "/batch-predict": f"Decide on up to {MAX_BATCH_ITEMS:,} transactions, each on its own",
    "/health": "Whether predictions can be answered, by which models",
    "/livez": "Whether the process lives",
    "/readyz": "Whether the process can answer predictions",
    "/healthz": "Whether the process lives",
    "/openapi.json": "This description",
    "/metrics": "Metrics in Prometheus' text format",
    "/connectors/stripe/webhook": "What Stripe tells: payments to decide on, disputes as labels",
}


@cache
def openapi() -> bytes:
    """The document, as JSON."""
    schemas = {_name(kind): _transaction(kind) for kind in fraud_types().values()}
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Fraud detector",
            "version": software_version(),
            "description": "Scores transactions and remembers what it decided. A transaction_id "
            "sent again with the same body gets its first answer, marked `replayed`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
            "schemas": {
                **schemas,
                **operations()[1],
                "Transaction": _any_transaction(),
                "Decision": _DECISION,
                "Problem": _PROBLEM,
                "ItemProblem": _ITEM_PROBLEM,
                "Health": _HEALTH,
            },
        },
    }
    return orjson.dumps(document)


def _paths() -> Schema:
    paths: Schema = {}
    for access in ROUTES:
        path = compile_path(access.path)[1]
        described = _path(access) if access.path in _SUMMARIES else _operation(access, path)
        paths.setdefault(path, {}).update(described)
    return paths


def _operation(access: Access, path: str) -> Schema:
    """A route of the operations: what FastAPI says, with our scopes and our refusals."""
    method = "post" if "POST" in access.methods else "get"
    operation: Schema = dict(operations()[0][path][method])
    operation["security"] = [{"bearer": [access.scope]}]
    more = ("not-found", "invalid-field", "unavailable")
    operation["responses"] = {**operation["responses"], **_failures(access, more)}
    return {method: operation}


def _path(access: Access) -> Schema:
    method = "post" if "POST" in access.methods else "get"
    operation: Schema = {
        "operationId": _operation_id(access.path),
        "summary": _SUMMARIES[access.path],
        "security": _security(access),
        "responses": {"200": _success(access), **_failures(access)},
    }
    if access.max_body:
        operation["requestBody"] = {
            "required": True,
            "description": f"At most {access.max_body:,} bytes.",
            "content": {"application/json": {"schema": _body(access)}},
        }
    return {method: operation}


def _operation_id(path: str) -> str:
    return path.strip("/").replace("-", "_").replace("/", "_").removesuffix(".json")


def _security(access: Access) -> list[Schema]:
    if access.is_open or access.is_signed:
        return []
    return [{"bearer": [access.scope] if access.scope else []}]


def _body(access: Access) -> Schema:
    if access.path == "/predict":
        return _ref("Transaction")
    if access.is_signed:
        return {"type": "object", "description": "An Event of Stripe's, in a version of its API."}
    anything = {"description": "Whatever else stands in a place gets its own error there."}
    items = {"anyOf": [_ref("Transaction"), anything]}
    limits = {"minItems": 1, "maxItems": MAX_BATCH_ITEMS}
    return _object({"transactions": {"type": "array", **limits, "items": items}}, closed=True)


def _success(access: Access) -> Schema:
    if access.scope == SCORING:
        one = _ref("Decision")
        listed = {"type": "array", "items": {"anyOf": [one, _ref("ItemProblem")]}}
        schema = one if access.path == "/predict" else _object({"predictions": listed})
        return _response("Decided, and durable.", "application/json", schema)
    if access.path == "/health":
        return _response("Predictions can be answered.", "application/json", _ref("Health"))
    if access.is_signed:
        schema = {"type": "object", "properties": {"event": TEXT, "result": TEXT}}
        return _response("Taken in, and durable.", "application/json", schema)
    if access.path == "/openapi.json":
        return _response("OpenAPI 3.1.", "application/json", {"type": "object"})
    return _response("Yes." if access.is_open else "Metrics.", "text/plain", TEXT)


def _failures(access: Access, more: Sequence[str] = ()) -> Schema:
    if access.is_signed:
        more = (*more, "invalid-signature", "not-found")
    slugs = ["rate-limited", "headers-too-large", *more]
    if not access.is_open:
        slugs += ["unauthenticated"] + (["forbidden"] if access.scope else [])
    if access.max_body:
        absent = {"not-found", "method-not-allowed", "invalid-signature"} - set(more)
        absent |= {"unauthenticated", "forbidden"} if access.is_signed else set()
        slugs = [slug for slug in TITLES if slug not in absent]
    titles: dict[int, list[str]] = {}
    for slug in slugs:
        status, title = TITLES[slug]
        titles.setdefault(status, []).append(title)
    found: Schema = {
        str(status): _response(f"{'; or: '.join(each)}.", MEDIA_TYPE, _ref("Problem"))
        for status, each in titles.items()
    }
    if access.path == "/health":
        found["503"] = _response("No predictions now.", "application/json", _ref("Health"))
    elif access.is_open:
        found["503"] = {"description": "No."}
    for code in ("429", "503"):
        if "content" in found.get(code, {}):
            found[code]["headers"] = _RETRY_AFTER
    return found


def _transaction(kind: FraudType) -> Schema:
    """JSON schema of a fraud type's model, with the bounds where JSON Schema expects them."""
    schema: Schema = kind.transaction.model_json_schema()
    amount = schema["properties"]["amount"]
    for ours, theirs in (("ge", "minimum"), ("le", "maximum")):
        if ours in amount:
            amount[theirs] = amount.pop(ours)
    amount["multipleOf"] = 0.01
    if pairs := _pairs(kind):
        schema["allOf"] = pairs
    if kind.name != DEFAULT_FRAUD_TYPE:
        schema["required"] = [*schema.get("required", []), "fraud_type"]
    return schema


def _pairs(kind: FraudType) -> list[Schema]:
    """That two fields come together or not at all, null meaning not at all."""
    found: list[Schema] = []
    for name, each in kind.transaction.model_fields.items():
        for check in each.metadata:
            if isinstance(check, AfterValidator) and isinstance(check.func, TogetherWith):
                both = [check.func.field, name]
                neither = {"properties": {field: {"type": "null"} for field in both}}
                given = {"properties": {field: NUMBER for field in both}, "required": both}
                found.append({"anyOf": [neither, given]})
    return found


def _any_transaction() -> Schema:
    names = {kind.name: _name(kind) for kind in fraud_types().values()}
    if len(names) == 1:
        return _ref(*names.values())
    return {"oneOf": [_ref(name) for name in names.values()]}


def _name(kind: FraudType) -> str:
    return kind.transaction.__name__


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, *, optional: tuple[str, ...] = (), closed: bool = False) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }
    return {**schema, "additionalProperties": False} if closed else schema


def _response(description: str, media_type: str, schema: Schema) -> Schema:
    return {"description": description, "content": {media_type: {"schema": schema}}}


_RETRY_AFTER: Schema = {
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}}
}

_REASON = _object(
    {"code": TEXT, "text": TEXT, "feature": TEXT, "value": NUMBER, "contribution": NUMBER},
    closed=True,
)

_DECISION = _object(
    {
        "transaction_id": TEXT,
        "decision_id": {"type": "string", "format": "uuid"},
        "fraud_type": TEXT,
        "fraud_probability": {"type": "number", "minimum": 0, "maximum": 1},
        "risk_level": {"enum": ["LOW", "MEDIUM", "HIGH", "CRITICAL"]},
        "recommended_action": {"enum": ["approve", "review", "block"]},
        "reasons": {"type": "array", "items": _REASON},
        "rules": {"type": "array", "items": TEXT, "description": "Codes of rules that fired."},
        "model_version": TEXT,
        "policy_version": TEXT,
        "degraded": {"type": "boolean", "description": "Decided by the rules alone."},
        "scored_at": {"type": "string", "format": "date-time"},
        "replayed": {"type": "boolean", "description": "The first answer, given again."},
    },
    closed=True,
)

_PROBLEM = _object(
    {
        "type": {"type": "string", "format": "uri"},
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "instance": TEXT,
        "errors": {
            "type": "array",
            "items": _object({"field": TEXT, "problem": TEXT, "remedy": TEXT}),
        },
    },
    optional=("instance", "errors"),
)

_ITEM_PROBLEM = _object(
    {"transaction_id": {"type": ["string", "null"]}, "error": _ref("Problem")}, closed=True
)

_HEALTH = _object(
    {
        "status": {"enum": ["ok", "degraded", "unavailable"]},
        "database": _object(
            {
                "status": {"enum": ["ok", "unavailable"]},
                "latency_ms": NUMBER,
                "checked_at": {"type": "string", "format": "date-time"},
                "problem": TEXT,
            },
            optional=("problem",),
        ),
        "journal": _object(
            {
                "decisions": {"type": "integer"},
                "bytes": {"type": "integer"},
                "breaker": {"enum": ["closed", "half_open", "open"]},
                "problem": TEXT,
            },
            optional=("problem",),
        ),
        "champions": {
            "type": "object",
            "additionalProperties": _object(
                {
                    "model_version": {"type": ["string", "null"]},
                    "promoted_at": {"type": ["string", "null"], "format": "date-time"},
                    "status": {"enum": ["ok", "stale", "refused", "missing"]},
                    "problem": TEXT,
                },
                optional=("problem",),
            ),
        },
        "schema": _object(
            {
                "ledger": {"type": ["string", "null"]},
                "ledger_expected": TEXT,
                "features": {"type": "object", "additionalProperties": TEXT},
            }
        ),
        "version": TEXT,
    }
)
