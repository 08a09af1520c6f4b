"""Addresses of the ledger, and SQLAlchemy engines for everything off the scoring path.

One address serves three readers: libpq wants `postgresql://`, SQLAlchemy 2.1 takes that to
mean psycopg 3 and wants `postgresql+psycopg2://`, and people write `postgres://`.
"""

import time
from contextlib import suppress
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

import psycopg2
import psycopg2.errors
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import parse_dsn
from sqlalchemy import Engine, create_engine

from fraud.domain.errors import LedgerUnavailable, SettingsError

UTC_SESSION = "-c timezone=UTC"
"""libpq options: timestamps mean the same whatever the server's default is."""

_EXAMPLE = "Write postgresql://user:password@host:5432/database."


def libpq_url(url: str) -> str:
    """The address as libpq takes it: `postgresql://...`.

    Raises:
        SettingsError: it is not the address of a PostgreSQL database.
    """
    address = urlunsplit(_parts(url)._replace(scheme="postgresql"))
    try:
        parse_dsn(address)
    except psycopg2.ProgrammingError as error:
        raise SettingsError(
            f"DATABASE_URL cannot be read: {_without_password(url, str(error)).strip()}.",
            remedy=_EXAMPLE,
        ) from None
    return address


def sqlalchemy_url(url: str) -> str:
    """The address as SQLAlchemy takes it: `postgresql+psycopg2://...`.

    Raises:
        SettingsError: it is not the address of a PostgreSQL database.
    """
    return urlunsplit(_parts(url)._replace(scheme="postgresql+psycopg2"))


def database_name(url: str) -> str:
    """The database an address names."""
    return unquote(_parts(url).path.lstrip("/")) or "postgres"


def sibling(url: str, name: str) -> str:
    """The address of another database on the same server."""
    return urlunsplit(_parts(url)._replace(scheme="postgresql", path=f"/{quote(name)}"))


def shown(url: str) -> str:
    """The address without its password or parameters, for messages and logs."""
    parts = _parts(url)
    user, host = unquote(parts.username or ""), parts.hostname or "local socket"
    port = f":{parts.port}" if parts.port else ""
    return f"{user + '@' if user else ''}{host}{port}/{database_name(url)}"


def unavailable(url: str, error: Exception) -> LedgerUnavailable:
    """What a failed connection means to the caller, in one sentence without the password."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1] if lines else type(error).__name__
    return LedgerUnavailable(
        f"The ledger {shown(url)} does not answer: {_without_password(url, reason).rstrip('.')}.",
        remedy="Check that PostgreSQL runs and that DATABASE_URL is right.",
    )


def connect(
    url: str, *, autocommit: bool = False, timeout_s: int = 5, options: str = UTC_SESSION
) -> Connection:
    """A new raw connection, its session in UTC.

    Raises:
        LedgerUnavailable: the server refuses or does not answer within `timeout_s`.
    """
    try:
        connection = psycopg2.connect(
            libpq_url(url),
            connect_timeout=timeout_s,
            options=options,
            fallback_application_name="fraud",
        )
    except psycopg2.OperationalError as error:
        raise unavailable(url, error) from error
    connection.autocommit = autocommit
    return connection


def make_engine(url: str, *, pool_size: int = 5) -> Engine:
    """A SQLAlchemy engine that checks a connection before it lends it."""
    return create_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        pool_pre_ping=True,
        connect_args={
            "options": UTC_SESSION,
            "connect_timeout": 5,
            "fallback_application_name": "fraud",
        },
    )


def wait_until_ready(url: str, *, timeout_s: float = 30.0) -> None:
    """Return as soon as the server accepts connections.

    Raises:
        LedgerUnavailable: it did not within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connect(url).close()
            return
        except LedgerUnavailable:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.05)


def ensure_database(url: str, name: str) -> str:
    """Create a database on the server of `url` unless it is there; return its address.

    Raises:
        LedgerUnavailable: the server does not answer.
        SettingsError: the user of `url` may not create databases.
    """
    create = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0")
    was_faster = (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation)
    connection = connect(url, autocommit=True)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                with suppress(*was_faster):  # another process may create it meanwhile
                    cursor.execute(create.format(sql.Identifier(name)))
    except psycopg2.errors.InsufficientPrivilege:
        raise SettingsError(
            f"The database {name!r} does not exist and {shown(url)} may not create it.",
            remedy=f"Create the database {name!r}, or give that user CREATEDB.",
        ) from None
    finally:
        connection.close()
    return sibling(url, name)


def _without_password(url: str, message: str) -> str:
    password = _parts(url).password
    if password:
        message = message.replace(unquote(password), "***").replace(password, "***")
    return message


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise SettingsError(
            f"DATABASE_URL cannot be read: {error}.",
            remedy=_EXAMPLE,
        ) from None
    if parts.scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise SettingsError(
            f"DATABASE_URL begins with {parts.scheme!r}; the ledger is PostgreSQL only.",
            remedy=_EXAMPLE,
        )
    return parts
