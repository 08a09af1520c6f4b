"""Transactions through Kafka, from the producer's send to the result's arrival.

    make bench-stream [N=200000] [SEED=7] [OUT=figures.json]

Kafka, PostgreSQL, one worker (`fraud stream`), the relay, the producer and the reader of the
results share this machine. Three parts: N transactions as fast as they go (`tx_s`, from the
first send to the last result); then N/20 at half that pace, which tells how long one takes
(`end_to_end_ms`); then N/10 each with one worker and with two, which were all started before,
from a backlog (`two_workers_ratio`). `cpu_us_per_transaction` is what the first part cost each
program: it says more than the pace where the machine does other things as well. The
transactions are those of a simulated world after its history, of which the model and the
entities' states are made; where they run out, its days come again under other ids.
"""

import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from benchmarks.report import Out, benchmark, publish
from benchmarks.serving import temporary_settings
from benchmarks.serving_world import World
from benchmarks.stream_world import (
    Offsets,
    Program,
    Results,
    cpu_s,
    make_our_topics,
    new_broker,
    producer,
    wait,
)
from fraud.ledger.cluster import Cluster
from fraud.ledger.embedded import ledger_url
from fraud.settings import Settings

GOAL_TX_S, GOAL_RATIO = 3_000, 1.6
WARM_UP = 500
PATIENCE_S = 1_800.0


class Bench:
    """One run's load.

    Args:
        world: whose transactions are sent.
        settings: of the stream.
        results: what comes out.
    """

    def __init__(self, world: World, settings: Settings, results: Results) -> None:
        self._bodies = _endless(world)
        self._settings = settings
        self._results = results
        self._producer = producer(settings)
        self.sent_s: dict[str, float] = {}

    def send(self, count: int, pace: float | None = None) -> list[str]:
        """Send transactions, so many a second or as fast as they go; their ids."""
        ahead = list(itertools.islice(self._bodies, count))  # made before the clock runs
        names, began = [], time.monotonic()
        for number, (name, user, body) in enumerate(ahead):
            if pace is not None:
                ahead_s = number / pace - (time.monotonic() - began)
                if ahead_s > 0.002:
                    time.sleep(ahead_s)
            self.sent_s[name] = time.time()
            self._producer.produce(self._settings.kafka_topics, key=user, value=body)
            self._producer.poll(0)
            names.append(name)
        self._producer.flush()
        return names

    def finish(self, names: list[str], *programs: Program) -> None:
        """Wait until each of them has a result."""
        heard = self._results.heard_s
        last = 0

        def are_heard() -> bool:
            nonlocal last
            while last < len(names) and names[last] in heard:
                last += 1
            return last == len(names)

        wait(are_heard, "the results", *programs, seconds=PATIENCE_S)

    def rate(self, names: list[str], since_s: float | None = None) -> float:
        """Transactions a second, to the last result, from a moment or the first send."""
        begin = self.sent_s[names[0]] if since_s is None else since_s
        return len(names) / (max(self._results.heard_s[each] for each in names) - begin)

    def took_ms(self, names: list[str]) -> dict[str, float]:
        """Percentiles of the time from send to result."""
        times = [(self._results.heard_s[each] - self.sent_s[each]) * 1e3 for each in names]
        return {f"p{q}": round(float(np.percentile(times, q)), 1) for q in (50, 99)}


