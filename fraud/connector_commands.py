"""`fraud stripe` and `fraud ach`: other companies' systems, decided on from the command line."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from fraud.domain.errors import InputError
from fraud.failure import clear_errors
from fraud.settings import load_settings

stripe_app = typer.Typer(help="Card payments at Stripe.", no_args_is_help=True)
ach_app = typer.Typer(help="ACH entries in NACHA files.", no_args_is_help=True)

ApiOption = Annotated[
    str | None,
    typer.Option("--api", help="The platform's API.", show_default="the one on this machine"),
]


@stripe_app.callback()
def stripe() -> None:
    """Card payments at Stripe."""


@stripe_app.command("check")
def check_stripe_payment(
    payment_intent: Annotated[str, typer.Argument(help="pi_...")], api: ApiOption = None
) -> None:
    """Decide on a PaymentIntent: cancel it, flag it for review, or capture it."""
    with clear_errors():
        from bentos.connectors.scoring_client import ScoringClient
        from bentos.connectors.stripe.checking import check_payment, connector_of
        from fraud.run.programs import addresses
        from fraud.run.smoke import development_token

        settings = load_settings()
        connector = connector_of(settings)
        token = development_token(settings, ("fraud_detection",), "stripe")
        with ScoringClient(api or addresses(settings)["api"], token) as client:
            outcome = check_payment(payment_intent, connector, client.predict)
    typer.echo(json.dumps(outcome.body()))


@ach_app.command("decide")
def decide_ach_file(
    file: Annotated[Path, typer.Argument(help="A NACHA file.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    balances: Annotated[
        Path | None, typer.Option(help="CSV: routing_number, account_number, balance.")
    ] = None,
    lead_minutes: Annotated[
        float, typer.Option(min=0, help="How long before a deadline the file has to leave.")
    ] = 10.0,
    release_reviews: Annotated[
        bool, typer.Option(help="Let entries under review go on as well.")
    ] = False,
    api: ApiOption = None,
) -> None:
    """Decide on every entry, and write the file that may go on; running it again is safe.

    Exit code 1 if entries were quarantined or will miss a same-day deadline.
    """
    with clear_errors():
        from bentos.connectors.ach.deciding import decide_file
        from bentos.connectors.ach.delivery import deliver
        from bentos.connectors.ach.reading import read_file
        from bentos.connectors.ach.transfers import Accounts, Balances
        from bentos.connectors.scoring_client import ScoringClient
        from fraud.run.programs import addresses
        from fraud.run.smoke import development_token

        settings = load_settings()
        content = _content(file)
        accounts = Accounts.of(settings)
        known = Balances.read(balances, accounts) if balances else None
        token = development_token(settings, ("fraud_detection",), "ach")
        parsed = read_file(content)
        with ScoringClient(api or addresses(settings)["api"], token) as client:
            decisions, faults = decide_file(
                parsed,
                client.predict_batch,
                accounts,
                lambda: dt.datetime.now(dt.UTC),
                balances=known,
                lead=dt.timedelta(minutes=lead_minutes),
            )
        summary = deliver(parsed, decisions, faults, out, releases_reviews=release_reviews)
    for fault in faults:
        typer.echo(f"{file}:{fault.line}: {fault.problem}", err=True)
    late = [each for each in summary["deadlines"] if each["late"]]
    for each in late:
        typer.echo(f"{each['entries']} same-day entries: {each['late']}", err=True)
    typer.echo(json.dumps(summary))
    raise typer.Exit(1 if faults or late else 0)


@ach_app.command("returns")
def tell_ach_returns(
    file: Annotated[Path, typer.Argument(help="A NACHA file of returned entries.")],
    api: ApiOption = None,
) -> None:
    """Turn returned entries into labels; running it again changes nothing.

    Exit code 1 if some could not be.
    """
    with clear_errors():
        from bentos.connectors.ach.reading import read_file
        from bentos.connectors.ach.returns import tell_returns
        from bentos.connectors.ach.transfers import FIRST_SUFFIX, LAST_SUFFIX
        from bentos.connectors.scoring_client import ScoringClient
        from fraud.ledger.by_prefix import transactions_by_prefix
        from fraud.ledger.embedded import ledger_url
        from fraud.ledger.pool import transaction
        from fraud.run.programs import addresses
        from fraud.run.smoke import development_token

        settings = load_settings()
        ledger = ledger_url(settings)

        def known(prefixes: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
            with transaction(ledger) as cursor:
                return transactions_by_prefix(cursor, "ach", prefixes, FIRST_SUFFIX, LAST_SUFFIX)

        token = development_token(settings, ("labels:write",), "ach")
        parsed = read_file(_content(file))
        with ScoringClient(api or addresses(settings)["api"], token) as client:
            report = tell_returns(parsed, known, lambda labels: client.tell("ach", labels))
    for fault in report.faults:
        typer.echo(f"{file}:{fault.line}: {fault.problem}", err=True)
    counts = {"stored": report.stored, "repeated": report.repeated, "frauds": report.frauds}
    typer.echo(json.dumps(counts | {"without_label": len(report.faults)}))
    raise typer.Exit(1 if report.faults else 0)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{file} cannot be read: {error.strerror}.", remedy="Name a NACHA file."
        ) from None
