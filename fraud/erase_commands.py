"""`fraud erase`: a person out of every store, with a receipt."""

import getpass
import json
from typing import Annotated

import typer

from fraud.failure import clear_errors
from fraud.settings import load_settings


def erase(
    user_id: Annotated[
        str | None, typer.Argument(help="Whose data.", metavar="USER_ID", show_default=False)
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(help="Another value that is theirs, e.g. email=ann@example.org."),
    ] = None,
    requested: Annotated[
        bool, typer.Option("--requested", help="Carry out what POST /erasures was asked for.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why; the receipt keeps it.")] = "requested",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be erased, and change nothing.")
    ] = False,
) -> None:
    """Erase a person from ledger, log, states, quarantine and what listens; print the receipt.

    Cut off, it is finished by the same command. Given again, it prints the same receipt.
    """
    with clear_errors():
        from fraud.domain.errors import InvalidField
        from orchestration.erasure import Person, erase_person, erase_requested

        if requested or user_id is None:
            if user_id is not None or not requested:
                remedy = "fraud erase USER_ID, or: fraud erase --requested"
                raise InvalidField([("USER_ID", "either it or --requested", remedy)])
            typer.echo(json.dumps(erase_requested(load_settings()), indent=2))
            return
        values = {"user_id": user_id}
        for each in field or []:
            name, equals, value = each.partition("=")
            if not equals or not value:
                raise InvalidField([("field", f"{name!r} has no value", "Write NAME=VALUE.")])
            values[name] = value
        receipt = erase_person(
            load_settings(),
            Person(values),
            actor=getpass.getuser(),
            reason=reason,
            is_trial=dry_run,
        )
    typer.echo(json.dumps(receipt, indent=2))
