"""How many messages go into one scoring transaction: as many as it takes in good time."""

LEAST = 16
TARGET_S = 0.25
"""A transaction that takes longer is too large: others wait for its locks, and on a failure
all of it is done again."""


class BatchSize:
    """Grows by a quarter while full batches are quick, and halves when one is not.

    It only bounds a batch: what has come goes at once, however little it is.

    Args:
        most: messages at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = min(4 * LEAST, most)

    def took(self, count: int, seconds: float) -> None:
        """A batch of `count` messages was decided in so many seconds."""
        if seconds > TARGET_S:
            self.failed()
        elif count >= self.limit:
            self.limit = min(self._most, self.limit + self.limit // 4)

    def failed(self) -> None:
        """A batch was not decided."""
        self.limit = max(min(LEAST, self._most), self.limit // 2)
