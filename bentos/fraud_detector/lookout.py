"""The watch's own session with the ledger: what shall serve, whom not, and the audit chain.

Until the ledger was first seen no token counts as revoked; from then on, what was seen last
stays in force while the ledger is away.
"""

import logging
import time
from collections.abc import Mapping

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from bentos.fraud_detector.watch import Sighting
from fraud.domain.deployment import Deployment, standing_champions
from fraud.domain.errors import LedgerUnavailable
from fraud.domain.fraud_type import FraudType
from fraud.domain.ruleset import Ruleset, built_in
from fraud.ledger.audit import claim_chains, one_line
from fraud.ledger.audit_anchors import AnchorFile
from fraud.ledger.audit_check import anchors
from fraud.ledger.deployments import challengers, champions
from fraud.ledger.engine import connect, unavailable
from fraud.ledger.revocations import Marker, marker, revocations
from fraud.ledger.rules import seed_rules
from fraud.ledger.rulesets import latest_revisions, load_ruleset
from fraud.ledger.schema import SERVICE_ROLE
from fraud.security.revocation import Revocations

log = logging.getLogger("fraud.detector")

CHAIN_PREFIX = "detector"
CANDIDATES = 30
"""Deployments per fraud type that are looked at: the newest, and those to fall back to."""

_MAY_ACT_AS = """
SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = %s
"""


class Lookout:
    """Looks at the ledger through one session; the session holds this process's audit chains.

    Args:
        url: address of the ledger.
        fraud_types: those whose deployments and rulesets count, by name.
        anchors: where the chains' heads are noted outside the ledger.
        lanes: how many chains to claim.

    Attributes:
        chains: one per lane that scores; none until the ledger was seen.
        role: what sessions act as; None where this user may not.
    """

    def __init__(
        self,
        url: str,
        fraud_types: Mapping[str, FraudType],
        anchors: AnchorFile | None = None,
        lanes: int = 1,
    ) -> None:
        self._url = url
        self._fraud_types = fraud_types
        self._anchors = anchors
        self._connection: Connection | None = None
        self._rulesets: dict[str, Ruleset] = {}
        self._lanes = lanes
        self.chains: tuple[str, ...] = ()
        self.role: str | None = None
        self._revocations = Revocations()
        self._marker: Marker | None = None

    @property
    def chain(self) -> str | None:
        """The chain for what does not happen in a lane; None until the ledger was seen."""
        return self.chains[0] if self.chains else None

    @property
    def number(self) -> int | None:
        """Of this process among those that score; None until the ledger was seen."""
        return int(self.chains[0].rpartition("-")[2]) if self.chains else None

    def __call__(self) -> Sighting:
        """What shall serve, and the ledger's revision.

        Raises:
            LedgerUnavailable: the ledger does not answer, or has no tables yet.
        """
        try:
            return self._look(self._connected())
        except psycopg2.Error as error:
            self.close()
            raise unavailable(self._url, error) from error

    def note_heads(self) -> None:
        """Note the audit log's heads outside the ledger, whether that is due or not."""
        if self._anchors is None or self._connection is None:
            return
        try:
            self._anchors.note(anchors(self._connection))
            self._connection.commit()
        except psycopg2.Error as error:
            log.error("The audit log's last heads were not noted: %s", one_line(str(error)))

    def close(self) -> None:
        """End the session and with it the claim on the chain."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> Connection:
        if self._connection is None:
            connection = connect(self._url)
            with connection.cursor() as cursor:
                cursor.execute(_MAY_ACT_AS, (SERVICE_ROLE,))
                row = cursor.fetchone()
            connection.commit()
            self.role = SERVICE_ROLE if row is not None and row[0] else None
            self._seed(connection)
            self.chains = claim_chains(connection, CHAIN_PREFIX, self._lanes)
            self._connection = connection
        return self._connection

    def _look(self, connection: Connection) -> Sighting:
        found: list[Deployment] = []
        with connection.cursor() as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
            for name in self._fraud_types:
                found += standing_champions(champions(cursor, name, limit=CANDIDATES))
            challenging = challengers(cursor)
            self._rulesets = self._look_at_rulesets(cursor)
            seen = marker(cursor)
            if seen != self._marker:
                self._revocations, self._marker = revocations(cursor), seen
        if self._anchors is not None and self._anchors.is_due:
            self._anchors.note(anchors(connection))
        connection.commit()
        return Sighting(
            deployments=tuple(found),
            challengers=challenging,
            revision=row[0] if row else None,
            rulesets=self._rulesets,
            revocations=self._revocations,
        )

    def _look_at_rulesets(self, cursor: Cursor) -> dict[str, Ruleset]:
        """The newest rulesets; only what changed since the last look is read."""
        latest = latest_revisions(cursor)
        return {
            name: load_ruleset(
                cursor,
                name,
                rules_version=latest.get((name, "rules"), 0),
                lists_version=latest.get((name, "lists"), 0),
                policy_version=latest.get((name, "policy"), 0),
                known=self._rulesets.get(name),
            )
            for name in self._fraud_types
        }

    def _seed(self, connection: Connection) -> None:
        """Put the fraud types' own rules into a ledger that does not know them."""
        with connection.cursor() as cursor:
            for name, kind in self._fraud_types.items():
                seed_rules(cursor, name, built_in(kind).rules, time.time_ns() // 1000)
        connection.commit()


def not_yet_claimed() -> LedgerUnavailable:
    """What a request learns that came before the ledger was ever seen."""
    return LedgerUnavailable("The ledger has not answered yet.", remedy="Try again.")
