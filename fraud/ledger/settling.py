"""What a server has still to do after a bulk load, done before a request has to wait for it."""

import logging
import os
import shutil

import psycopg2.errors
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fraud.ledger.engine import connect, shown

_MISSING = """
SELECT pg_size_bytes(current_setting('min_wal_size')) / file_bytes - count(*), file_bytes,
    current_setting('data_directory')
FROM pg_ls_waldir(), pg_size_bytes(current_setting('wal_segment_size')) AS file_bytes
GROUP BY file_bytes
"""

log = logging.getLogger("fraud.ledger")


def settle(url: str, table: str) -> None:
    """Tidy a table that was just filled, and have the files of the write-ahead log ready.

    A load leaves rows that nobody has marked as committed yet; VACUUM does. And a young server
    has few files of log: it makes each new one, 16 MB of zeros and an fsync, while a commit waits
    for it, which held up every request for 40 to 70 ms. A checkpoint gives used files back for
    use again, as many as `min_wal_size` says, so that many are used up first.

    A role that may do none of this (VACUUM is for a table's owner, a checkpoint for
    `pg_checkpoint`, the log for superusers) leaves it to the server's own schedule.

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
            _use_up_log(cursor)
            cursor.execute("CHECKPOINT")
    except psycopg2.errors.InsufficientPrivilege as error:
        log.info("%s settles on its own schedule: %s", shown(url), str(error).strip())
    finally:
        connection.close()


def _use_up_log(cursor: Cursor) -> None:
    """Go through as many files of log as the server keeps anyway, if the disk has room for them.

    A server that finds none stops. Where it is on another machine, its disk is its keeper's care.
    """
    cursor.execute(_MISSING)
    [(missing, file_bytes, folder)] = cursor.fetchall()
    if os.path.isdir(folder) and shutil.disk_usage(folder).free < 2 * missing * file_bytes:
        log.warning("No room in %s for %d files of log ahead of their use", folder, missing)
        return
    for _ in range(missing):  # a file with nothing in it is not left
        cursor.execute("SELECT pg_logical_emit_message(false, 'settling', ''), pg_switch_wal()")
