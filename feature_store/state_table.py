"""Entity states in PostgreSQL: lock and load, then save what changed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from psycopg2 import STRING
from psycopg2.extensions import new_array_type, register_type

from fraud.ledger.labels import MAKE_KNOWN
from fraud.ledger.statement import Cursor, Statement, answer

_LOAD_TEXT = """
    SELECT array_agg(key), array_agg(octet_length(state)), array_agg(last_seq),
        string_agg(state, ''), array_agg(ctid) {more}
    FROM (
        SELECT key, state, last_seq, ctid
        FROM entity_state WHERE key = ANY($1) ORDER BY key FOR UPDATE
    ) AS locked
"""
"""One row: what a row costs on its way is more than what a state does."""

_ROW = ("text[]", "int[]", "bigint[]", "bytea", "tid[]")

register_type(new_array_type((1010,), "TID[]", STRING))  # psycopg2 has none: it would be one text

_LOAD = Statement("load_states", ("text[]",), _LOAD_TEXT.format(more=""), row=_ROW)

_CLAIM = Statement(
    "claim_states",
    ("text[]",),
    _LOAD_TEXT.format(more=f", {MAKE_KNOWN}"),
    row=_ROW,
)
"""The aggregates are complete, and so all rows locked, before the rest of their row is made."""

_NEW = """
    SELECT named, substring($2 FROM start FOR size) AS state, last_seq
    FROM (
        SELECT unnest($1) AS named, unnest($3) AS start, unnest($4) AS size, unnest($5) AS last_seq
    ) AS one
"""
"""States as one value with places in it, for the same reason; `named` is a key or where a row lies.
What `unnest` makes here is used row by row; as `FROM unnest(...)` every array would be kept whole
first."""

_REST = ("bytea", "int[]", "int[]", "bigint[]")

_UPDATE = Statement(
    "update_states",
    ("tid[]", *_REST),
    f"""
    UPDATE entity_state AS kept SET state = new.state, last_seq = new.last_seq
    FROM ({_NEW}) AS new
    WHERE kept.ctid = new.named
    """,
)
"""By where the rows lie, which nobody else can change while they are locked: to look their keys
up again took two fifths of it."""

_INSERT = Statement(
    "insert_states",
    ("text[]", *_REST),
    f"""
    INSERT INTO entity_state (key, fraud_type, state, last_seq)
    SELECT new.named, split_part(new.named, ' ', 1), new.state, new.last_seq
    FROM ({_NEW}) AS new
    ORDER BY new.named
    """,
)


class StoredState(NamedTuple):
    """An encoded state and the observation number of the last thing it took in.

    Attributes:
        state: its bytes.
        last_seq: that number.
        place: where its row lies, until the transaction that loaded it saves it; None of a state
            that was not loaded.
    """

    state: bytes
    last_seq: int
    place: bytes | str | None = None


def load_states(cursor: Cursor, keys: Iterable[str]) -> dict[str, StoredState]:
    """Lock and load the states of these keys; keys never seen are left out.

    Rows are locked in key order, so that writers wait for each other and never in a circle.
    The locks last until the transaction ends.
    """
    _LOAD.execute(cursor, (sorted(set(keys)),))
    return _states(*cursor.fetchall()[0])


def claim_states(cursor: Cursor, keys: Iterable[str]) -> Callable[[], dict[str, StoredState]]:
    """`load_states`, and then claim to make transactions known (`fraud.ledger.labels`).

    The states come later: what a pipeline is given next travels along.
    """
    _CLAIM.execute(cursor, (sorted(set(keys)),))
    rows = answer(cursor)
    return lambda: _states(*rows()[0][: len(_ROW)])


def _states(
    found: list[str] | None,
    sizes: list[int],
    numbers: list[int],
    joined: bytes,
    places: list[bytes | str],
) -> dict[str, StoredState]:
    if not found:
        return {}
    states, ends = bytes(joined), accumulate(sizes)
    return {
        key: StoredState(states[end - size : end], number, place)
        for key, size, number, end, place in zip(found, sizes, numbers, ends, places, strict=True)
    }


def save_states(
    cursor: Cursor, states: Mapping[str, StoredState], loaded: Mapping[str, StoredState]
) -> None:
    """Write states back, once after they were loaded.

    Args:
        cursor: of the transaction that loaded them.
        states: by key, what they are now.
        loaded: what was loaded, with where it lies.

    Raises:
        psycopg2.errors.UniqueViolation: another writer created one of the states first: roll
            back, load again and repeat.
    """
    old = sorted(key for key in states if key in loaded)
    new = sorted(key for key in states if key not in loaded)
    if old:
        places = [loaded[key].place for key in old]
        _UPDATE.execute(cursor, (places, *_columns([states[key] for key in old])))
    if new:
        _INSERT.execute(cursor, (new, *_columns([states[key] for key in new])))


def _columns(states: Sequence[StoredState]) -> tuple[object, ...]:
    """States and numbers as `_NEW` takes them."""
    parts = [each.state for each in states]
    sizes = [len(part) for part in parts]
    starts = list(accumulate(sizes[:-1], initial=1))
    return b"".join(parts), starts, sizes, [each.last_seq for each in states]
