import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fraud.ledger.cluster import LONGEST_SOCKET_PATH, Cluster
from fraud.ledger.embedded import ledger_url
from fraud.ledger.engine import connect, shown
from fraud.settings import load_settings
from tests.servers import temporary_run_dir

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}

SERVE = (
    "import sys; from pathlib import Path; from fraud.ledger.embedded import serve; "
    "sys.exit(serve(Path(sys.argv[1])))"
)
USE = (
    "import sys; from pathlib import Path; from fraud.ledger.embedded import url; "
    "print(url(Path(sys.argv[1])), flush=True); sys.stdin.read()"
)

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with temporary_run_dir() as folder:
        yield folder


@pytest.fixture
def start(run_dir: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, folder: Path = run_dir) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()  # the server may hold the other end a while longer


def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def test_a_server_is_served_until_it_is_told_to_end(run_dir: Path, start: Start) -> None:
    cluster = Cluster(run_dir)
    server = start(SERVE)
    wait_for(cluster.is_answering)
    connection = connect(cluster.url("postgres"))
    with connection.cursor() as cursor:
        for name, value in DURABLE.items():
            cursor.execute(f"SHOW {name}")
            assert cursor.fetchall() == [(value,)]
        cursor.execute("CREATE TABLE kept (n int)")
    connection.commit()
    connection.close()
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0
    assert not cluster.is_running()
    assert not (cluster.data_dir / "postmaster.pid").exists()  # it ended in good order
    again = start(SERVE)
    wait_for(cluster.is_answering)
    connection = connect(cluster.url("postgres"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM kept")
        assert cursor.fetchall() == [(0,)]
    connection.close()
    again.send_signal(signal.SIGINT)
    assert again.wait(30) == 0


def test_a_server_that_dies_ends_its_keeper_with_an_error(run_dir: Path, start: Start) -> None:
    cluster = Cluster(run_dir)
    server = start(SERVE)
    wait_for(cluster.is_answering)
    os.kill(cluster._pid() or 0, signal.SIGKILL)
    assert server.wait(30) == 1
    start(SERVE)  # and the next one recovers, over what the dead one left behind
    wait_for(cluster.is_answering)
    assert cluster.is_running()


def test_a_server_of_ours_is_gone_once_stopped(run_dir: Path) -> None:
    cluster = Cluster(run_dir)
    for at_once in (True, False):
        cluster.start(None)
        pid = cluster._pid() or 0
        os.kill(pid, 0)
        cluster.stop(at_once=at_once)
        with pytest.raises(ProcessLookupError):  # not even a zombie, whose parent we would be
            os.kill(pid, 0)


def test_the_last_user_stops_the_server(run_dir: Path, start: Start) -> None:
    cluster = Cluster(run_dir)
    users = [start(USE), start(USE)]  # at the same time: one starts it, the other joins
    urls = [(user.stdout.readline() if user.stdout else "").strip() for user in users]
    assert urls[0] == urls[1]
    connect(urls[0]).close()
    users[0].communicate()
    assert cluster.is_answering()
    users[1].communicate()
    assert not cluster.is_running()


def test_a_user_that_was_killed_is_forgotten(run_dir: Path, start: Start) -> None:
    cluster = Cluster(run_dir)
    killed, user = start(USE), start(USE)
    for each in (killed, user):
        assert each.stdout
        assert each.stdout.readline()
    killed.kill()
    killed.wait()
    assert cluster.is_answering()
    user.communicate()
    assert not cluster.is_running()


def test_a_deep_folder_gets_a_short_socket(run_dir: Path, start: Start) -> None:
    deep = run_dir / ("d" * 60) / ("e" * 60)
    assert len(str(deep)) > LONGEST_SOCKET_PATH
    user = start(USE, deep)
    assert user.stdout
    connection = connect(user.stdout.readline().strip())
    socket_dir = Path(connection.info.host)
    connection.close()
    assert len(str(socket_dir / ".s.PGSQL.5432")) <= LONGEST_SOCKET_PATH
    assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    user.communicate()
    assert not socket_dir.exists()


def test_nobody_else_can_open_the_socket(postgres_url: str) -> None:
    connection = connect(postgres_url)
    socket = Path(connection.info.host) / ".s.PGSQL.5432"
    connection.close()
    assert stat.S_IMODE(socket.stat().st_mode) & 0o077 == 0


def test_your_own_server_is_used_instead(run_dir: Path) -> None:
    settings = load_settings(run_dir=run_dir, database_url="postgresql://db.example/fraud")
    assert shown(ledger_url(settings)) == "db.example/fraud"
    assert not (run_dir / "postgres").exists()
