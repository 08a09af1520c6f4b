"""Client of the fraud platform: `FraudClient`, and `AsyncFraudClient` for event loops."""

from fraud_client.client import AsyncFraudClient, FraudClient
from fraud_client.errors import (
    Conflict,
    Forbidden,
    FraudClientError,
    InvalidRequest,
    NoAnswer,
    ProblemError,
    RateLimited,
    ServerError,
    Unauthenticated,
    Unavailable,
)
from fraud_client.exchange import Retry

__all__ = [
    "AsyncFraudClient",
    "Conflict",
    "Forbidden",
    "FraudClient",
    "FraudClientError",
    "InvalidRequest",
    "NoAnswer",
    "ProblemError",
    "RateLimited",
    "Retry",
    "ServerError",
    "Unauthenticated",
    "Unavailable",
]
