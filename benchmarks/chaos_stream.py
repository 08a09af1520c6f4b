"""Chaos on the stream: workers, the relay and Kafka killed under load; nothing lost or doubled.

    make chaos-stream [N=50] [SEED=7] [OUT=report.json]

Two workers and the relay (to Kafka and MongoDB) are killed with -9 at random and started
again, and once in a while the broker is, while transactions come in without a break, among
them repetitions, other bodies under known ids, and poison. In the end every input has exactly
one decision, one result and one document, and everything else one dead letter; else exit code 1.
"""

import json
import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from pymongo import MongoClient

from benchmarks.chaos_check import check
from benchmarks.chaos_load import a_body
from benchmarks.chaos_model import promote
from benchmarks.chaos_service import Database
from benchmarks.report import Out, benchmark, publish
from benchmarks.serving_servers import free_port
from benchmarks.stream_world import (
    Offsets,
    Program,
    Results,
    make_our_topics,
    new_broker,
    producer,
    wait,
)
from bentos.stream.dlq_replay import waiting_letters
from fraud.domain.errors import FraudError
from fraud.ledger.engine import connect
from fraud.ledger.schema import migrate
from fraud.run.mongod import Mongod
from fraud.run.mongod import program as mongod_program
from fraud.settings import Settings, load_settings

PACE_S = 0.005
REPEATED, CONFLICTING, POISONED = 0.1, 0.02, 0.02
BROKER_EVERY = 20
"""So many kills of workers and relay between two of the broker."""

PROGRESS = 20
"""Decisions that have to be made between two kills: a system that stands still is not tested."""


class Load:
    """Sends transactions and what must not become one, in a thread, without a break.

    Attributes:
        bodies: transactions that were sent, by id; each needs one decision.
        bad: messages that need a dead letter, by what is wrong with them.
    """

    def __init__(self, settings: Settings, seed: int) -> None:
        self.bodies: dict[str, dict[str, Any]] = {}
        self.bad: Counter[str] = Counter()
        self.repeated = 0
        self._topic = settings.kafka_topics
        self._producer = producer(settings)
        self._rng = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        if self._producer.flush(120):
            raise FraudError("Kafka did not take what was sent.")

    def _work(self) -> None:
        while not self._over.wait(PACE_S):
            chance = self._rng.random()
            if chance < POISONED:
                self._send_bad("malformed-body", "anybody", b"{ not JSON")
            elif self.bodies and chance < POISONED + CONFLICTING:
                known = self._rng.choice(list(self.bodies.values()))
                other = known | {"amount": known["amount"] + 1.0}
                self._send_bad("duplicate-conflict", known["user_id"], _json(other))
            elif self.bodies and chance < POISONED + CONFLICTING + REPEATED:
                self.repeated += 1
                self._send(self._rng.choice(list(self.bodies.values())))
            else:
                body = a_body(self._rng, f"STREAM_{len(self.bodies)}")
                self.bodies[body["transaction_id"]] = body
                self._send(body)
            self._producer.poll(0)

    def _send(self, body: dict[str, Any]) -> None:
        self._producer.produce(self._topic, key=body["user_id"], value=_json(body))

    def _send_bad(self, why: str, user: str, value: bytes) -> None:
        self.bad[why] += 1
        self._producer.produce(self._topic, key=user, value=value)


