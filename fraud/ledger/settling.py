"""What a server has still to do after a bulk load, done before a request has to wait for it."""

import logging

import psycopg2.errors
from psycopg2 import sql

from fraud.ledger.engine import connect, shown

log = logging.getLogger("fraud.ledger")


def settle(url: str, table: str) -> None:
    """Tidy a table that was just filled, and have the server write a checkpoint.

    A load leaves rows that nobody has marked as committed yet, and write-ahead log that nobody
    needs any more. VACUUM marks the former. A checkpoint gives the latter's files back for use:
    without one the server makes each new file of 16 MB, zeros and fsync, while a commit waits
    for it, which took 40 to 60 ms whenever the service had written another 16 MB.

    A role that may do neither (VACUUM is for a table's owner, CHECKPOINT for `pg_checkpoint`)
    leaves both to the server's own schedule.

    Args:
        url: of the ledger.
        table: that was filled.

    Raises:
        LedgerUnavailable: the server is away.
    """
    connection = connect(url, autocommit=True)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
            cursor.execute("CHECKPOINT")
    except psycopg2.errors.InsufficientPrivilege as error:
        log.info("%s settles on its own schedule: %s", shown(url), str(error).strip())
    finally:
        connection.close()
