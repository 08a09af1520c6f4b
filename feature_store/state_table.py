"""Entity states in PostgreSQL: lock and load, then save what changed."""

from collections.abc import Callable, Container, Iterable, Mapping
from itertools import accumulate
from typing import NamedTuple

from fraud.ledger.labels import MAKE_KNOWN
from fraud.ledger.statement import Cursor, Statement, answer

_LOAD_TEXT = """
    SELECT array_agg(key), array_agg(octet_length(state)), array_agg(last_seq),
        string_agg(state, '') {more}
    FROM (
        SELECT key, state, last_seq FROM entity_state WHERE key = ANY($1) ORDER BY key FOR UPDATE
    ) AS locked
"""
"""One row: what a row costs on its way is more than what a state does."""

_ROW = ("text[]", "int[]", "bigint[]", "bytea")

_LOAD = Statement("load_states", ("text[]",), _LOAD_TEXT.format(more=""), row=_ROW)

_CLAIM = Statement(
    "claim_states",
    ("text[]",),
    _LOAD_TEXT.format(more=f", {MAKE_KNOWN}"),
    row=_ROW,
)
"""The aggregates are complete, and so all rows locked, before the rest of their row is made."""

_NEW_TYPES = ("text[]", "bytea", "int[]", "int[]", "bigint[]")

_NEW = """
    SELECT key, substring($2 FROM start FOR size) AS state, last_seq
    FROM unnest($1, $3, $4, $5) AS one (key, start, size, last_seq)
"""
"""States as one value with places, for the same reason."""

_UPDATE = Statement(
    "update_states",
    _NEW_TYPES,
    f"""
    UPDATE entity_state AS kept SET state = new.state, last_seq = new.last_seq
    FROM ({_NEW}) AS new
    WHERE kept.key = new.key
    """,
)

_INSERT = Statement(
    "insert_states",
    _NEW_TYPES,
    f"""
    INSERT INTO entity_state (key, fraud_type, state, last_seq)
    SELECT new.key, split_part(new.key, ' ', 1), new.state, new.last_seq
    FROM ({_NEW}) AS new
    ORDER BY new.key
    """,
)


class StoredState(NamedTuple):
    """An encoded state and the observation number of the last thing it took in."""

    state: bytes
    last_seq: int


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
    found: list[str] | None, sizes: list[int], numbers: list[int], joined: bytes
) -> dict[str, StoredState]:
    if not found:
        return {}
    states, ends = bytes(joined), accumulate(sizes)
    return {
        key: StoredState(states[end - size : end], number)
        for key, size, number, end in zip(found, sizes, numbers, ends, strict=True)
    }


def save_states(cursor: Cursor, states: Mapping[str, StoredState], loaded: Container[str]) -> None:
    """Write states back.

    Args:
        cursor: of the transaction that loaded them.
        states: by key, what they are now.
        loaded: keys that existed when they were loaded.

    Raises:
        psycopg2.errors.UniqueViolation: another writer created one of the states first: roll
            back, load again and repeat.
    """
    old = sorted(key for key in states if key in loaded)
    new = sorted(key for key in states if key not in loaded)
    if old:
        _UPDATE.execute(cursor, _columns(old, states))
    if new:
        _INSERT.execute(cursor, _columns(new, states))


def _columns(keys: list[str], states: Mapping[str, StoredState]) -> tuple[object, ...]:
    """Keys, states and numbers as `_NEW` takes them."""
    parts = [states[key].state for key in keys]
    sizes = [len(part) for part in parts]
    starts = list(accumulate(sizes[:-1], initial=1))
    return keys, b"".join(parts), starts, sizes, [states[key].last_seq for key in keys]
