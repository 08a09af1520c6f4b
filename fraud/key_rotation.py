"""Rotating and retiring the keys of stored values, on the record."""

import datetime as dt
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from fraud.domain.errors import SettingsError
from fraud.domain.event import to_us
from fraud.ledger.audit import AuditEntry, append, claim_chain
from fraud.ledger.embedded import ledger_url
from fraud.ledger.engine import connect
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.resealing import Resealed, reseal, rows_left, rows_under
from fraud.ledger.schema import migrate
from fraud.security.data_keys import DataKeys, add_data_key
from fraud.security.encryption import data_keys_dir, field_protection
from fraud.security.key_folder import retire_key
from fraud.settings import Settings

CHAIN = "keys"

Begun = Callable[[str, int], None]
Progress = Callable[[int], None]


def rotate(
    settings: Settings, actor: str, *, with_new: bool, begun: Begun, progress: Progress
) -> Resealed:
    """Encrypt all stored values under the newest key.

    Args:
        settings: where keys and ledger are.
        actor: who does it.
        with_new: whether to make a new key first, rather than to finish with the newest.
        begun: told the name of the key and the number of rows to do.
        progress: told the number of rows done.

    Raises:
        ProtectionError: a row cannot be decrypted.
        LedgerUnavailable: run again, without a new key, to finish.
    """
    migrate(ledger_url(settings))
    keys = field_protection(settings).keys  # makes the first one, where there is none
    if with_new:
        add_data_key(data_keys_dir(settings), dt.datetime.now(dt.UTC))
        keys = DataKeys(data_keys_dir(settings), makes_first=False)
    pool = ConnectionPool(ledger_url(settings), size=1)
    with closing(pool):
        with pool.transaction() as cursor:
            left = rows_left(cursor, keys.newest)
        begun(keys.newest, left)
        _record(pool, actor, "keys.rotate", keys.newest, {"rows": left, "keys": keys.names})
        done = reseal(pool, keys, progress)
        _record(pool, actor, "keys.rotated", keys.newest, {"rows": done.rows})
    return done


def retire(settings: Settings, name: str, actor: str) -> None:
    """Remove a key that nothing needs any more.

    Raises:
        SettingsError: it is in use, or something is still encrypted with it.
        NotFound: there is none of that name.
    """
    keys = field_protection(settings).keys
    if name == keys.newest:
        raise SettingsError(
            f"The key {name} is the one in use.", remedy="Run first: fraud keys rotate"
        )
    pool = ConnectionPool(ledger_url(settings), size=1)
    with closing(pool):
        with pool.transaction() as cursor:
            rows = rows_under(cursor, name)
        lines = _journalled(settings.journal_dir, name)
        if rows or lines:
            raise SettingsError(
                f"The key {name} still holds {rows:,} rows and {lines:,} journalled decisions.",
                remedy="Run: fraud keys rotate --no-new-key; the service empties the journal.",
            )
        retire_key(data_keys_dir(settings), name, "encryption key")
        _record(pool, actor, "keys.retire", name, {})


def _journalled(folder: Path, key: str) -> int:
    mark = f"{key}:".encode()
    files = folder.glob("*.jsonl") if folder.is_dir() else ()
    return sum(line.startswith(mark) for file in files for line in file.read_bytes().splitlines())


def _record(
    pool: ConnectionPool, actor: str, action: str, key: str, detail: dict[str, object]
) -> None:
    with closing(connect(pool.url)) as session, pool.transaction() as cursor:
        chain = claim_chain(session, CHAIN)
        entry = AuditEntry(actor, action, "success", "", "encryption key", key, detail)
        append(cursor, chain, [entry], to_us(dt.datetime.now(dt.UTC)))
