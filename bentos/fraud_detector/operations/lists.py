"""Lists: make them, look at them, put values on them, take values off."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from bentos.fraud_detector.operations.desk import Work
from bentos.fraud_detector.operations.routing import (
    Answer,
    Asked,
    Limit,
    Prose,
    Sent,
    StrictRoute,
    optional,
    shown_time,
)
from fraud.domain.errors import InvalidField
from fraud.domain.event import Timestamp, field_kinds, to_us
from fraud.domain.ruleset import ListKind
from fraud.ledger.lists import (
    StoredList,
    add_entries,
    create_list,
    entries_of,
    list_named,
    lists_of,
    remove_entries,
)

router = APIRouter(route_class=StrictRoute, tags=["lists"])

MOST_ENTRIES = 1000

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,49}$")]
InPath = Annotated[str, Path(max_length=50)]
Value = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[!-~]+$")]


class NewList(Sent):
    """A list to be made."""

    name: Name = Field(description="Rules call it lists.<name>.")
    kind: ListKind = Field(description="What a hit does; reference lists act through rules only.")
    field: str = Field(description="Text field of the event whose value is looked up.")
    description: Prose = Field(default="", max_length=300)


class NewEntry(Sent):
    """A value to be listed."""

    value: Value
    reason: Prose = Field(min_length=1, max_length=300)
    expires_at: Timestamp | None = Field(default=None, description="Until when; always if absent.")


class NewEntries(Sent):
    """Values to be listed."""

    entries: list[NewEntry] = Field(min_length=1, max_length=MOST_ENTRIES)


class Removal(Sent):
    """Values to be taken off."""

    values: list[Value] = Field(min_length=1, max_length=MOST_ENTRIES)
    reason: Prose = Field(min_length=1, max_length=300)


class ListShown(Answer):
    """A list."""

    name: str
    kind: ListKind
    field: str
    description: str
    entry_count: int
    created_by: str
    created_at: dt.datetime


class ListsShown(Answer):
    """All lists of a fraud type."""

    lists: list[ListShown]


class EntryShown(Answer):
    """A value on a list."""

    value: str
    reason: str
    expires_at: dt.datetime | None
    added_by: str
    added_at: dt.datetime


class EntriesShown(Answer):
    """A page of a list."""

    about: ListShown
    entries: list[EntryShown]
    next: str | None = Field(description="Send it as `after` for the next page; null at the end.")


class ListChanged(Answer):
    """What a change of entries did."""

    name: str
    changed: int = Field(description="Entries added or removed.")


@router.get("/lists")
async def show_lists(asked: Asked) -> ListsShown:
    """List the lists of a fraud type."""

    def work(at: Work) -> ListsShown:
        found = lists_of(at.cursor, asked.fraud_type)
        at.record("lists.read", "lists", asked.fraud_type, count=len(found))
        return ListsShown(lists=[_shown(each) for each in found])

    return await asked.run(work)


@router.post("/lists", status_code=201)
async def make_list(asked: Asked, sent: NewList) -> ListShown:
    """Make an empty list."""
    texts = [n for n, kind in field_kinds(asked.kind.transaction).items() if kind == "text"]
    if sent.field not in texts:
        what = f"{sent.field!r} is not a text field of {asked.fraud_type}"
        raise InvalidField([("field", what, f"Use one of {', '.join(texts)}.")])

    def work(at: Work) -> ListShown:
        made = create_list(
            at.cursor,
            asked.fraud_type,
            sent.name,
            sent.kind,
            sent.field,
            sent.description,
            at.actor,
            at.now_us,
        )
        at.record("list.create", "list", sent.name, kind=sent.kind, field=sent.field)
        return _shown(made)

    return await asked.run(work)


@router.get("/lists/{name}")
async def show_list(
    asked: Asked,
    name: InPath,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 100,
) -> EntriesShown:
    """Show a list and its entries, by value."""

    def work(at: Work) -> EntriesShown:
        found = list_named(at.cursor, asked.fraud_type, name)
        entries = entries_of(at.cursor, found.list_id, after=after, limit=limit + 1)
        at.record("list.read", "list", name, count=min(len(entries), limit))
        return EntriesShown(
            about=_shown(found),
            entries=[
                EntryShown(
                    value=each.value,
                    reason=each.reason,
                    expires_at=optional(shown_time, each.expires_at_us),
                    added_by=each.added_by,
                    added_at=shown_time(each.added_at_us),
                )
                for each in entries[:limit]
            ],
            next=entries[limit - 1].value if len(entries) > limit else None,
        )

    return await asked.run(work)


@router.post("/lists/{name}/entries")
async def put_on(asked: Asked, name: InPath, sent: NewEntries) -> ListChanged:
    """Put values on a list, or give them a new reason or expiry; they count within a second."""
    entries = [(each.value, each.reason, optional(to_us, each.expires_at)) for each in sent.entries]

    def work(at: Work) -> ListChanged:
        past = [value for value, _, at_us in entries if at_us is not None and at_us <= at.now_us]
        if past:
            what = f"of {past[0]!r} lies in the past"
            raise InvalidField([("expires_at", what, "Send a time to come, or leave it out.")])
        add_entries(at.cursor, asked.fraud_type, name, entries, at.actor, at.now_us)
        for value, reason, at_us in entries:
            expires = optional(shown_time, at_us)
            entry = asked.desk.protection.reference(value)
            at.record("list.add", "list", name, entry=entry, reason=reason, expires_at=expires)
        return ListChanged(name=name, changed=len({value for value, _, _ in entries}))

    return await asked.run(work)


@router.post("/lists/{name}/removals")
async def take_off(asked: Asked, name: InPath, sent: Removal) -> ListChanged:
    """Take values off a list; it counts within a second."""

    def work(at: Work) -> ListChanged:
        count = remove_entries(at.cursor, asked.fraud_type, name, sent.values, at.actor, at.now_us)
        for value in sent.values:
            entry = asked.desk.protection.reference(value)
            at.record("list.remove", "list", name, entry=entry, reason=sent.reason)
        return ListChanged(name=name, changed=count)

    return await asked.run(work)


def _shown(stored: StoredList) -> ListShown:
    return ListShown(
        name=stored.name,
        kind=stored.kind,
        field=stored.field,
        description=stored.description,
        entry_count=stored.entry_count,
        created_by=stored.created_by,
        created_at=shown_time(stored.created_at_us),
    )