def run(count: int, seed: int, console: Console) -> dict[str, Any]:
    """Everything, in folders that are gone afterwards; the report."""
    began = time.monotonic()
    with ExitStack() as stack:
        settings = stack.enter_context(temporary_settings())
        broker = new_broker(settings.run_dir)
        stack.callback(broker.discard)
        broker.start()
        world = World(settings, seed)
        console.print(f"{world.simulate():,} simulated transactions")
        console.print(f"model {world.deploy()}")
        console.print(f"{world.materialize():,} entity states")
        settings = settings.replaced(
            database_url=ledger_url(settings), kafka_servers=broker.address, relay_sinks="kafka"
        )
        make_our_topics(settings)
        one, other = (Program("stream", settings, name) for name in ("one", "other"))
        relay = Program("relay", settings, "relay")
        for each in (one, other, relay):
            stack.callback(each.kill)
        results = stack.enter_context(Results(broker.address))
        offsets = Offsets(settings, settings.kafka_topics)
        stack.callback(offsets.close)
        bench = Bench(world, settings, results)
        one.start()
        relay.start()
        bench.finish(bench.send(WARM_UP), one, relay)

        parts = {"worker": one.pid, "relay": relay.pid, "kafka": broker.pid}
        parts |= {"postgresql": postmaster(settings)}
        before = {name: cpu_s(pid) for name, pid in parts.items()}
        main = bench.send(count)
        console.print(f"{count:,} sent")
        bench.finish(main, one, relay)
        cpu_us = {name: (cpu_s(pid) - before[name]) / count * 1e6 for name, pid in parts.items()}
        tx_s = bench.rate(main)
        console.print(f"{tx_s:,.0f} tx/s with one worker")
        steady = bench.send(count // 20, tx_s / 2)
        bench.finish(steady, one, relay)
        console.print(f"{bench.took_ms(steady)} ms at half of it")
        alone_s = _backlog(bench, count // 10, one, relay)
        one.end()
        one.start()
        other.start()
        wait(lambda: offsets.lag() == 0, "the group", one, other)
        bench.finish(bench.send(WARM_UP), one, other, relay)
        together_s = _backlog(bench, count // 10, one, other, relay)
        wait(lambda: offsets.lag() == 0, "the last offsets", one, other)
        decided, degraded = world.decisions()
        told = results.decisions
        return {
            "benchmark": "stream",
            "cpus": os.cpu_count(),
            "transactions": len(bench.sent_s),
            "tx_s": round(tx_s),
            "end_to_end_ms": bench.took_ms(steady),
            "end_to_end_tx_s": round(tx_s / 2),
            "backlog_end_to_end_ms": bench.took_ms(main),
            "cpu_us_per_transaction": {name: round(each) for name, each in cpu_us.items()},
            "lag_at_end": offsets.lag(),
            "lost": len(bench.sent_s.keys() - told.keys()) + len(bench.sent_s) - decided,
            "doubled": sum(len(each) > 1 for each in told.values()),
            "repeated_results": sum(each.total() - len(each) for each in told.values()),
            "degraded": degraded,
            "one_worker_tx_s": round(alone_s),
            "two_workers_tx_s": round(together_s),
            "two_workers_ratio": round(together_s / alone_s, 2),
            "seed": seed,
            "seconds": round(time.monotonic() - began),
        }


def verdicts(report: dict[str, Any]) -> dict[str, Any]:
    """Which goals were met."""
    cpus = report["cpus"]
    enough = cpus is not None and cpus >= 4
    return {
        "tx_s": {"goal": GOAL_TX_S, "met": report["tx_s"] >= GOAL_TX_S},
        "nothing_lost_or_doubled": not (report["lost"] or report["doubled"]),
        "two_workers_ratio": {
            "goal": GOAL_RATIO,
            "met": report["two_workers_ratio"] >= GOAL_RATIO,
            "cores_allow": enough,
            "why": None
            if enough
            else f"{cpus} cores hold Kafka, PostgreSQL, the relay, the load and both workers: "
            "a second worker takes its time from them.",
        },
    }


def postmaster(settings: Settings) -> int:
    """The process id of the embedded PostgreSQL."""
    lines = (Cluster(settings.run_dir).data_dir / "postmaster.pid").read_text().splitlines()
    return int(lines[0])


def _backlog(bench: Bench, count: int, *programs: Program) -> float:
    """Transactions a second from a backlog that is there at once."""
    names = bench.send(count)
    bench.finish(names, *programs)
    return bench.rate(names)


def _endless(world: World) -> Iterator[tuple[str, str, bytes]]:
    """Id, user and body of transactions, again under other ids when they have run out."""
    for turn in itertools.count():
        for body in world.requests():
            content = json.loads(body)
            content["transaction_id"] = name = f"{content['transaction_id']}-{turn}"
            yield name, content["user_id"], json.dumps(content).encode()


def main(
    n: Annotated[int, typer.Option(envvar="N", min=1_000, help="Transactions.")] = 200_000,
    seed: Annotated[int, typer.Option(envvar="SEED", help="Of the simulated world.")] = 7,
    out: Out = None,
) -> None:
    """Send, wait and count; one JSON line comes last."""
    with benchmark("bench-stream") as console:
        report = run(n, seed, console)
    publish({**report, "goals": verdicts(report)}, out)
    if report["lost"] or report["doubled"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
