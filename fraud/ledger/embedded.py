"""PostgreSQL from a wheel, in a folder: the ledger of everybody who brings no server.

One folder has at most one server. Whoever needs it starts it or joins it, and the last
one to leave stops it; `serve` holds it in the foreground instead, for a process manager.
It listens on a Unix socket only, which nobody but its owner and root can open.
"""

import signal
import time
from pathlib import Path
from types import FrameType

from fraud.ledger import writeback
from fraud.ledger.cluster import Cluster
from fraud.ledger.engine import ensure_database
from fraud.settings import Settings

DATABASE = "fraud"


def ledger_url(settings: Settings) -> str:
    """The ledger of these settings: your PostgreSQL, or the embedded one, started if need be.

    Raises:
        LedgerUnavailable: the embedded server cannot be started.
    """
    return settings.database_url or url(settings.run_dir)


def url(run_dir: Path) -> str:
    """The address of the embedded server's database; starts the server unless it runs.

    This process keeps the server alive until it exits.

    Raises:
        LedgerUnavailable: the server cannot be started.
    """
    cluster = Cluster(run_dir)
    with cluster.starting():
        if not cluster.is_answering():
            with cluster.log_path.open("ab") as log:
                cluster.start(log.fileno())
            writeback.start(cluster.data_dir)
        cluster.join()
    return ensure_database(cluster.url("postgres"), DATABASE)


def serve(run_dir: Path) -> int:
    """Run the embedded server in the foreground until SIGTERM or SIGINT, then stop it.

    A server that runs already is taken over.

    Returns:
        Exit code: 0 after a signal, 1 when the server ended by itself.

    Raises:
        LedgerUnavailable: the server cannot be started.
    """
    wanted_end = False

    def end(signum: int, frame: FrameType | None) -> None:
        nonlocal wanted_end
        wanted_end = True

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end)
    cluster = Cluster(run_dir)
    with cluster.starting():
        if not cluster.is_answering():
            cluster.start(None)
        cluster.join()
    writeback.start(cluster.data_dir)
    ensure_database(cluster.url("postgres"), DATABASE)
    while not wanted_end and cluster.is_running():
        time.sleep(0.2)
    ended_itself = not wanted_end
    cluster.stop()
    return 1 if ended_itself else 0


def stop(run_dir: Path, *, at_once: bool = False) -> None:
    """Stop the embedded server of this folder, if it runs, and wait until it ended.

    Args:
        run_dir: its folder.
        at_once: leave out the final checkpoint; the next start recovers from the log.
    """
    cluster = Cluster(run_dir)
    with cluster.starting():
        cluster.stop(at_once=at_once)
