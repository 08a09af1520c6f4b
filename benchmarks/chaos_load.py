"""Callers that never give up: whatever was not answered is sent again, unchanged."""

import random
import ssl
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx

USERS, MERCHANTS = 200, 50
TIMEOUT_S = 10.0
PAUSE_S = 0.05
TLS = ssl.create_default_context()  # a client of its own would take 20 ms to make one

Body = dict[str, Any]


class Answers:
    """What callers were told; any thread may add to it.

    Attributes:
        decisions: ids of the decisions that were acknowledged, by transaction.
        degraded: how many answers were degraded, replayed ones left out.
        replayed: how many were repeated.
        refused: statuses of all other answers; 0 stands for a connection that broke.
        rude: answers of 429 or 503 without Retry-After.
        slowest_s: the longest time until an answer came.
    """

    def __init__(self) -> None:
        self.decisions: defaultdict[str, set[str]] = defaultdict(set)
        self.degraded = 0
        self.replayed = 0
        self.refused: Counter[int] = Counter()
        self.rude = 0
        self.slowest_s = 0.0
        self._lock = threading.Lock()

    def add(
        self, status: int, content: Mapping[str, Any], retry_after: bool, took_s: float
    ) -> None:
        """Take an answer in."""
        with self._lock:
            if status == 200:
                self.decisions[content["transaction_id"]].add(content["decision_id"])
                self.replayed += content["replayed"]
                self.degraded += content["degraded"] and not content["replayed"]
            else:
                self.refused[status] += 1
                self.rude += status in (429, 503) and not retry_after
            if status:
                self.slowest_s = max(self.slowest_s, took_s)

    @property
    def count(self) -> int:
        """Transactions that were acknowledged."""
        return len(self.decisions)

    @property
    def unexpected(self) -> int:
        """Answers that no fault excuses."""
        return sum(n for status, n in self.refused.items() if status not in (0, 429, 503))


class Load:
    """Threads that send transactions, one after the other, until they are told to stop.

    Args:
        url: of the service.
        token: for it.
        seed: of what is sent.
        clients: threads.
    """

    def __init__(self, url: str, token: str, seed: int, clients: int = 8) -> None:
        self.answers = Answers()
        self._url = url
        self._headers = {"authorization": f"Bearer {token}"}
        self._seed = seed
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(number,)) for number in range(clients)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def stampede(self, name: str, callers: int = 50) -> None:
        """One transaction by so many callers at once, until each of them has its answer."""
        body = a_body(random.Random(name), name)
        gate = threading.Barrier(callers)

        def call() -> None:
            with httpx.Client(headers=self._headers, timeout=TIMEOUT_S, verify=TLS) as client:
                gate.wait()
                while not self._send(client, body):
                    time.sleep(PAUSE_S)

        with ThreadPoolExecutor(callers) as executor:
            for each in [executor.submit(call) for _ in range(callers)]:
                each.result()

    def _work(self, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        made = 0
        open_body: Body | None = None
        while not self._is_over.is_set():
            with (
                suppress(httpx.HTTPError),
                httpx.Client(headers=self._headers, timeout=TIMEOUT_S, verify=TLS) as client,
            ):
                while not self._is_over.is_set():
                    if open_body is None:
                        made += 1
                        open_body = a_body(rng, f"CHAOS_{self._seed}_{number}_{made}")
                    if self._send(client, open_body):
                        open_body = None
                    else:
                        time.sleep(PAUSE_S)
                        break  # to the worker that takes the next connection

    def _send(self, client: httpx.Client, body: Body) -> bool:
        """Whether the body was decided on; no answer means that nobody knows."""
        started = time.monotonic()
        try:
            found = client.post(f"{self._url}/predict", json=body)
            content = found.json() if found.status_code == 200 else {}
        except (httpx.HTTPError, ValueError):
            self.answers.add(0, {}, False, 0.0)
            return False
        took_s = time.monotonic() - started
        self.answers.add(found.status_code, content, "retry-after" in found.headers, took_s)
        return found.status_code == 200


def a_body(rng: random.Random, transaction_id: str) -> Body:
    """A card payment of one of few users, so that their states are always in use."""
    return {
        "transaction_id": transaction_id,
        "amount": rng.randrange(1, 100_000) / 100.0,
        "user_id": f"USER_{rng.randrange(USERS)}",
        "merchant_id": f"MERCH_{rng.randrange(MERCHANTS)}",
        "merchant_category": rng.choice(("grocery", "fuel", "travel")),
    }
