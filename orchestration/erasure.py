"""`fraud erase`: a person out of every store, and a receipt of what was found where.

Log first, ledger and states second, receipt last. Whatever is cut off is taken up by the next
run for the same person: names that were exchanged are exchanged alike again.
"""

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field

import pandas as pd
from psycopg2.extensions import cursor as Cursor

from bentos.scoring.journal import Journal
from feature_store.erasing import (
    Names,
    events_of_person,
    keys_of,
    lock,
    rebuild_states,
    rename_in_lake,
    renamed,
)
from feature_store.erasing import values_of_others as others_in_lake
from feature_store.lake import Lake
from feature_store.schema import empty_frame
from feature_store.tail import known_events
from feature_store.tail_frames import events_frame
from fraud.domain.errors import InvalidField, NotFound, UnavailableError
from fraud.domain.event import field_kinds, to_us
from fraud.domain.fraud_type import FraudType
from fraud.ledger import erasures
from fraud.ledger.audit import AuditEntry, append, claim_chain
from fraud.ledger.embedded import ledger_url
from fraud.ledger.engine import connect
from fraud.ledger.erasure_requests import settle_request, waiting_requests
from fraud.ledger.outbox import announce_erasure
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.schema import migrate
from fraud.security.encryption import FieldProtection, field_protection
from fraud.settings import Settings
from fraud.types.registry import fraud_types
from orchestration.frames import FrameStore

CHAIN = "erasure"
FRESH = dt.timedelta(hours=6)
"""A rebuild of states that has not ended after so long will not end any more."""


@dataclass(frozen=True)
class Person:
    """Whose data is to be erased: values by field, e.g. `{"user_id": "USER_1"}`."""

    values: Mapping[str, str]


@dataclass
class _Found:
    """What there is of a person in one fraud type."""

    kind: FraudType
    values: Mapping[str, str]
    lake: pd.DataFrame
    rows: list[erasures.PersonRow] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        named = [row.transaction_id for row in self.rows]
        return list(dict.fromkeys([*self.lake["transaction_id"].tolist(), *named]))

    @property
    def counts(self) -> dict[str, int]:
        return {"lake_events": len(self.lake), "transactions": len(self.rows)}


def erase_person(
    settings: Settings,
    person: Person,
    *,
    actor: str,
    reason: str,
    origin: str = "",
    is_trial: bool = False,
) -> dict[str, object]:
    """Erase a person; the receipt, or with `is_trial` what would be erased.

    Raises:
        InvalidField: no fraud type has such a field.
        UnavailableError: decisions of the person wait in the journal, or states are being rebuilt.
    """
    known = {name for kind in fraud_types().values() for name in _fields(kind)}
    for name in person.values:
        if name not in known:
            raise InvalidField([(name, "is no text field of any fraud type", "Name another one.")])
    url = ledger_url(settings)
    migrate(url)
    pool = ConnectionPool(url, size=2)
    with closing(pool):
        return _Work(settings, pool, person, actor, reason, origin).run(is_trial=is_trial)


def erase_requested(settings: Settings) -> list[dict[str, object]]:
    """Carry out every request that waits, each in the name of who asked; the receipts.

    Raises:
        FraudError: one cannot be carried out; those before it are done.
    """
    url = ledger_url(settings)
    migrate(url)
    receipts = []
    with closing(ConnectionPool(url, size=1)) as pool:
        with pool.transaction() as cursor:
            waiting = waiting_requests(cursor, field_protection(settings))
        for each in waiting:
            person = Person(each.values)
            receipt = erase_person(settings, person, actor=each.requested_by, reason=each.reason)
            with pool.transaction() as cursor:
                settle_request(cursor, each.request_id, str(receipt["erasure_id"]))
            receipts.append(receipt)
    return receipts


