"""The routers of all operations."""

from bentos.fraud_detector.operations import (
    audit,
    cases,
    decisions,
    erasures,
    labels,
    lists,
    policy,
    rules,
)

OPERATIONS = tuple(
    module.router for module in (rules, lists, policy, decisions, cases, labels, erasures, audit)
)
