"""Bringing a database to the ledger's schema, and saying which version it has."""

import logging
from importlib import resources
from pathlib import Path

import psycopg2
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from fraud.domain.errors import SettingsError
from fraud.ledger.engine import UTC_SESSION, shown, sqlalchemy_url, unavailable

SERVICE_ROLE = "fraud_service"
"""The role of processes that serve: it may add to the audit log and never alter it."""

_MIGRATION_LOCK = 0x6672617564
_log = logging.getLogger(__name__)


def migrate(url: str, revision: str = "head") -> str:
    """Bring the database to a revision; with the last one, the serving role's rights as well.

    Processes that migrate at the same time wait for each other; a database that is up to
    date is left alone.

    Returns:
        The revision the database now has.

    Raises:
        LedgerUnavailable: the server does not answer.
        SettingsError: the database was made by a newer version of the platform.
    """
    engine = create_engine(
        sqlalchemy_url(url), poolclass=NullPool, connect_args={"options": UTC_SESSION}
    )
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
            connection.commit()
            if _current(connection) != head_revision() or revision != "head":
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
                connection.commit()
                if _current(connection) == head_revision():  # they name tables of today
                    _grant(connection)
            return _current(connection) or ""
    except CommandError as error:
        raise SettingsError(
            f"The ledger {shown(url)} has a schema this version does not know: {error}.",
            remedy="Run the version of the platform that made it, or a newer one.",
        ) from error
    except OperationalError as error:
        raise unavailable(
            url, error.orig if isinstance(error.orig, Exception) else error
        ) from error
    finally:
        engine.dispose()


def current_revision(url: str) -> str | None:
    """The revision a database has, None where it has no ledger.

    Raises:
        LedgerUnavailable: the server does not answer.
    """
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return _current(connection)
    except OperationalError as error:
        raise unavailable(
            url, error.orig if isinstance(error.orig, Exception) else error
        ) from error
    finally:
        engine.dispose()


def head_revision() -> str:
    """The revision this code is written for."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _current(connection: Connection) -> str | None:
    revision = MigrationContext.configure(connection).get_current_revision()
    connection.commit()
    return revision


def _config() -> Config:
    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%")
    )
    return config


def _grant(connection: Connection) -> None:
    script = resources.files("fraud.ledger").joinpath("roles.sql").read_text()
    try:
        connection.exec_driver_sql(script)
        connection.commit()
    except ProgrammingError as error:
        if not isinstance(error.orig, psycopg2.errors.InsufficientPrivilege):
            raise
        connection.rollback()
        _log.warning(
            "The role %s was not set up: this user may not. Run roles.sql as an administrator.",
            SERVICE_ROLE,
        )
