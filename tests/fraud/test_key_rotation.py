"""Keys are rotated under a running scorer, cut off and taken up again; nothing is lost."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bentos.scoring.observation_clock import ObservationClock
from bentos.scoring.scorer import Scorer
from fraud import cli
from fraud.domain.errors import NotFound, ProtectionError, SettingsError
from fraud.key_rotation import retire, rotate
from fraud.ledger import resealing
from fraud.ledger.archive import decision_of
from fraud.ledger.audit import claim_chain
from fraud.ledger.engine import connect
from fraud.ledger.pool import ConnectionPool
from fraud.security.encryption import field_protection
from fraud.settings import Settings, load_settings
from tests.bentos.scoring.worlds import Clock, OneModel, a_request

NAMES = [f"T{number}" for number in range(10)]


@pytest.fixture
def settings(tmp_path: Path, new_ledger: Callable[[], str]) -> Settings:
    return load_settings(run_dir=tmp_path, database_url=new_ledger())


@pytest.fixture
def pool(settings: Settings) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(settings.database_url or "", size=2)
    yield pool
    pool.close()


def score(pool: ConnectionPool, settings: Settings, *names: str) -> None:
    session = connect(pool.url)
    try:
        chain = claim_chain(session, "scorer")
        scorer = Scorer(
            pool, OneModel(None), ObservationClock(Clock()), chain, field_protection(settings)
        )
        scorer.score([a_request(name, device_id=f"device of {name}") for name in names])
    finally:
        session.close()


def turn(settings: Settings, *, with_new: bool = True) -> int:
    quiet = {"begun": lambda key, rows: None, "progress": lambda rows: None}
    return rotate(settings, "ann", with_new=with_new, **quiet).rows


def keys_of_rows(pool: ConnectionPool) -> list[str]:
    with pool.transaction() as cursor:
        cursor.execute("SELECT DISTINCT split_part(sealed, ':', 1) FROM transactions ORDER BY 1")
        return [name for (name,) in cursor.fetchall()]


def assert_all_readable(pool: ConnectionPool, settings: Settings) -> None:
    keep = field_protection(settings)
    with pool.transaction() as cursor:
        for name in NAMES:
            found = decision_of(cursor, name)
            event = keep.revealed(found.event, found.sealed)
            assert event.fields["device_id"] == f"device of {name}"


def test_every_row_is_encrypted_again_and_says_what_it_said(
    pool: ConnectionPool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "ROWS_PER_BATCH", 3)
    score(pool, settings, *NAMES)
    [old] = keys_of_rows(pool)
    with pytest.raises(SettingsError, match="is the one in use"):
        retire(settings, old, "ann")
    assert turn(settings) == 10
    [new] = keys_of_rows(pool)
    assert new > old
    assert_all_readable(pool, settings)
    retire(settings, old, "ann")
    assert field_protection(settings).keys.names == [new]
    assert_all_readable(pool, settings)
    assert turn(settings, with_new=False) == 0
    with pytest.raises(NotFound, match="no encryption key"):
        retire(settings, old, "ann")
    with pool.transaction() as cursor:
        cursor.execute("SELECT action, actor FROM audit_log WHERE object_type = 'encryption key'")
        actions = cursor.fetchall()
    assert ("keys.rotate", "ann") in actions
    assert ("keys.rotated", "ann") in actions
    assert ("keys.retire", "ann") in actions


def test_a_rotation_that_was_cut_off_is_finished_later(
    pool: ConnectionPool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "ROWS_PER_BATCH", 4)
    score(pool, settings, *NAMES)
    [old] = keys_of_rows(pool)

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate(settings, "ann", with_new=True, begun=lambda key, rows: None, progress=stop)
    assert len(keys_of_rows(pool)) == 2
    assert_all_readable(pool, settings)
    with pytest.raises(SettingsError, match="still holds 6 rows"):
        retire(settings, old, "ann")
    assert turn(settings, with_new=False) == 6
    assert_all_readable(pool, settings)


def test_a_scorer_that_knows_the_old_key_goes_on(pool: ConnectionPool, settings: Settings) -> None:
    before = field_protection(settings)
    score(pool, settings, *NAMES[:5])
    turn(settings)
    score(pool, settings, *NAMES[5:])
    with pool.transaction() as cursor:
        found = decision_of(cursor, "T0")
    event = before.revealed(found.event, found.sealed)  # its process began before the rotation
    assert event.fields["device_id"] == "device of T0"
    assert_all_readable(pool, settings)


def test_rows_that_were_exchanged_stay_found_out(pool: ConnectionPool, settings: Settings) -> None:
    score(pool, settings, *NAMES)
    with pool.transaction() as cursor:
        cursor.execute(
            """
            UPDATE transactions t SET sealed = o.sealed FROM transactions o
            WHERE t.transaction_id = 'T1' AND o.transaction_id = 'T2'
            """
        )
    turn(settings)
    with pool.transaction() as cursor:
        found = decision_of(cursor, "T1")
    with pytest.raises(ProtectionError, match="another row"):
        field_protection(settings).revealed(found.event, found.sealed)


def test_the_command_rotates_lists_and_retires(
    pool: ConnectionPool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_RUN_DIR", str(settings.run_dir))
    monkeypatch.setenv("DATABASE_URL", settings.database_url or "")
    score(pool, settings, *NAMES)
    [old] = keys_of_rows(pool)
    run = CliRunner().invoke
    rotated = run(cli.app, ["keys", "rotate"])
    assert rotated.exit_code == 0, rotated.output
    assert "10 rows in 1 batches" in rotated.output
    listed = run(cli.app, ["keys", "list"], env={"COLUMNS": "200"}).output
    assert "encrypts and decrypts stored values" in listed
    assert old in listed
    assert run(cli.app, ["keys", "retire", old]).exit_code == 0
    assert old not in run(cli.app, ["keys", "list"], env={"COLUMNS": "200"}).output
