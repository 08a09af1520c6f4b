"""The steps of a build on a Dask cluster: the same functions, on other machines.

Workers read the log and write the frame themselves; only numbers travel through the
scheduler. Steps are pure and replace their files by equal ones, so Dask may repeat a call
whose worker was lost, and the frame stays the same.

A worker process runs one call at a time, whatever its number of threads: the call then has
the process' whole memory budget, and its compiled loops use as many threads as the worker
was given, not all the machine's.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import distributed
import fsspec
import numba

from feature_store.build_steps import return_free_memory
from fraud.domain.errors import ContractError, NotFound, SettingsError, UnavailableError
from fraud.domain.fraud_type import FraudType
from fraud.types.registry import fraud_type as declared

T = TypeVar("T")

CONNECT_TIMEOUT_S = 10
RETRIES = 2
"""Times a call that raised is tried again; storage has its bad moments."""

_one_call = threading.Lock()


@contextmanager
def connected(address: str) -> Iterator[distributed.Client]:
    """A client of the scheduler at an address.

    Raises:
        UnavailableError: nothing answers there, or no worker has joined it.
    """
    try:
        client = distributed.Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UnavailableError(
            f"No Dask scheduler answers at {address}: {error}.",
            remedy="Start one (dask scheduler) and give its address, e.g. tcp://host:8786.",
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise UnavailableError(
                f"The Dask scheduler at {address} has no workers.",
                remedy=f"Start one on each machine: dask worker {address}",
            )
        yield client


class DaskEngine:
    """Runs the calls of each step on the workers of a cluster.

    Args:
        client: connected to the scheduler.
    """

    def __init__(self, client: distributed.Client) -> None:
        self._client = client

    @property
    def parallelism(self) -> int:
        """Two calls per worker at least, so that none waits long for the slowest."""
        return 2 * len(self._client.scheduler_info(n_workers=-1)["workers"])

    def check(self, fraud_type: FraudType, *urls: str) -> None:
        """See that every worker has this version's features and reaches the stores.

        Raises:
            ContractError: a worker has other features.
            SettingsError: a worker cannot import the platform or reach a URL.
        """
        try:
            found = self._client.run(_what_a_worker_has, fraud_type.name, urls)
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"A Dask worker lacks a package: {error}.",
                remedy="Install the platform with its extras train and scale beside each worker.",
            ) from error
        for worker, (schema_hash, trouble) in found.items():
            if schema_hash != fraud_type.schema_hash:
                raise ContractError(
                    f"Worker {worker} has {fraud_type.name} features {schema_hash}, here they are "
                    f"{fraud_type.schema_hash}.",
                    remedy="Give all workers and the client the same version of the platform.",
                )
            if trouble:
                raise SettingsError(
                    f"Worker {worker} cannot use {trouble}.",
                    remedy="Log, frame and scratch must be URLs that every worker reaches.",
                )

    def run(
        self, step: Callable[..., T], calls: Sequence[tuple[Any, ...]], done: Callable[[], None]
    ) -> list[T]:
        """See `feature_store.build_steps.Engine`.

        Raises:
            UnavailableError: workers kept dying over a call.
        """
        futures = [
            self._client.submit(_on_worker, step, call, pure=False, retries=RETRIES)
            for call in calls
        ]
        try:
            for future in distributed.as_completed(futures, loop=self._client.loop):
                future.result()
                done()
            return [future.result() for future in futures]
        except distributed.KilledWorker as error:
            raise UnavailableError(
                f"Dask workers were lost again and again while they ran {step.__name__}: {error}",
                remedy="Their logs say why; where it was memory, give a smaller --memory-budget "
                "or workers a larger --memory-limit.",
            ) from error
        finally:
            self._client.cancel(futures)


def _on_worker(step: Callable[..., T], call: tuple[Any, ...]) -> T:
    with _one_call:
        threads = distributed.get_worker().state.nthreads
        numba.set_num_threads(min(threads, numba.get_num_threads()))
        result = step(*call)
        return_free_memory()
        return result


def _what_a_worker_has(fraud_type: str, urls: Sequence[str]) -> tuple[str, str]:
    """A worker's schema hash, and the first URL it cannot use with the reason, or nothing."""
    try:
        schema_hash = declared(fraud_type).schema_hash
    except NotFound:
        schema_hash = "none"
    for url in urls:
        try:
            fs, path = fsspec.core.url_to_fs(url)
            if not fs.exists(path):
                return schema_hash, f"{url}: there is nothing"
        except (OSError, ValueError, ImportError) as error:
            return schema_hash, f"{url}: {error}"
    return schema_hash, ""
