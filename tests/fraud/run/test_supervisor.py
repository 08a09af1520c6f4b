"""supervisord with small programs: start, failure, order of stopping, and nothing left."""

import os
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from supervisor.xmlrpc import Faults

from fraud.run.places import LONGEST_SOCKET_PATH, Places
from fraud.run.programs import Program
from fraud.run.supervisor import StartFailure, Supervisor
from tests.servers import temporary_run_dir


@pytest.fixture
def places() -> Iterator[Places]:
    with temporary_run_dir() as folder:
        found = Places(folder)
        found.make()
        yield found


def shell(name: str, script: str, *, is_last: bool = False) -> Program:
    return Program(name, ("/bin/sh", "-c", script), stop_wait_s=5, is_last=is_last)


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_runs_until_it_is_stopped(places: Places) -> None:
    pid_file = places.run_dir / "pid"
    supervisor = Supervisor(places, [shell("one", f"echo $$ > '{pid_file}'; sleep 1000 & wait")])
    supervisor.start(os.environ)
    supervisor.launch("one")
    wait_for(lambda: pid_file.exists() and bool(pid_file.read_text()))
    supervisor.check("one")
    supervisor.stop()
    assert not is_alive(int(pid_file.read_text()))
    assert not supervisor.is_running()


def test_a_program_that_ends_at_once_is_shown_with_its_last_words(places: Places) -> None:
    supervisor = Supervisor(places, [shell("weak", "echo no disk left; exit 3")])
    supervisor.start(os.environ)
    try:
        supervisor.launch("weak")
        with pytest.raises(StartFailure) as caught:
            wait_for(lambda: supervisor.check("weak") is not None)
    finally:
        supervisor.stop()
    assert "no disk left" in str(caught.value)
    assert str(places.log("weak")) in str(caught.value)


def test_a_program_that_ends_before_its_start_is_reported_has_last_words(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine supervisord may know of the end when it answers."""
    supervisor = Supervisor(places, [shell("weak", "echo no disk left; exit 3")])
    supervisor.start(os.environ)
    call = supervisor._call

    def answered_late(method: str, *arguments: object) -> object:
        answer = call(method, *arguments)
        if method == "startProcess":
            raise xmlrpc.client.Fault(Faults.SPAWN_ERROR, "SPAWN_ERROR: weak")
        return answer

    monkeypatch.setattr(supervisor, "_call", answered_late)
    try:
        supervisor.launch("weak")
        with pytest.raises(StartFailure, match="no disk left"):
            wait_for(lambda: supervisor.check("weak") is not None)
    finally:
        supervisor.stop()


def test_a_program_that_was_restarted_meanwhile_did_not_start(places: Places) -> None:
    """It is brought back, but whoever waits for it must learn that it ended."""
    supervisor = Supervisor(places, [shell("late", "sleep 1.5; echo gone; exit 1")])
    supervisor.start(os.environ)
    try:
        supervisor.launch("late")
        supervisor.check("late")
        with pytest.raises(StartFailure, match="gone"):
            wait_for(lambda: supervisor.check("late") is not None)
    finally:
        supervisor.stop()


def test_the_last_program_outlives_the_others(places: Places) -> None:
    """PostgreSQL must still be there while the others say goodbye."""
    order = places.run_dir / "order"
    ends = "trap 'sleep {delay}; echo {name} >> \"{order}\"; exit 0' TERM; sleep 1000 & wait"
    supervisor = Supervisor(
        places,
        [
            shell("base", ends.format(name="base", delay=0, order=order), is_last=True),
            shell("upper", ends.format(name="upper", delay=1, order=order)),
        ],
    )
    supervisor.start(os.environ)
    supervisor.launch("base")
    supervisor.launch("upper")
    time.sleep(0.5)  # until the traps are set
    supervisor.stop()
    assert order.read_text().split() == ["upper", "base"]


def test_programs_get_their_environment_and_folder(places: Places) -> None:
    seen = places.run_dir / "seen"
    supervisor = Supervisor(places, [shell("env", f"echo $SECRET $PWD > '{seen}'; sleep 1000")])
    supervisor.start({**os.environ, "SECRET": "50%2Fx"})
    supervisor.launch("env")
    wait_for(lambda: seen.exists() and bool(seen.read_text()))
    supervisor.stop()
    assert seen.read_text().split() == ["50%2Fx", str(places.run_dir)]
    assert "50%2Fx" not in places.supervisor_config.read_text()


def test_a_deep_folder_gets_a_short_socket(tmp_path: Path) -> None:
    places = Places(tmp_path / ("deep" * 30))
    assert len(os.fsencode(places.socket("supervisor"))) <= LONGEST_SOCKET_PATH
    assert places.socket("supervisor") == places.socket("supervisor")
    assert places.socket("supervisor") != Places(tmp_path / ("deeq" * 30)).socket("supervisor")
