"""Entity states in PostgreSQL: lock and load, then save what changed."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

_LOAD = """
SELECT key, state, last_seq FROM entity_state WHERE key = ANY(%s) ORDER BY key FOR UPDATE
"""

_UPDATE = """
UPDATE entity_state AS kept SET state = new.state, last_seq = new.last_seq
FROM unnest(%s::text[], %s::bytea[], %s::bigint[]) AS new (key, state, last_seq)
WHERE kept.key = new.key
"""

_INSERT = """
INSERT INTO entity_state (key, fraud_type, state, last_seq)
SELECT new.key, split_part(new.key, ' ', 1), new.state, new.last_seq
FROM unnest(%s::text[], %s::bytea[], %s::bigint[]) AS new (key, state, last_seq)
ORDER BY new.key
ON CONFLICT (key) DO NOTHING
"""


class StateRace(Exception):
    """Another writer created one of the states first: roll back, load again and repeat."""


@dataclass(frozen=True, slots=True)
class StoredState:
    """An encoded state and the observation number of the last thing it took in."""

    state: bytes
    last_seq: int


def load_states(cursor: Cursor, keys: Iterable[str]) -> dict[str, StoredState]:
    """Lock and load the states of these keys; keys never seen are left out.

    Rows are locked in key order, so that writers wait for each other and never in a circle.
    The locks last until the transaction ends.
    """
    cursor.execute(_LOAD, (sorted(set(keys)),))
    return {key: StoredState(bytes(state), last_seq) for key, state, last_seq in cursor}


def save_states(cursor: Cursor, states: Mapping[str, StoredState], loaded: Container[str]) -> None:
    """Write states back.

    Args:
        cursor: of the transaction that loaded them.
        states: by key, what they are now.
        loaded: keys that existed when they were loaded.

    Raises:
        StateRace: a state that did not exist when loaded does now.
    """
    old = sorted(key for key in states if key in loaded)
    new = sorted(key for key in states if key not in loaded)
    if old:
        cursor.execute(_UPDATE, _columns(old, states))
    if new:
        cursor.execute(_INSERT, _columns(new, states))
        if cursor.rowcount != len(new):
            raise StateRace


def _columns(
    keys: list[str], states: Mapping[str, StoredState]
) -> tuple[list[str], list[bytes], list[int]]:
    return keys, [states[key].state for key in keys], [states[key].last_seq for key in keys]
