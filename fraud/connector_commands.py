"""`fraud stripe` and `fraud ach`: other companies' systems, decided on from the command line."""

import json
from typing import Annotated

import typer

from fraud.failure import clear_errors
from fraud.settings import load_settings

stripe_app = typer.Typer(help="Card payments at Stripe.", no_args_is_help=True)

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
