"""supervisor keeps the programs running: its configuration, its process and its voice."""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults, SupervisorTransport

from fraud.domain.errors import FraudError
from fraud.run.places import Places
from fraud.run.programs import Program

STOP_TIMEOUT_S = 60.0
START_TIMEOUT_S = 15.0
TAIL_LINES = 15
GROUP = "platform"

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class StartFailure(FraudError):
    """A program ended before it was ready."""


class Supervisor:
    """One supervisord and the programs it knows.

    Args:
        places: where its files are.
        programs: what it shall keep running.
    """

    def __init__(self, places: Places, programs: Sequence[Program]) -> None:
        self._places = places
        self._programs = programs
        self._socket = places.socket("supervisor")
        self._process: subprocess.Popen[bytes] | None = None
        self._pids: dict[str, int] = {}

    def start(self, environment: Mapping[str, str]) -> None:
        """Start supervisord; its programs wait to be started one by one.

        Raises:
            StartFailure: it ended at once.
        """
        self._places.supervisor_config.write_text(self._configuration())
        log = self._places.log("supervisord")
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "supervisor.supervisord"),
                    *("--nodaemon", "--configuration", str(self._places.supervisor_config)),
                ],
                env=dict(environment),
                cwd=self._places.run_dir,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us; we stop it in order
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads run yet
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise StartFailure(f"supervisord did not start.\n{tail(log)}", remedy=f"See {log}.")
            time.sleep(0.05)

    def launch(self, name: str) -> None:
        """Start a program; do not wait until it is ready.

        Raises:
            StartFailure: it cannot be started.
        """
        try:
            self._call("startProcess", self._full(name), False)
        except xmlrpc.client.Fault as error:
            if error.faultCode == Faults.SPAWN_ERROR:
                return  # it has ended already, and `check` has its last words
            raise StartFailure(f"{name} cannot be started: {error.faultString}.") from None

    def check(self, name: str) -> None:
        """Return if a launched program still runs as it was launched.

        Raises:
            StartFailure: it ended; the message has the last lines of its log.
        """
        try:
            info: dict[str, Any] = self._call("getProcessInfo", self._full(name))
        except OSError:
            raise StartFailure(f"supervisord ended while {name} started.") from None
        state, pid = info["statename"], info["pid"]
        first = self._pids.setdefault(name, pid) if pid else self._pids.get(name)
        if state in ("STARTING", "RUNNING") and first in (None, pid):
            return
        log = self._places.log(name)
        raise StartFailure(f"{name} ended while it started:\n{tail(log)}", remedy=f"See {log}.")

    def is_running(self) -> bool:
        """Whether supervisord lives."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop every program, the one marked last at the end, and supervisord."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._socket.unlink(missing_ok=True)

    def _answers(self) -> bool:
        try:
            return bool(self._call("getState"))
        except (OSError, xmlrpc.client.Error):
            return False

    def _call(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def _full(self, name: str) -> str:
        """The name of a program with that of its group."""
        is_last = any(each.is_last for each in self._programs if each.name == name)
        return name if is_last else f"{GROUP}:{name}"

    def _configuration(self) -> str:
        places = self._places
        user = "user=root\n" if os.geteuid() == 0 else ""
        together = ",".join(each.name for each in self._programs if not each.is_last)
        head = f"""\
; Written at every start; see fraud/run/supervisor.py.
[unix_http_server]
file={_plain(self._socket)}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisord]
{user}silent=true
logfile={_plain(places.log("supervisord"))}
logfile_maxbytes=10MB
pidfile={_plain(places.run_dir / "supervisord.pid")}
childlogdir={_plain(places.logs)}
identifier=fraud

; One group, so that its programs are stopped all at once.
[group:{GROUP}]
programs={together}
priority=20
"""
        return head + "".join(self._section(program) for program in self._programs)

    def _section(self, program: Program) -> str:
        return f"""
[program:{program.name}]
command={_plain(shlex.join(program.command))}
directory={_plain(self._places.run_dir)}
autostart=false
autorestart=true
startsecs=1
startretries=3
stopsignal=TERM
stopwaitsecs={program.stop_wait_s}
killasgroup=true
priority={10 if program.is_last else 20}
redirect_stderr=true
stdout_logfile={_plain(self._places.log(program.name))}
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
"""


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, indented."""
    with suppress(OSError):
        text = log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in text[-lines:])
    return "    (no log)"


def _plain(text: object) -> str:
    """Text that supervisor's configuration takes literally."""
    return str(text).replace("%", "%%")


def _die_with_parent() -> None:
    """Ask the kernel to end supervisord, and so its programs, should we be killed."""
    with suppress(AttributeError):  # not on Linux
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
