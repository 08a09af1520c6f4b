"""`fraud relay`: deliver the outbox, see how far it is, and look after what was refused."""

import logging
import signal
import threading
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fraud.domain.errors import NotFound
from fraud.failure import clear_errors
from fraud.settings import load_settings

relay_app = typer.Typer(invoke_without_command=True)

SinkOption = Annotated[
    str | None, typer.Option(help="Of this sink only, e.g. mongodb.", show_default="all of them")
]


@relay_app.callback()
def relay(context: typer.Context) -> None:
    """Deliver decisions to the sinks of FRAUD_RELAY_SINKS, until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    with clear_errors():
        from bentos.stream.relay import configured_sinks, run_relay
        from fraud.ledger.embedded import ledger_url
        from fraud.run.ports import check_free

        settings, stop = load_settings(), threading.Event()
        sinks = configured_sinks(settings, stop)
        check_free(settings.host, {"FRAUD_RELAY_METRICS_PORT": settings.relay_metrics_port})

        def end(signum: int, frame: FrameType | None) -> None:
            stop.set()

        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, end)
        logging.basicConfig(
            level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells every request
        run_relay(settings, ledger_url(settings), sinks, stop)


@relay_app.command("status")
def show_status() -> None:
    """Show how far behind each sink is; exit code 1 if one takes nothing or has dead letters."""
    with clear_errors():
        from fraud.ledger.embedded import ledger_url
        from fraud.ledger.pool import transaction
        from fraud.ledger.sinks import sink_statuses

        with transaction(ledger_url(load_settings())) as cursor:
            statuses = sink_statuses(cursor)
    table = Table("sink", "lag", "oldest", "dead", "failure")
    for each in statuses:
        oldest = f"{each.oldest_at:%Y-%m-%d %H:%M:%S}" if each.oldest_at else "-"
        failure = f"since {each.failing_since:%H:%M:%S}: {each.failure}" if each.failure else "-"
        table.add_row(each.sink, f"{each.lag_messages:,}", oldest, f"{each.dead:,}", failure)
    Console().print(table)
    raise typer.Exit(1 if any(each.dead or each.failure for each in statuses) else 0)


@relay_app.command("dead")
def list_dead_letters(
    sink: SinkOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
) -> None:
    """List messages that a sink refused for good, with the reason."""
    with clear_errors():
        from fraud.ledger.dead_letters import dead_letters
        from fraud.ledger.embedded import ledger_url
        from fraud.ledger.pool import transaction

        with transaction(ledger_url(load_settings())) as cursor:
            found = dead_letters(cursor, sink, limit)
    table = Table("sink", "message", "topic", "tries", "refused at", "reason")
    for each in found:
        reason = f"{each.reason} (will be tried again)" if each.is_due else each.reason
        table.add_row(
            *(each.sink, str(each.outbox_id), each.topic, str(each.attempts)),
            *(f"{each.died_at:%Y-%m-%d %H:%M:%S}", reason),
        )
    Console().print(table)


@relay_app.command("retry")
def retry_dead_letters(
    messages: Annotated[
        list[int] | None, typer.Argument(help="Their numbers.", show_default="all of them")
    ] = None,
    sink: SinkOption = None,
) -> None:
    """Have the running relay send dead letters again."""
    with clear_errors():
        from fraud.ledger.dead_letters import retry
        from fraud.ledger.embedded import ledger_url
        from fraud.ledger.pool import transaction

        with transaction(ledger_url(load_settings())) as cursor:
            count = retry(cursor, sink, messages)
    typer.echo(f"To be sent again: {count:,}")


@relay_app.command("remove")
def remove_a_sink(
    sink: Annotated[str, typer.Argument(help="Its name, see: fraud relay status")],
) -> None:
    """Forget a sink that is not used any more, so that the outbox does not wait for it."""
    with clear_errors():
        from fraud.ledger.embedded import ledger_url
        from fraud.ledger.pool import transaction
        from fraud.ledger.sinks import remove_sink

        with transaction(ledger_url(load_settings())) as cursor:
            was_there = remove_sink(cursor, sink)
        if not was_there:
            raise NotFound(f"There is no sink {sink!r}.", remedy="See: fraud relay status")
    typer.echo(f"Removed: {sink}")
