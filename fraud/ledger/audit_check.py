"""Checking the audit log: recompute every hash, follow every chain, compare every head."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg2.extensions import connection as Connection

from fraud.domain.event import to_us
from fraud.ledger.audit import StoredRecord, genesis

MOST_FINDINGS = 1000
"""Findings listed one by one; more are only counted."""

Kind = Literal["edited", "moved", "removed", "replaced", "truncated", "inserted", "anchor"]


@dataclass(frozen=True, slots=True)
class Anchor:
    """The head of a chain at some time: its last position and that record's hash."""

    chain: str
    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with the log.

    Attributes:
        chain: in which chain.
        position: at which record.
        kind: what happened to it.
        text: one sentence for people.
    """

    chain: str
    position: int
    kind: Kind
    text: str


@dataclass
class AuditReport:
    """What a check of the log found.

    Attributes:
        records: records read.
        chains: chains read.
        found: findings in all; `findings` lists the first `MOST_FINDINGS`.
    """

    records: int = 0
    chains: int = 0
    found: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_intact(self) -> bool:
        """Whether nothing was found."""
        return self.found == 0

    def add(self, chain: str, position: int, kind: Kind, text: str) -> None:
        """Note a finding."""
        self.found += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(chain, position, kind, text))


def anchors(connection: Connection) -> list[Anchor]:
    """The heads of all chains now, to be kept where the ledger's owner cannot reach."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT chain, position, hash FROM audit_anchor ORDER BY chain")
        return [Anchor(row[0], row[1], bytes(row[2])) for row in cursor.fetchall()]


def verify(connection: Connection, trusted: Sequence[Anchor] = ()) -> AuditReport:
    """Check every record of every chain, in one snapshot of the database.

    Args:
        connection: an idle connection, not in autocommit.
        trusted: heads noted earlier and kept elsewhere; they uncover a log that was rewritten
            as a whole.
    """
    report = AuditReport()
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    heads = {anchor.chain: anchor for anchor in anchors(connection)}
    vanished = {anchor.chain for anchor in trusted} - set(heads)
    check: _ChainCheck | None = None
    for record, stored_hash in _records(connection):
        if check is None or check.chain != record.chain:
            if check is not None:
                check.finish()
            check = _ChainCheck(record.chain, heads.pop(record.chain, None), trusted, report)
            vanished.discard(record.chain)
        check.take(record, stored_hash)
    if check is not None:
        check.finish()
    for chain, anchor in heads.items():
        _ChainCheck(chain, anchor, trusted, report).finish()
    for chain in sorted(vanished):
        _ChainCheck(chain, None, trusted, report).finish()
    connection.rollback()
    return report


def _records(connection: Connection) -> Iterator[tuple[StoredRecord, bytes]]:
    with connection.cursor("audit_check") as cursor:
        cursor.itersize = 5000
        cursor.execute(
            """
            SELECT chain, position, recorded_at, actor, action, outcome, origin, object_type,
                object_id, detail::text, prev_hash, hash
            FROM audit_log ORDER BY chain, position
            """
        )
        row: tuple[Any, ...]
        for row in cursor:
            record = StoredRecord(
                chain=row[0],
                position=row[1],
                recorded_at_us=to_us(row[2]),
                actor=row[3],
                action=row[4],
                outcome=row[5],
                origin=row[6],
                object_type=row[7],
                object_id=row[8],
                detail=row[9],
                prev_hash=bytes(row[10]),
            )
            yield record, bytes(row[11])


class _ChainCheck:
    """Follows one chain from its first record to its anchor."""

    def __init__(
        self, chain: str, anchor: Anchor | None, trusted: Sequence[Anchor], report: AuditReport
    ) -> None:
        self.chain = chain
        self._anchor = anchor
        self._report = report
        self._expected: dict[int, list[bytes]] = {}
        for each in (*trusted, *([anchor] if anchor else [])):
            if each.chain == chain and each.position > 0:
                self._expected.setdefault(each.position, []).append(each.hash)
        self._position = 0
        self._hash: bytes | None = genesis(chain)
        self._broken: list[tuple[StoredRecord, bytes]] = []
        report.chains += 1

    def take(self, record: StoredRecord, stored_hash: bytes) -> None:
        """Check the next record."""
        self._report.records += 1
        if record.position > self._position + 1:
            self._missing(self._position + 1, record.position - 1, "removed")
            self._hash = None
        if record.hash() != stored_hash:
            self._take_broken(record, stored_hash)
        elif self._hash is not None and record.prev_hash != self._hash:
            self._note(
                record.position,
                "replaced",
                f"follows another record than the one now at {self._position}",
            )
        if self._anchor is not None and record.position > self._anchor.position:
            self._note(record.position, "inserted", "lies beyond the chain's anchor")
        if any(each != stored_hash for each in self._expected.pop(record.position, ())):
            self._note(record.position, "replaced", "is another than the one that was anchored")
        self._position, self._hash = record.position, stored_hash

    def finish(self) -> None:
        """Check the end of the chain, and say what became of the records that do not add up."""
        last = max([self._position, *self._expected])
        if last > self._position:
            self._missing(self._position + 1, last, "truncated")
        if self._anchor is None:
            self._note(self._position, "anchor", "has no anchor")
        places = [record.position for record, _ in self._broken]
        for record, stored_hash in self._broken:
            origin = _origin(record, stored_hash, places)
            if origin is None:
                self._note(record.position, "edited", "is not what was recorded")
            else:
                self._note(record.position, "moved", f"was recorded at position {origin}")

    def _take_broken(self, record: StoredRecord, stored_hash: bytes) -> None:
        if len(self._broken) < MOST_FINDINGS:  # looked at again when the chain is read
            self._broken.append((record, stored_hash))
        else:
            self._note(record.position, "edited", "is not what was recorded")

    def _missing(self, first: int, last: int, kind: Kind) -> None:
        which = f"Record {first} is" if first == last else f"Records {first} to {last} are"
        self._report.add(self.chain, first, kind, f"{which} missing from chain {self.chain!r}.")

    def _note(self, position: int, kind: Kind, what: str) -> None:
        text = f"Record {position} of chain {self.chain!r} {what}."
        self._report.add(self.chain, position, kind, text)


def _origin(record: StoredRecord, stored_hash: bytes, places: Sequence[int]) -> int | None:
    """The position a record was written at, if it stands elsewhere and is else unchanged."""
    for place in (record.position - 1, record.position + 1, *places):
        if record._replace(position=place).hash() == stored_hash:
            return place
    return None
