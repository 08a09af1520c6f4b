"""What a load tool is told, and what it tells."""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """What to send.

    Attributes:
        port: of the server on 127.0.0.1.
        path: e.g. `/predict`.
        bodies: file with one JSON body per line; each is sent once, in order.
        token: bearer token; none where empty.
        connections: for a closed-loop run.
        seconds: the run ends after them, or when the bodies are used up.
        rate: requests per second of an open-loop run; 0 for a closed-loop one.
        seed: of the moments of an open-loop run.
    """

    port: int
    path: str
    bodies: str
    token: str
    connections: int
    seconds: float
    rate: float = 0.0
    seed: int = 0


@dataclass
class Figures:
    """What came back.

    Attributes:
        seconds: how long it took.
        answered: requests answered with a 2xx.
        errors: the others.
        latencies_us: of the answers.
        ran_out: whether the requests were used up before the time was: more could have been done.
    """

    seconds: float = 0.0
    answered: int = 0
    errors: int = 0
    latencies_us: list[int] = field(default_factory=list)
    ran_out: bool = False


def requests_of(plan: Plan) -> deque[bytes]:
    """The requests of a plan, byte for byte."""
    head = (
        f"POST {plan.path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        + (f"authorization: Bearer {plan.token}\r\n" if plan.token else "")
        + "content-length: "
    ).encode()
    lines = Path(plan.bodies).read_bytes().splitlines()
    return deque(b"%b%d\r\n\r\n%b" % (head, len(body), body) for body in lines)
