"""The operations in OpenAPI, as FastAPI derives them from their models."""

from functools import cache
from typing import Any

from fastapi.openapi.utils import get_openapi

from bentos.fraud_detector.operations.routers import OPERATIONS

Schema = dict[str, Any]

FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")
"""Schemas of refusals that nobody gets: ours are problems."""


@cache
def operations() -> tuple[Schema, Schema]:
    """Paths and schemas; of the responses only the successful ones."""
    routes = [route for router in OPERATIONS for route in router.routes]
    document = get_openapi(title="", version="", routes=routes)
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"] = {
                status: response
                for status, response in operation["responses"].items()
                if status.startswith("2")
            }
    schemas = {
        name: schema
        for name, schema in document["components"]["schemas"].items()
        if name not in FASTAPIS_OWN
    }
    return document["paths"], schemas
