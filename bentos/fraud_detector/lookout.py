"""The watch's own session with the ledger: what shall serve, and the audit chain it holds."""

from collections.abc import Sequence

import psycopg2
from psycopg2.extensions import connection as Connection

from bentos.fraud_detector.watch import Sighting
from fraud.domain.errors import LedgerUnavailable
from fraud.ledger.audit import claim_chain
from fraud.ledger.engine import connect, unavailable
from fraud.ledger.models import CHAMPION, Deployment, deployments
from fraud.ledger.schema import SERVICE_ROLE

CHAIN_PREFIX = "detector"
CANDIDATES = 30
"""Deployments per fraud type that are looked at: the newest, and those to fall back to."""

_MAY_ACT_AS = """
SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = %s
"""


class Lookout:
    """Looks at the ledger through one session; the session holds this process's audit chain.

    Args:
        url: address of the ledger.
        fraud_types: names of those whose deployments count.
    """

    def __init__(self, url: str, fraud_types: Sequence[str]) -> None:
        self._url = url
        self._fraud_types = fraud_types
        self._connection: Connection | None = None
        self.chain: str | None = None
        self.role: str | None = None

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
            self.chain = claim_chain(connection, CHAIN_PREFIX)
            self._connection = connection
        return self._connection

    def _look(self, connection: Connection) -> Sighting:
        found: list[Deployment] = []
        with connection.cursor() as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
            for name in self._fraud_types:
                newest = deployments(cursor, name, limit=CANDIDATES)
                found += [each for each in newest if each.stage == CHAMPION]
        connection.commit()
        return Sighting(deployments=tuple(found), revision=row[0] if row else None)


def not_yet_claimed() -> LedgerUnavailable:
    """What a request learns that came before the ledger was ever seen."""
    return LedgerUnavailable("The ledger has not answered yet.", remedy="Try again.")
