"""Whether a server is ready, asked over HTTP."""

from functools import cache

import httpx

ASK_TIMEOUT_S = 5.0

_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }
"""


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        return _client().get(url).status_code == 200
    except httpx.HTTPError:
        return False


def has_loaded(dagster: str) -> bool:
    """Whether the Dagster webserver at this address has loaded all of our code.

    Raises:
        httpx.HTTPError: it does not answer.
    """
    answer = httpx.post(f"{dagster}/graphql", json={"query": _LOCATIONS}, timeout=60.0)
    entries = answer.json()["data"]["workspaceOrError"].get("locationEntries", [])
    kinds = [(entry["locationOrLoadError"] or {}).get("__typename") for entry in entries]
    return bool(kinds) and set(kinds) == {"RepositoryLocation"}


@cache
def _client() -> httpx.Client:
    """One for all questions: making one reads every certificate of the system."""
    return httpx.Client(timeout=ASK_TIMEOUT_S, limits=httpx.Limits(max_keepalive_connections=0))
