"""Who may call what: every route of the service, ours and BentoML's, in one table.

A route that stands in no line is closed: it needs a token like everything else, and then
there is nothing there. BentoML's own pages (index, docs, schemas) are left out on purpose.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.routing import compile_path

SCORING = "fraud_detection"
METRICS = "metrics"

MAX_BODY = 256 * 1024
MAX_BATCH_BODY = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Access:
    """What a route asks of a caller.

    Attributes:
        path: its template, e.g. `/decisions/{decision_id}`.
        methods: those it takes.
        scope: the scope a token must hold; None where any valid token does.
        is_open: needs no token at all.
        max_body: bytes of a JSON body; 0 for routes that take none.
    """

    path: str
    methods: frozenset[str]
    scope: str | None = None
    is_open: bool = False
    max_body: int = 0


GET = frozenset({"GET", "HEAD"})
POST = frozenset({"POST"})

ROUTES: tuple[Access, ...] = (
    Access("/predict", POST, SCORING, max_body=MAX_BODY),
    Access("/batch-predict", POST, SCORING, max_body=MAX_BATCH_BODY),
    Access("/health", GET, is_open=True),
    Access("/livez", GET, is_open=True),
    Access("/readyz", GET, is_open=True),
    Access("/healthz", GET, is_open=True),
    Access("/openapi.json", GET),
    Access("/metrics", GET, METRICS),
)


class AccessTable:
    """Finds the line of a path; paths without parameters cost one look-up."""

    def __init__(self, routes: Iterable[Access] = ROUTES) -> None:
        self._exact: dict[str, Access] = {}
        self._patterns: list[tuple[re.Pattern[str], Access]] = []
        for access in routes:
            if "{" in access.path:
                self._patterns.append((compile_path(access.path)[0], access))
            else:
                self._exact[access.path] = access

    def find(self, path: str) -> Access | None:
        """The line of a request path; None where there is none."""
        found = self._exact.get(path)
        if found is None:
            found = next((each for pattern, each in self._patterns if pattern.match(path)), None)
        return found