def run(
    kills: int, seed: int, say: Callable[[str], None], broker_every: int = BROKER_EVERY
) -> dict[str, Any]:
    """Everything, in a folder that is gone afterwards; the report."""
    began, rng = time.monotonic(), random.Random(seed)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="fraud-chaos-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database = Database(folder)
        stack.callback(lambda: database.stop(at_once=True))
        url = database.start()
        migrate(url)
        broker = new_broker(folder)
        stack.callback(broker.discard)
        broker.start()
        mongod = Mongod(folder / "mongodb", mongod_program(), free_port())
        stack.callback(mongod.discard)
        mongod.start()
        settings = load_settings(
            run_dir=folder,
            database_url=url,
            kafka_servers=broker.address,
            mongodb_url=mongod.url,
            relay_sinks="kafka,mongodb",
        )
        promote(settings, "first")
        make_our_topics(settings)
        programs = [
            Program("stream", settings, "one"),
            Program("stream", settings, "other"),
            Program("relay", settings, "relay"),
        ]
        offsets = Offsets(settings, settings.kafka_topics)
        stack.callback(offsets.close)
        results = stack.enter_context(Results(broker.address))
        for each in programs:
            stack.callback(each.kill)
            each.start()
        with Load(settings, seed) as load:
            for number in range(1, kills + 1):
                decided = _decisions(url) + PROGRESS
                wait(lambda: _decisions(url) >= decided, "decisions", *programs)  # noqa: B023
                time.sleep(rng.random())
                if number % broker_every == broker_every // 2:
                    broker.kill()
                    broker.start()
                    say("the broker was killed and started")
                victim = rng.choice(programs)
                victim.kill()
                victim.start()
                say(f"kill {number} of {kills}: {victim.name}; {len(load.bodies):,} sent")
        say("waiting for the last messages")
        wait(lambda: offsets.lag() == 0, "the last offsets", *programs)
        wait(lambda: len(results.decisions) >= len(load.bodies), "the results", *programs)
        with MongoClient[dict[str, Any]](mongod.url) as client:
            collection = client[settings.mongodb_database]["transactions"]
            wait(lambda: collection.count_documents({}) >= len(load.bodies), "documents", *programs)
            documents = Counter(
                each["transaction_id"] for each in collection.find({}, {"transaction_id": 1})
            )
        letters = Counter(each.reason for each in waiting_letters(settings))
        told = {name: set(each) for name, each in results.decisions.items()}
        found = asdict(check(url, told))
        ids = set(load.bodies)
        return {
            "benchmark": "chaos-stream",
            "kills": kills,
            "broker_kills": (kills + broker_every // 2) // broker_every,
            "inputs": len(ids),
            "repeated_inputs": load.repeated,
            "bad_inputs": dict(load.bad),
            **{name: found.pop(name) for name in ("lost", "doubled", "unpaired", "decisions")},
            "without_one_result": sum(len(told.get(name, ())) != 1 for name in ids | set(told)),
            "repeated_results": sum(
                each.total() - len(each) for each in results.decisions.values()
            ),
            "without_one_document": sum(documents[name] != 1 for name in ids | set(documents)),
            "results_without_input": len(set(told) - ids),
            "dead_letters_wrong": sum(abs(n) for n in _difference(letters, load.bad).values()),
            **found,
            "seed": seed,
            "seconds": round(time.monotonic() - began, 1),
        }


def is_sound(report: dict[str, Any]) -> bool:
    """Whether every input has exactly one of everything, and nothing else is there."""
    wrong = ("lost", "doubled", "unpaired", "broken", "without_one_result")
    more = ("without_one_document", "results_without_input", "dead_letters_wrong")
    return report["inputs"] == report["decisions"] > 0 and not any(
        report[name] for name in (*wrong, *more)
    )


def _decisions(url: str) -> int:
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM decisions")
            [(count,)] = cursor.fetchall()
    finally:
        connection.close()
    return int(count)


def _difference(one: Counter[str], other: Counter[str]) -> dict[str, int]:
    return {name: one[name] - other[name] for name in {*one, *other}}


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def main(
    n: Annotated[int, typer.Option(envvar="N", min=1, help="Kills of workers and relay.")] = 50,
    seed: Annotated[int, typer.Option(envvar="SEED", min=0, help="Of load and kills.")] = 7,
    out: Out = None,
) -> None:
    """Break the stream under load; one JSON line comes last."""
    with benchmark("chaos-stream") as console:
        report = run(n, seed, lambda text: console.print(text, highlight=False))
    publish(report, out)
    if not is_sound(report):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
