"""Who may call what: every route of the service, ours and BentoML's, in one table.

A route that stands in no line is closed: it needs a token like everything else, and then
there is nothing there. BentoML's own pages (index, docs, schemas) are left out on purpose.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from starlette.routing import compile_path

SCORING = "fraud_detection"
METRICS = "metrics"
RULES_READ, RULES_WRITE = "rules:read", "rules:write"
POLICY_READ, POLICY_WRITE = "policy:read", "policy:write"
DECISIONS_READ = "decisions:read"
CASES_READ, CASES_WRITE = "cases:read", "cases:write"
LABELS_WRITE = "labels:write"
ERASURES_READ, ERASURES_WRITE = "erasures:read", "erasures:write"
AUDIT_READ = "audit:read"

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
        is_signed: needs none either: who sends the body has signed it, and its route checks that.
        max_body: bytes of a JSON body; 0 for routes that take none.
    """

    path: str
    methods: frozenset[str]
    scope: str | None = None
    is_open: bool = False
    is_signed: bool = False
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
    Access("/rules", GET, RULES_READ),
    Access("/rules", POST, RULES_WRITE, max_body=MAX_BODY),
    Access("/rules/{code}/{version}/state", POST, RULES_WRITE, max_body=MAX_BODY),
    Access("/rules/{code}/{version}/backtest", POST, RULES_READ),
    Access("/lists", GET, RULES_READ),
    Access("/lists", POST, RULES_WRITE, max_body=MAX_BODY),
    Access("/lists/{name}", GET, RULES_READ),
    Access("/lists/{name}/entries", POST, RULES_WRITE, max_body=MAX_BODY),
    Access("/lists/{name}/removals", POST, RULES_WRITE, max_body=MAX_BODY),
    Access("/policy", GET, POLICY_READ),
    Access("/policy", POST, POLICY_WRITE, max_body=MAX_BODY),
    Access("/policy/{version}/activation", POST, POLICY_WRITE),
    Access("/decisions", GET, DECISIONS_READ),
    Access("/decisions/{decision_id}", GET, DECISIONS_READ),
    Access("/transactions/{transaction_id:path}/decision", GET, DECISIONS_READ),
    Access("/cases", GET, CASES_READ),
    Access("/cases/{case_id}", GET, CASES_READ),
    Access("/cases/{case_id}/assignment", POST, CASES_WRITE, max_body=MAX_BODY),
    Access("/cases/{case_id}/comments", POST, CASES_WRITE, max_body=MAX_BODY),
    Access("/cases/{case_id}/closure", POST, CASES_WRITE, max_body=MAX_BODY),
    Access("/labels", POST, LABELS_WRITE, max_body=MAX_BODY),
    Access("/connectors/stripe/webhook", POST, is_signed=True, max_body=MAX_BODY),
    Access("/erasures", POST, ERASURES_WRITE, max_body=MAX_BODY),
    Access("/erasures/{request_id}", GET, ERASURES_READ),
    Access("/audit", GET, AUDIT_READ),
    Access("/audit/verification", POST, AUDIT_READ),
)


class AccessTable:
    """Finds the line of a path and method; paths without parameters cost one look-up."""

    def __init__(self, routes: Iterable[Access] = ROUTES) -> None:
        self._exact: dict[str, list[Access]] = {}
        patterns: dict[str, list[Access]] = {}
        for access in routes:
            lines = patterns if "{" in access.path else self._exact
            lines.setdefault(access.path, []).append(access)
        self._patterns = [(compile_path(path)[0], lines) for path, lines in patterns.items()]

    def find(self, path: str, method: str | None = None) -> Access | None:
        """The line of a request; None where there is none for its path.

        Args:
            path: as requested.
            method: as requested; a line for other methods names all that the path takes.
        """
        lines = self._exact.get(path)
        if lines is None and path.isprintable():  # what names an object has no control characters
            lines = next((each for pattern, each in self._patterns if pattern.match(path)), None)
        if lines is None:
            return None
        fitting = next((each for each in lines if method in each.methods), None)
        if fitting is None and len(lines) > 1:
            taken = frozenset[str]().union(*(each.methods for each in lines))
            return replace(lines[0], methods=taken)
        return fitting or lines[0]
