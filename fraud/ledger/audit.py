"""The audit log: who did what to which object, from where, with what outcome; append-only.

Records form chains. Each record's hash covers its content, its chain, its position and the
hash of the record before it, so that altering, removing, inserting or moving one breaks the
chain (`fraud.ledger.audit_check` finds where). One writer has one chain: writers never wait
for each other's head. The head is repeated in `audit_anchor`, in the same transaction, so
that records cut off at the end are missed as well.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Literal, NamedTuple

from psycopg2.extensions import connection as Connection

from fraud.domain.errors import ContractError
from fraud.domain.event import from_us, text_id
from fraud.ledger.statement import Cursor, Statement
from fraud.security.masking import holds_card_number, masked, masked_record

LONGEST_TEXT = 200
"""Characters kept of an id or address; refused requests may carry longer ones."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was done or tried.

    Attributes:
        actor: who, e.g. the token's subject.
        action: what, as a stable name such as `transaction.scored`.
        outcome: whether it happened.
        origin: where the caller called from, e.g. its network address.
        object_type: kind of the object, e.g. `transaction`.
        object_id: which object.
        detail: what else matters, as JSON.
    """

    actor: str
    action: str
    outcome: Literal["success", "failure"]
    origin: str
    object_type: str
    object_id: str
    detail: Mapping[str, object] = field(default_factory=dict)


class Head(NamedTuple):
    """The end of a chain: its last record's position and hash."""

    position: int
    hash: bytes


class StoredRecord(NamedTuple):
    """A record as its columns say, times in microseconds UTC."""

    chain: str
    position: int
    recorded_at_us: int
    actor: str
    action: str
    outcome: str
    origin: str
    object_type: str
    object_id: str
    detail: str
    prev_hash: bytes

    def hash(self) -> bytes:
        """SHA-256 over all of the record, as one JSON array: no two contents read the same."""
        parts = [_quoted(self.chain), str(self.position), f'"{self.prev_hash.hex()}"']
        parts += str(self.recorded_at_us), *map(_quoted, self[3:10])
        return hashlib.sha256(f"[{', '.join(parts)}]".encode()).digest()


_quoted = encode_basestring_ascii
"""A text as JSON writes it, in ASCII."""


def genesis(chain: str) -> bytes:
    """What stands for the hash before a chain's first record."""
    return hashlib.sha256(json.dumps(["audit chain", chain]).encode()).digest()


def one_line(text: str) -> str:
    r"""The text as printable characters of one line; different texts stay different.

    But for card numbers, which are masked. Control, format and other unprintable characters
    become `\u` escapes, a backslash becomes two, and what is longer than `LONGEST_TEXT` ends
    in its length and digest.
    """
    text = masked(text)
    if len(text) > LONGEST_TEXT:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return f"{_escaped(text[:LONGEST_TEXT])}\\...[{len(text)} characters, {digest}]"
    return _escaped(text)


_familiar = lru_cache(1024)(one_line)
"""For actors, origins and kinds, which are few."""


def _escaped(text: str) -> str:
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        "\\\\"
        if each == "\\"
        else each
        if each.isprintable()
        else f"\\u{ord(each):04x}"
        if ord(each) <= 0xFFFF
        else f"\\U{ord(each):08x}"
        for each in text
    )


def claim_chain(connection: Connection, prefix: str) -> str:
    """Make a chain this session's own; see `claim_chains`."""
    return claim_chains(connection, prefix, 1)[0]


def claim_chains(connection: Connection, prefix: str, count: int) -> tuple[str, ...]:
    """Make chains this session's own: the first of `<prefix>-1`, `<prefix>-2`, ... that are free.

    The claims end with the session. They keep writers out of each other's way; what keeps a
    chain whole is the lock `append` takes.

    Args:
        connection: an idle connection that stays open as long as the chains are used. What it
            claimed before counts as free.
        prefix: kind of writer, e.g. `service`.
        count: how many.
    """
    claimed: list[str] = []
    with connection.cursor() as cursor:
        for number in itertools.count(1):
            chain = f"{prefix}-{number}"
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (text_id(f"audit {chain}"),))
            row = cursor.fetchone()
            if row is not None and row[0]:
                cursor.execute(
                    """
                    INSERT INTO audit_anchor (chain, position, hash, updated_at)
                    VALUES (%s, 0, %s, now()) ON CONFLICT DO NOTHING
                    """,
                    (chain, genesis(chain)),
                )
                claimed.append(chain)
            if len(claimed) == count:
                break
    connection.commit()
    return tuple(claimed)


