"""Where a page ended, as a token that says nothing but works when it is sent back."""

import base64
import uuid

from fraud.domain.errors import InvalidField


def token(number: int, id_: str) -> str:
    """A token for the row with this sort key and id."""
    return base64.urlsafe_b64encode(f"{number} {id_}".encode()).decode().rstrip("=")


def place(sent: str | None) -> tuple[int, str] | None:
    """Sort key and id that a token stands for.

    Raises:
        InvalidField: it is none of ours.
    """
    if sent is None:
        return None
    try:
        text = base64.b64decode(sent + "=" * (-len(sent) % 4), b"-_", validate=True).decode()
        number, _, id_ = text.partition(" ")
        if abs(int(number)) >= 2**62:
            raise ValueError("too large")
        return int(number), str(uuid.UUID(id_))
    except ValueError:
        remedy = "Send the `next` of the page before, unchanged, or leave it out."
        raise InvalidField([("after", "is not a place in these results", remedy)]) from None