class _Work:
    def __init__(
        self,
        settings: Settings,
        pool: ConnectionPool,
        person: Person,
        actor: str,
        reason: str,
        origin: str,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._person = person
        self._who = actor, origin
        self._reason = reason
        self._keep: FieldProtection = field_protection(settings)
        self._lake = Lake(settings.lake_url)
        content = json.dumps(sorted(person.values.items()))
        self._subject = self._keep.digest(b"erasure " + content.encode())

    def run(self, *, is_trial: bool) -> dict[str, object]:
        self._refuse_what_waits()
        if is_trial:
            found = [self._find(kind) for kind in fraud_types().values()]
            return {each.kind.name: each.counts for each in found if each.ids}
        with self._pool.transaction() as cursor:
            earlier = erasures.earlier_receipt(cursor, self._subject)
            if earlier is not None and not any(self._find(k).ids for k in fraud_types().values()):
                return earlier
            erasure = erasures.begin_erasure(
                cursor, str(uuid.uuid4()), self._subject, self._who[0], self._reason
            )
        report: dict[str, object] = {}
        for kind in fraud_types().values():
            counts = self._erase_in(kind, erasure)
            if any(counts.values()):
                report[kind.name] = counts
        return self._finish(erasure, report)

    def _refuse_what_waits(self) -> None:
        """A decision that still waits would bring the person back."""
        if not self._settings.journal_dir.is_dir():
            return
        settings = self._settings
        journal = Journal(settings.journal_dir, settings.journal_max_bytes, self._keep.keys)
        waiting = [entry.request.event for entry in journal.first(2**31)]
        theirs = [
            event
            for event in waiting
            if any(event.fields.get(name) == value for name, value in self._person.values.items())
        ]
        if theirs:
            raise UnavailableError(
                f"{len(theirs)} decisions of this person wait in the journal for the ledger.",
                remedy="Let the service bring them home, which takes seconds, and run again.",
            )

    def _values(self, kind: FraudType) -> dict[str, str]:
        """What the person's values look like in a fraud type's rows."""
        return {
            name: self._keep.stored(kind.name, name, value)
            for name, value in self._person.values.items()
            if name in _fields(kind)
        }

    def _find(self, kind: FraudType, erasure: erasures.Erasure | None = None) -> _Found:
        """What there is, also under the names that a run which was cut off gave already."""
        values = self._values(kind)
        if not values:
            return _Found(kind, values, empty_frame(kind, "events"))
        wanted = {name: [value] for name, value in values.items()}
        back: dict[str, dict[str, str]] = {}
        if erasure is not None:
            for name, value in values.items():
                tombstone = erasure.tombstone(name, value)
                wanted[name].append(tombstone)
                back[name] = {tombstone: value}
        events = events_of_person(self._lake, kind, wanted)
        events = renamed(kind, events, events["transaction_id"].tolist(), back)
        with self._pool.transaction() as cursor:
            rows = erasures.rows_of_person(cursor, kind.name, values)
        return _Found(kind, values, events, rows)

    def _erase_in(self, kind: FraudType, erasure: erasures.Erasure) -> dict[str, int]:
        with self._lake.writing(kind):
            found = self._find(kind, erasure)
            names = self._names(found, erasure)
            counts = {"lake_events": len(found.lake)}
            if len(found.lake):
                rename_in_lake(self._lake, kind, found.lake, names)
                counts["frame_rows"] = self._rename_in_frame(found, names)
            self._refuse_during_rebuild(kind)
            with self._pool.transaction() as cursor:
                counts |= self._erase_in_ledger(cursor, found, names, erasure)
        return counts

    def _names(self, found: _Found, erasure: erasures.Erasure) -> Names:
        """New names: of the values given, and of what nobody else shares with the person."""
        names = {
            name: {value: erasure.tombstone(name, value)} for name, value in found.values.items()
        }
        for name in self._keep.sensitive[found.kind.name]:
            own = {row.fields.get(name) for row in found.rows} | set(found.lake[name].dropna())
            values = sorted(str(value) for value in own if value is not None)
            if not values or name in found.values:
                continue
            shared = others_in_lake(self._lake, found.kind, name, values, found.ids)
            with self._pool.transaction() as cursor:
                shared |= erasures.values_of_others(
                    cursor, found.kind.name, name, values, found.ids
                )
            names[name] = {
                value: erasure.tombstone(name, value)
                for value in values
                if value not in shared and not value.startswith(erasures.TOMBSTONE)
            }
        return names

    def _rename_in_frame(self, found: _Found, names: Names) -> int:
        """The training frame repeats the fields of its events."""
        store = FrameStore(f"{self._settings.lake_url}/{found.kind.name}/frame")
        try:
            info, frame = store.info(), store.frame()
        except NotFound:
            return 0
        is_theirs = frame["transaction_id"].isin(found.ids)
        if is_theirs.any():
            store.write(renamed(found.kind, frame, found.ids, names), store.labels(), info)
        return int(is_theirs.sum())

    def _refuse_during_rebuild(self, kind: FraudType) -> None:
        with self._pool.transaction() as cursor:
            cursor.execute(
                """
                SELECT count(*) FROM materialisations
                WHERE fraud_type = %s AND done_event_id IS NULL AND started_at > now() - %s
                    AND id = (SELECT max(id) FROM materialisations WHERE fraud_type = %s)
                """,
                (kind.name, FRESH, kind.name),
            )
            if cursor.fetchall()[0][0]:
                raise UnavailableError(
                    f"The states of {kind.name} are being rebuilt from the log as it was.",
                    remedy="Run again when the pipeline has ended; it goes on where it stopped.",
                )

    def _erase_in_ledger(
        self, cursor: Cursor, found: _Found, names: Names, erasure: erasures.Erasure
    ) -> dict[str, int]:
        kind = found.kind
        if not found.values:
            return {}
        seen = self._theirs(cursor, kind, found)
        after = self._new(seen, names, kind)
        loaded = lock(cursor, kind, keys_of(kind, seen) | keys_of(kind, after))
        rows = erasures.rows_of_person(cursor, kind.name, found.values, locked=True)
        late = {row.transaction_id for row in rows} - {row.transaction_id for row in found.rows}
        if late:
            raise UnavailableError(
                f"{len(late)} more decisions of this person were made meanwhile.",
                remedy="Run again; it goes on where it stopped.",
            )
        counts = {}
        if rows:
            changed = [(row, _buried(row.fields, names)) for row in rows]
            counts = erasures.bury(cursor, erasure, changed)
        if len(seen):
            states = rebuild_states(cursor, self._lake, kind, seen, after, loaded)
            counts |= {"states_removed": states.removed, "states_rebuilt": states.rebuilt}
        counts["quarantined_rows"] = erasures.empty_quarantine(
            cursor, kind.name, found.values, found.ids
        )
        subject = names.get(kind.subject, {})
        counts["messages_renamed"] = erasures.rename_messages(cursor, erasure, subject)
        if found.ids:
            key = next(iter(subject.values()), erasure.erasure_id)
            now = dt.datetime.now(dt.UTC)
            told = announce_erasure(cursor, erasure.erasure_id, key, found.ids, now)
            counts["erasure_messages"] = len(told)
        return counts

    def _theirs(self, cursor: Cursor, kind: FraudType, found: _Found) -> pd.DataFrame:
        """The person's events of lake and ledger under their old names."""
        ids = [row.transaction_id for row in found.rows]
        tail = list(known_events(cursor, kind, ids).values())
        parts = [part for part in (found.lake, events_frame(kind, tail)) if len(part)]
        return pd.concat(parts, ignore_index=True) if parts else empty_frame(kind, "events")

    def _new(self, seen: pd.DataFrame, names: Names, kind: FraudType) -> pd.DataFrame:
        return renamed(kind, seen, seen["transaction_id"].tolist(), names)

    def _finish(self, erasure: erasures.Erasure, report: dict[str, object]) -> dict[str, object]:
        now = dt.datetime.now(dt.UTC)
        actor, origin = self._who
        with closing(connect(self._pool.url)) as session:
            chain = claim_chain(session, CHAIN)
            with self._pool.transaction() as cursor:
                listed = erasures.listed(cursor, list(self._person.values.values()))
                receipt: dict[str, object] = {
                    "erasure_id": erasure.erasure_id,
                    "erased_at": now.isoformat(),
                    "by": actor,
                    "reason": self._reason,
                    "erased": report,
                    "kept": {"list_entries": listed},
                    "audit_chain": chain,
                }
                erasures.end_erasure(cursor, erasure, now, receipt)
                detail = {"erased": report, "kept": receipt["kept"]}
                entry = AuditEntry(
                    actor, "erase", "success", origin, "erasure", erasure.erasure_id, detail
                )
                append(cursor, chain, [entry], to_us(now))
        return receipt


def _fields(kind: FraudType) -> list[str]:
    return [name for name, form in field_kinds(kind.transaction).items() if form == "text"]


def _buried(fields: Mapping[str, object], names: Names) -> dict[str, object]:
    """The fields of a row without the person."""
    kept = dict(fields)
    for name, new in names.items():
        if kept.get(name) is not None:
            kept[name] = new.get(str(kept[name]), kept[name])
    return kept | {name: None for name in ("latitude", "longitude") if name in kept}
