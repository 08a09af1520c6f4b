"""`fraud promote`, `fraud rollback`, `fraud deployments`: which model serves, and who says so."""

import datetime as dt
import getpass
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from fraud.failure import clear_errors
from fraud.settings import Settings, load_settings

if TYPE_CHECKING:
    from fraud.domain.deployment import Deployment

SCOPE = "deployments"

deployments_app = typer.Typer(help="Which model serves, served, and shall serve.")

FraudTypeOption = Annotated[str, typer.Option("--fraud-type", help="Name of a fraud type.")]
TokenOption = Annotated[
    str | None,
    typer.Option(help=f"Who you are: a token with the scope {SCOPE}.", show_default="your login"),
]


def promote(
    model: Annotated[
        str | None, typer.Argument(help="Its version.", show_default="who challenges")
    ] = None,
    fraud_type: FraudTypeOption = "credit_card",
    to: Annotated[
        Literal["shadow", "canary", "champion"] | None,
        typer.Option(help="Which stage.", show_default="the next one"),
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="Of the subjects a canary answers for, above 0, below 1.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")] = "",
    early: Annotated[
        bool, typer.Option("--early", help="Before its stage took its least time.")
    ] = False,
    approve: Annotated[
        int | None, typer.Option(help="Agree to this promotion that another person asked for.")
    ] = None,
    token: TokenOption = None,
) -> None:
    """Take a model a stage further, or agree to that as the second person."""
    with clear_errors():
        from fraud.types.registry import fraud_type as declared
        from orchestration.promotion.moves import approve_promotion, promote_model

        settings = load_settings()
        actor = _actor(settings, token)
        if approve is not None:
            sentence = approve_promotion(settings, actor, approve)
        else:
            sentence = promote_model(
                settings,
                declared(fraud_type),
                model,
                actor=actor,
                stage=to,
                share=share,
                reason=reason or f"{actor} decided so.",
                is_early=early,
            )
    typer.echo(sentence)


def rollback(
    fraud_type: FraudTypeOption = "credit_card",
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")] = "",
    token: TokenOption = None,
) -> None:
    """End a challenge; without one, let the champion before the present one serve again."""
    with clear_errors():
        from fraud.types.registry import fraud_type as declared
        from orchestration.promotion.office import open_office

        settings = load_settings()
        actor = _actor(settings, token)
        with open_office(settings, actor) as office:
            name = declared(fraud_type).name
            outcome = office.roll_back(name, reason or f"{actor} decided so.")
    typer.echo(outcome.sentence)


@deployments_app.callback(invoke_without_command=True)
def deployments(
    context: typer.Context,
    fraud_type: Annotated[
        str | None, typer.Option("--fraud-type", help="Of this type only.", show_default="all")
    ] = None,
    at: Annotated[
        dt.datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"],
            help="What answered at this moment, UTC unless it says otherwise.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many steps of each type.")] = 20,
) -> None:
    """List the steps of models, newest first, or with --at what was in service then."""
    if context.invoked_subcommand is not None:
        return
    with clear_errors():
        from fraud.domain.event import to_us
        from fraud.ledger import deployments as ledger
        from fraud.ledger.embedded import ledger_url
        from fraud.ledger.pool import transaction
        from fraud.ledger.promotion_requests import waiting_requests
        from fraud.types.registry import fraud_types

        names = [fraud_type] if fraud_type else list(fraud_types())
        with transaction(ledger_url(load_settings())) as cursor:
            if at is not None:
                moment = at if at.tzinfo else at.replace(tzinfo=dt.UTC)
                found = ledger.in_service_at(cursor, to_us(moment), fraud_type)
            else:
                found = [
                    each for name in names for each in ledger.deployments(cursor, name, limit=limit)
                ]
            waiting = waiting_requests(cursor, fraud_type)
    _print_steps(found)
    for each in waiting:
        typer.echo(
            f"Waits for a second person: {each.model_version} to {each.stage}, asked for by "
            f"{each.requested_by}: fraud promote --approve {each.request_id}"
        )


