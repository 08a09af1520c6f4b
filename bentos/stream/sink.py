"""What the relay delivers to."""

from collections.abc import Sequence
from typing import Protocol

from fraud.ledger.deliveries import Message, Refusal


class Sink(Protocol):
    """A place that is told of every message of the outbox, at least once.

    Attributes:
        name: of the sink, unique within the platform; its progress is kept under it.
        needs_transactions: whether messages shall carry the transactions they are about.
        batch_size: most messages it is given at once.
    """

    name: str
    needs_transactions: bool
    batch_size: int

    def prepare(self) -> None:
        """Connect, and make what has to be there before the first message.

        Raises:
            SinkUnavailable: it does not answer; try again later.
        """

    def deliver(self, messages: Sequence[Message]) -> list[Refusal]:
        """Deliver messages, those of one key in their order.

        Returns:
            What it will never take; all others are there to stay.

        Raises:
            SinkUnavailable: some may be there and some not; deliver all of them again later.
        """

    def close(self) -> None:
        """Let go of connections."""