_HEAD = Statement(
    "audit_head",
    ("text",),
    "SELECT position, hash FROM audit_anchor WHERE chain = $1 FOR UPDATE",
)

_APPEND = Statement(
    "audit_append",
    ("text", "timestamptz", "bigint", "bytea", "bytea", "bytea", *["text[]"] * 7),
    """
    WITH appended AS (
        INSERT INTO audit_log (
            chain, position, recorded_at, actor, action, outcome, origin, object_type,
            object_id, detail, prev_hash, hash
        )
        SELECT $1, $3 - cardinality($7) + place, $2, actor, action, outcome, origin, object_type,
            object_id, detail::json,
            CASE place WHEN 1 THEN $5 ELSE substring($6 FROM 32 * place - 63 FOR 32) END,
            substring($6 FROM 32 * place - 31 FOR 32)
        FROM (
            SELECT generate_series(1, cardinality($7)) AS place, unnest($7) AS actor,
                unnest($8) AS action, unnest($9) AS outcome, unnest($10) AS origin,
                unnest($11) AS object_type, unnest($12) AS object_id, unnest($13) AS detail
        ) AS record
    )
    UPDATE audit_anchor SET position = $3, hash = $4, updated_at = $2 WHERE chain = $1
    """,
)
"""Texts as columns; the hashes, of 32 bytes each, in one piece, and the one before them."""


def append(
    cursor: Cursor,
    chain: str,
    entries: Sequence[AuditEntry],
    now_us: int,
    head: Head | None = None,
) -> Head | None:
    """Add entries to a chain, in the caller's transaction.

    The chain's head stays locked until the transaction ends: append last.

    Args:
        cursor: of the transaction that does what the entries say.
        chain: a chain from `claim_chain`.
        entries: what was done, in order.
        now_us: the time, microseconds UTC.
        head: what this returned in the writer's last transaction, if that was committed;
            saves a round trip.

    Returns:
        The chain's new head.

    Raises:
        ContractError: the chain was never claimed.
        psycopg2.errors.UniqueViolation: somebody else wrote to the chain since `head`.
    """
    if not entries:
        return head
    position, before = head or _read_head(cursor, chain)
    last_hash, hashes, texts = before, [], []
    for entry in entries:
        position += 1
        record = StoredRecord(
            chain=chain,
            position=position,
            recorded_at_us=now_us,
            actor=_familiar(entry.actor),
            action=_familiar(entry.action),
            outcome=entry.outcome,
            origin=_familiar(entry.origin),
            object_type=_familiar(entry.object_type),
            object_id=one_line(entry.object_id),
            detail=_json(entry.detail),
            prev_hash=last_hash,
        )
        last_hash = record.hash()
        hashes.append(last_hash)
        texts.append(record[3:10])
    end = (chain, from_us(now_us), position, last_hash)
    columns = [list(column) for column in zip(*texts, strict=True)]
    _APPEND.execute(cursor, (*end, before, b"".join(hashes), *columns))
    return Head(position, last_hash)


def _read_head(cursor: Cursor, chain: str) -> Head:
    """The head, locked."""
    _HEAD.execute(cursor, (chain,))
    for position, last_hash in cursor.fetchall():
        return Head(position, bytes(last_hash))
    raise ContractError(f"There is no audit chain {chain!r}.", remedy="Get one from claim_chain.")


_CANONICAL = json.JSONEncoder(sort_keys=True, default=str, allow_nan=False)


def _json(detail: Mapping[str, object]) -> str:
    """Canonical JSON, ASCII only; what JSON cannot say is written as text, no card number is."""
    try:
        if all(type(value) is str for value in detail.values()):  # most are so, and many
            pairs = [f"{_quoted(name)}: {_quoted(str(detail[name]))}" for name in sorted(detail)]
            text = f"{{{', '.join(pairs)}}}"
        else:
            text = _CANONICAL.encode(detail)
    except ValueError:
        detail = json.loads(json.dumps(detail, default=str), parse_constant=str)
        text = json.dumps(detail, sort_keys=True)
    if not holds_card_number(text):
        return text
    return json.dumps(masked_record(json.loads(text)), sort_keys=True)