@deployments_app.command("check")
def check(
    fraud_type: Annotated[
        str | None, typer.Option("--fraud-type", help="Of this type only.", show_default="all")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    token: TokenOption = None,
) -> None:
    """Hold who challenges, and new champions, against the live gates; act on what is found.

    Exit code 1 if a model did not pass, and so was rolled back.
    """
    with clear_errors():
        from fraud.types.registry import fraud_type as declared
        from fraud.types.registry import fraud_types
        from orchestration.promotion.check import check_deployments
        from orchestration.promotion.office import open_office

        settings = load_settings()
        kinds = [declared(fraud_type)] if fraud_type else list(fraud_types().values())
        with open_office(settings, _actor(settings, token)) as office:
            findings = [check_deployments(office, kind, is_trial=dry_run) for kind in kinds]
    console = Console()
    for finding in findings:
        console.print(f"{finding.fraud_type}: {finding.sentence}", markup=False, highlight=False)
        if finding.gates:
            table = Table("gate", "passed", "value", "limit")
            for gate in finding.gates:
                value = "-" if gate.value is None else f"{gate.value:.4g}"
                table.add_row(gate.gate, "yes" if gate.passed else "no", value, f"{gate.limit:g}")
            console.print(table)
    raise typer.Exit(1 if any(each.action == "rolled back" for each in findings) else 0)


@deployments_app.command("verify")
def verify(
    fraud_type: Annotated[
        str | None, typer.Option("--fraud-type", help="Of this type only.", show_default="all")
    ] = None,
) -> None:
    """Compare ledger, bundles, Bentos and MLflow's registry; exit code 1 if they disagree."""
    with clear_errors():
        from fraud.ledger.embedded import ledger_url
        from fraud.ledger.pool import ConnectionPool
        from fraud.types.registry import fraud_types
        from orchestration.promotion.packaging import disagreements

        settings = load_settings()
        names = [fraud_type] if fraud_type else list(fraud_types())
        pool = ConnectionPool(ledger_url(settings), size=1)
        try:
            found = [each for name in names for each in disagreements(pool, settings, name)]
        finally:
            pool.close()
    for each in found:
        typer.echo(each)
    typer.echo(f"{len(found)} disagreements")
    raise typer.Exit(1 if found else 0)


@deployments_app.command("pack")
def pack(
    model: Annotated[str, typer.Argument(help="Its version.")],
    fraud_type: FraudTypeOption = "credit_card",
) -> None:
    """Build the Bento of a model that is or was in service, and print its tag."""
    with clear_errors():
        from fraud.domain.errors import NotFound
        from fraud.ledger.deployments import deployment_of
        from fraud.ledger.embedded import ledger_url
        from fraud.ledger.pool import transaction
        from fraud.run.model_bento import build_model_bento

        settings = load_settings()
        with transaction(ledger_url(settings)) as cursor:
            found = deployment_of(cursor, fraud_type, model)
        if found is None:
            raise NotFound(
                f"There is no model {model!r} of {fraud_type}.",
                remedy="See: fraud deployments",
            )
        typer.echo(build_model_bento(settings, found))


def _print_steps(steps: Iterable["Deployment"]) -> None:
    from fraud.domain.event import from_us

    table = Table("from (UTC)", "fraud type", "stage", "model", "bundle", "by", "why")
    for each in steps:
        stage = f"{each.stage} {each.share:.0%}" if each.stage == "canary" else each.stage
        table.add_row(
            f"{from_us(each.promoted_at_us):%Y-%m-%d %H:%M:%S}",
            each.fraud_type,
            f"{stage} (back)" if each.move == "rollback" else stage,
            each.model_version,
            each.bundle_digest[:12],
            " and ".join(filter(None, (each.promoted_by, each.approved_by))),
            each.reason,
        )
    Console().print(table)


def _actor(settings: Settings, token: str | None) -> str:
    """Who decides: the token's subject, or whoever is logged in.

    Raises:
        Unauthenticated: the token proves nothing.
        Forbidden: it lacks the scope.
    """
    if token is None:
        return getpass.getuser()
    from fraud.domain.errors import Forbidden
    from fraud.security.keyring import Keyring
    from fraud.security.tokens import TokenVerifier

    verifier: Any = TokenVerifier(Keyring(settings), settings.jwt_issuer, settings.jwt_audience)
    principal = verifier.verify(token)
    if SCOPE not in principal.scopes:
        raise Forbidden(
            f"The token of {principal.subject} lacks the scope {SCOPE}.",
            remedy=f"fraud token --subject NAME --scope {SCOPE}",
        )
    return str(principal.subject)
