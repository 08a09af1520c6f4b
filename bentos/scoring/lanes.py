"""Large batches in parts that have nobody in common, scored side by side.

A scoring transaction holds its entities' states from its first statement to its last, and half
of that time is spent waiting for the server. Transactions that run side by side use the time of
both; but one that wants a state another holds would only wait for it. So a batch is divided
along its entities: whatever touches the same card, merchant or device stays together, in order.
And large batches of several processes take turns, for they surely have some merchant in common:
side by side, two of them took as long as one after the other, and half as long again.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from bentos.scoring.scorer import ScoreRequest
from feature_store.batch import type_layout
from fraud.domain.decision import Decision
from fraud.domain.errors import FraudError

PART = 128
"""Events that are worth a transaction of their own."""

Answer = Decision | FraudError
Score = Callable[[Sequence[ScoreRequest]], list[Answer]]

Key = TypeVar("Key")


class Lanes:
    """Scores a large batch with several scorers at once; use one instance from one thread.

    Args:
        scorers: what scores a part, each in a thread of its own; small batches go to the first,
            in the caller's.
        part: events of a part, about.
        turn: held while parts are scored.
    """

    def __init__(
        self,
        scorers: Sequence[Score],
        part: int = PART,
        turn: AbstractContextManager[object] | None = None,
    ) -> None:
        self._scorers = scorers
        self._part = part
        self._turn = turn or nullcontext()
        self._executor = ThreadPoolExecutor(max(1, len(scorers) - 1), "scoring-lane")

    def score(self, requests: Sequence[ScoreRequest]) -> list[Answer]:
        """Decide on every request; answers stand in the order of the requests.

        Raises:
            Exception: what a scorer raised, when the others are at rest. What they decided is
                durable, and is answered again when it is sent again.
        """
        parts = divided(requests, self._part) if len(requests) > self._part else []
        if len(parts) < 2 or len(self._scorers) < 2:
            return self._scorers[0](requests)
        with self._turn:
            return self._side_by_side(requests, parts)

    def close(self) -> None:
        """End the threads; nothing may be under way."""
        self._executor.shutdown()

    def _side_by_side(
        self, requests: Sequence[ScoreRequest], parts: list[list[int]]
    ) -> list[Answer]:
        answers: dict[int, Answer] = {}
        open_parts = parts[::-1]

        def work(score: Score) -> None:
            while True:
                try:
                    places = open_parts.pop()  # atomic: every part goes to one lane
                except IndexError:
                    return
                found = score([requests[place] for place in places])
                answers.update(zip(places, found, strict=True))

        others = [self._executor.submit(work, score) for score in self._scorers[1:]]
        try:
            work(self._scorers[0])
        finally:
            wait(others)
        for other in others:
            other.result()
        return [answers[place] for place in range(len(requests))]


def divided(requests: Sequence[ScoreRequest], part: int) -> list[list[int]]:
    """Places of the requests in parts of about equal size that share no entity.

    Args:
        requests: the batch.
        part: events of a part; more only where one entity has more.
    """
    count = -(-len(requests) // part)
    size = -(-len(requests) // count)
    parts: list[list[int]] = [[]]
    for group in connected([_links(request) for request in requests]):
        if len(parts[-1]) >= size:
            parts.append([])
        parts[-1] += group
    return [sorted(each) for each in parts]


def connected(keys: Sequence[Sequence[Key]]) -> list[list[int]]:
    """Places whose keys are linked, directly or through others, together.

    Disjoint sets with path halving (Tarjan and van Leeuwen 1984).
    """
    parents = list(range(len(keys)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = place = parents[parents[place]]
        return place

    owners: dict[Key, int] = {}
    for place, mine in enumerate(keys):
        for key in mine:
            owner = owners.setdefault(key, place)
            if owner != place:
                parents[root(place)] = root(owner)
    groups: dict[int, list[int]] = {}
    for place in range(len(keys)):
        groups.setdefault(root(place), []).append(place)
    return list(groups.values())


def _links(request: ScoreRequest) -> list[str]:
    """What must not be touched by two transactions at once."""
    event = request.event
    return [*type_layout(event.fraud_type).holders(event), f"id {event.transaction_id}"]
