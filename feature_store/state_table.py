"""Entity states in PostgreSQL: lock and load, then save what changed."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from fraud.ledger.statement import Cursor, Statement

_LOAD = Statement(
    "load_states",
    ("text[]",),
    "SELECT key, state, last_seq FROM entity_state WHERE key = ANY($1) ORDER BY key FOR UPDATE",
)

_UPDATE = Statement(
    "update_states",
    ("text[]", "bytea[]", "bigint[]"),
    """
    UPDATE entity_state AS kept SET state = new.state, last_seq = new.last_seq
    FROM unnest($1, $2, $3) AS new (key, state, last_seq)
    WHERE kept.key = new.key
    """,
)

_INSERT = Statement(
    "insert_states",
    ("text[]", "bytea[]", "bigint[]"),
    """
    INSERT INTO entity_state (key, fraud_type, state, last_seq)
    SELECT new.key, split_part(new.key, ' ', 1), new.state, new.last_seq
    FROM unnest($1, $2, $3) AS new (key, state, last_seq)
    ORDER BY new.key
    ON CONFLICT (key) DO NOTHING
    RETURNING 1
    """,
)


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
    _LOAD.execute(cursor, (_texts(sorted(set(keys))),))
    return {key: StoredState(bytes(state), last_seq) for key, state, last_seq in cursor.fetchall()}


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
        _UPDATE.execute(cursor, _columns(old, states))
    if new:
        _INSERT.execute(cursor, _columns(new, states))
        if len(cursor.fetchall()) != len(new):
            raise StateRace


def _columns(keys: list[str], states: Mapping[str, StoredState]) -> tuple[str, str, str]:
    """Keys, states and numbers as array literals.

    The server reads a literal in one go; of the `ARRAY[...]` that lists become it would parse
    and plan every element as an expression.
    """
    return (
        _texts(keys),
        "{" + ",".join([f'"\\\\x{states[key].state.hex()}"' for key in keys]) + "}",
        "{" + ",".join([str(states[key].last_seq) for key in keys]) + "}",
    )


def _texts(values: list[str]) -> str:
    escaped = [value.replace("\\", r"\\").replace('"', r"\"") for value in values]
    return "{" + ",".join([f'"{value}"' for value in escaped]) + "}"
