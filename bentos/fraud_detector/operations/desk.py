"""Where operations are carried out: each in one transaction, together with its audit record."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from psycopg2.extensions import connection as Connection

from bentos.fraud_detector.guard import Call
from bentos.fraud_detector.lookout import Lookout, not_yet_claimed
from fraud.domain.errors import ContractError
from fraud.ledger.audit import AuditEntry, append
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.statement import Cursor
from fraud.security.encryption import FieldProtection

T = TypeVar("T")

CONNECTIONS = 4
STATEMENT_TIMEOUT_S = 10.0


@dataclass
class Work:
    """One operation under way.

    Attributes:
        cursor: of its transaction.
        call: who asks.
        now_us: when, microseconds UTC.
        entries: its audit records; they are written last, with the rest.
    """

    cursor: Cursor
    call: Call
    now_us: int
    entries: list[AuditEntry] = field(default_factory=list)

    @property
    def actor(self) -> str:
        """Who does it."""
        return self.call.actor

    def record(self, action: str, object_type: str, object_id: str, **detail: object) -> None:
        """Say what was done, for the audit log."""
        self.entries.append(
            AuditEntry(
                actor=self.call.actor,
                action=action,
                outcome="success",
                origin=self.call.origin,
                object_type=object_type,
                object_id=object_id,
                detail=detail,
            )
        )


class OperationsDesk:
    """Carries operations out, off the event loop and beside the scoring thread.

    Args:
        url: address of the ledger.
        lookout: knows the audit chain of this process, and its role.
        now_us: the time now, microseconds UTC.
        protection: of what is sensitive.
    """

    def __init__(
        self,
        url: str,
        lookout: Lookout,
        now_us: Callable[[], int],
        protection: FieldProtection,
    ) -> None:
        self.protection = protection
        self._url = url
        self._lookout = lookout
        self.now_us = now_us
        self._pool: ConnectionPool | None = None

    async def run(self, call: Call, work: Callable[[Work], T]) -> T:
        """Do `work` in one transaction with the audit records it leaves.

        Args:
            call: who asks.
            work: must be safe to repeat after a rollback, and record what it did.

        Raises:
            LedgerUnavailable: the ledger does not answer.
            ContractError: the work left no record.
        """
        return await asyncio.to_thread(self._run, call, work)

    async def apart(self, work: Callable[[Connection], T]) -> T:
        """Do what needs a connection of its own; its record is left by a `run` of its own.

        Raises:
            LedgerUnavailable: the ledger does not answer.
        """

        def lend() -> T:
            with self.pool.connection() as connection:
                return work(connection)

        return await asyncio.to_thread(lend)

    @property
    def pool(self) -> ConnectionPool:
        """Connections for operations, opened when first needed."""
        if self._pool is None:
            self._pool = ConnectionPool(
                self._url,
                size=CONNECTIONS,
                statement_timeout_s=STATEMENT_TIMEOUT_S,
                role=self._lookout.role,
            )
        return self._pool

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections are lent, and how many idle."""
        return (0, 0) if self._pool is None else self._pool.connections

    @property
    def chain(self) -> str:
        """The audit chain of this process.

        Raises:
            LedgerUnavailable: the ledger was never seen.
        """
        if self._lookout.chain is None:
            raise not_yet_claimed()
        return self._lookout.chain

    def close(self) -> None:
        """Let go of the connections."""
        if self._pool is not None:
            self._pool.close()

    def _run(self, call: Call, work: Callable[[Work], T]) -> T:
        chain = self.chain

        def attempt(cursor: Cursor) -> T:
            under_way = Work(cursor, call, self.now_us())
            result = work(under_way)
            if not under_way.entries:
                raise ContractError("An operation left no audit record.", remedy="Record it.")
            append(cursor, chain, under_way.entries, under_way.now_us)
            return result

        return self.pool.run(attempt)
