"""A build on real Dask workers equals the one in memory, whatever happens to a worker."""

import signal
from collections.abc import Iterator
from pathlib import Path

import distributed
import numba
import pytest

from feature_store.building import build_dataset
from feature_store.dataset import FrameDataset
from feature_store.distributed import DaskEngine, connected
from fraud.domain.errors import SettingsError, UnavailableError
from fraud.types.credit_card import CREDIT_CARD
from tests.dask_cluster import Cluster, a_cluster, a_scheduler
from tests.feature_store.lakes import a_plain_lake, an_adversarial_lake, in_memory

pytestmark = pytest.mark.timeout(600)  # processes that import the platform take a while to start


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with a_cluster(tmp_path_factory.mktemp("dask")) as found:
        yield found


def test_two_workers_build_the_frame_that_one_process_builds(
    cluster: Cluster, tmp_path: Path
) -> None:
    lake = an_adversarial_lake(str(tmp_path / "lake"), seed=11)
    steps: dict[str, int] = {}
    with connected(cluster.address) as client:
        build_dataset(
            *(CREDIT_CARD, lake.url, str(tmp_path / "out")),
            engine=DaskEngine(client),
            progress=lambda step, done, total: steps.update({step: total}),
        )
        executed = client.run(_executed)
    assert FrameDataset(str(tmp_path / "out")).frame().equals(in_memory(lake))
    assert steps["compute"] >= 4 * 3, "at least two calls per worker and partitioning"
    assert min(executed.values()) > 10, "each worker did its share"
    assert not list((tmp_path / "out").glob("_spill*"))


def test_losing_a_worker_costs_time_and_nothing_else(cluster: Cluster, tmp_path: Path) -> None:
    lake = a_plain_lake(str(tmp_path / "lake"), rows=30_000)
    with cluster.worker("doomed") as doomed, connected(cluster.address) as client:
        client.wait_for_workers(3)
        busy: list[str] = []

        def shoot(step: str, done: int, total: int) -> None:
            if step == "compute" and done == 1:
                busy.extend(each for each, calls in client.processing().items() if calls)
                doomed.send_signal(signal.SIGKILL)

        build_dataset(
            *(CREDIT_CARD, lake.url, str(tmp_path / "out")),
            engine=DaskEngine(client),
            progress=shoot,
        )
        assert doomed.wait(10) == -signal.SIGKILL
        assert len(busy) == 3, "the doomed one had calls to do"
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 2
    assert FrameDataset(str(tmp_path / "out")).frame().equals(in_memory(lake))


def test_a_log_that_workers_cannot_reach_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    lake = an_adversarial_lake(f"memory://{tmp_path.name}", size=10)
    with (
        connected(cluster.address) as client,
        pytest.raises(SettingsError, match=r"cannot use memory://.*every worker reaches"),
    ):
        build_dataset(CREDIT_CARD, lake.url, str(tmp_path), engine=DaskEngine(client))


def test_no_scheduler_and_no_workers_are_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feature_store.distributed.CONNECT_TIMEOUT_S", 1)
    with (
        pytest.raises(
            UnavailableError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:1:"
        ),
        connected("tcp://127.0.0.1:1"),
    ):
        pass
    with (
        a_scheduler(tmp_path) as alone,
        pytest.raises(UnavailableError, match=f"has no workers.*dask worker {alone.address}"),
        connected(alone.address),
    ):
        pass


def test_a_worker_uses_as_many_threads_as_it_was_given(cluster: Cluster) -> None:
    with connected(cluster.address) as client:
        assert DaskEngine(client).run(_threads, [(), ()], lambda: None) == [1, 1]


def _threads() -> int:
    return numba.get_num_threads()


def _executed(dask_worker: distributed.Worker) -> int:
    return dask_worker.state.executed_count
