import threading
from collections.abc import Callable

import psycopg2.extensions
import pytest
from sqlalchemy import text

from fraud.domain.errors import LedgerUnavailable, SettingsError
from fraud.ledger.engine import (
    connect,
    database_name,
    ensure_database,
    libpq_url,
    make_engine,
    shown,
    sibling,
    sqlalchemy_url,
    wait_until_ready,
)

SECRET = "hunter2%2F"
URL = f"postgresql://clerk:{SECRET}@db.example:5433/fraud?sslmode=require"


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"]
)
def test_every_spelling_reaches_both_drivers(scheme: str) -> None:
    url = URL.replace("postgresql", scheme, 1)
    assert libpq_url(url) == URL
    assert sqlalchemy_url(url) == URL.replace("postgresql", "postgresql+psycopg2", 1)


def test_sockets_stay_sockets() -> None:
    url = "postgresql://postgres@/fraud?host=%2Ftmp%2Fx"
    assert libpq_url(url) == url
    assert sibling(url, "mlflow") == "postgresql://postgres@/mlflow?host=%2Ftmp%2Fx"
    assert shown(url) == "postgres@local socket/fraud"


def test_a_sibling_differs_in_its_database_alone() -> None:
    assert sibling(URL, "dagster") == URL.replace("/fraud?", "/dagster?")
    assert database_name(sibling(URL, "a b/c")) == "a b/c"


def test_what_is_shown_has_no_password() -> None:
    assert shown(URL) == "clerk@db.example:5433/fraud"


@pytest.mark.parametrize(
    "url", ["mysql://x@y/z", "nonsense", "", "postgresql://host:port/x", "postgresql://[::1/x"]
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        libpq_url(url)


@pytest.mark.parametrize("end", ["@127.0.0.1/fraud?nonsense=1", "%zz@127.0.0.1/fraud"])
def test_an_unreadable_address_is_one_sentence_without_the_password(end: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL cannot be read") as caught:
        connect(f"postgresql://clerk:{SECRET}{end}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://clerk:{SECRET}@127.0.0.1:1/fraud",  # nobody listens on port 1
        f"postgresql://clerk:{SECRET}@no-such-host.invalid/fraud",
        f"postgresql://clerk:{SECRET}@/fraud?host=/no/such/folder",
    ],
)
def test_an_absent_server_is_one_sentence_without_the_password(url: str) -> None:
    with pytest.raises(LedgerUnavailable) as caught:
        connect(url)
    message = str(caught.value)
    assert "does not answer" in message
    assert "\n" not in message
    assert "hunter2" not in message


def test_an_absent_database_is_named(postgres_url: str) -> None:
    with pytest.raises(LedgerUnavailable, match='database "nowhere" does not exist'):
        connect(sibling(postgres_url, "nowhere"))


def test_waiting_ends_with_the_time_given() -> None:
    with pytest.raises(LedgerUnavailable):
        wait_until_ready("postgresql://127.0.0.1:1/fraud", timeout_s=0.1)


def test_waiting_for_a_running_server_returns(postgres_url: str) -> None:
    wait_until_ready(postgres_url, timeout_s=5)
    connection = connect(postgres_url)
    assert connection.status == psycopg2.extensions.STATUS_READY
    connection.close()


def test_databases_are_made_once(postgres_url: str) -> None:
    first = ensure_database(postgres_url, "Mixed name; DROP")
    assert ensure_database(postgres_url, "Mixed name; DROP") == first
    connection = connect(first)
    assert connection.info.dbname == "Mixed name; DROP"
    connection.close()


def test_databases_can_be_made_by_several_at_once(postgres_url: str) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(4)

    def make() -> None:
        barrier.wait()
        try:
            ensure_database(postgres_url, "contested")
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test shall see it
            errors.append(error)

    makers = [threading.Thread(target=make) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert errors == []


def test_who_may_not_make_databases_is_told(postgres_url: str) -> None:
    connection = connect(postgres_url, autocommit=True)
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE clerk LOGIN")
    connection.close()
    url = postgres_url.replace("postgres@", "clerk@", 1)
    with pytest.raises(SettingsError, match="may not create it"):
        ensure_database(url, "not_for_clerks")


def test_the_sqlalchemy_engine_works(new_ledger: Callable[[], str]) -> None:
    engine = make_engine(new_ledger())
    with engine.connect() as connection:
        assert connection.execute(text("SHOW timezone")).scalar() == "UTC"
        assert connection.execute(text("SELECT count(*) FROM decisions")).scalar() == 0
    engine.dispose()
