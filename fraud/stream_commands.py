"""`fraud stream` and `fraud kafka`: deciding on what comes through Kafka."""

import datetime as dt
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fraud.failure import clear_errors
from fraud.settings import load_settings

stream_app = typer.Typer(invoke_without_command=True)

SHOWN = 20
"""Letters that are listed; the others are counted."""

MomentOption = Annotated[
    dt.datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="A moment, UTC."),
]


@stream_app.callback()
def stream(context: typer.Context) -> None:
    """Decide on transactions from Kafka until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    with clear_errors():
        from bentos.stream.running import work

        work(load_settings())


@stream_app.command("create-topics")
def create_missing_topics(
    partitions: Annotated[
        int, typer.Option(min=1, help="Of each topic; so many workers can share the load.")
    ] = 6,
    replicas: Annotated[
        int, typer.Option(help="Copies of each partition.", show_default="the cluster's default")
    ] = -1,
) -> None:
    """Create the topics that the platform reads or writes, where they are missing."""
    with clear_errors():
        from bentos.stream.topics import create_topics

        made = create_topics(load_settings(), partitions, replicas)
    typer.echo(f"Created: {', '.join(made)}" if made else "Every topic is there.")


@stream_app.command("replay-dlq")
def replay_dead_letters(
    reason: Annotated[
        list[str] | None, typer.Option(help="Only these problems, e.g. invalid-field.")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Only from this topic.")] = None,
    partition: Annotated[int | None, typer.Option(help="Only from this partition.")] = None,
    since: MomentOption = None,
    until: MomentOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The oldest so many.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which ones.")] = False,
) -> None:
    """Send dead letters again to the topic they came from, each of them once."""
    with clear_errors():
        from bentos.stream.dlq_replay import Choice, replay

        choice = Choice(
            reasons=frozenset(reason or ()),
            topic=topic,
            partition=partition,
            since=since and since.replace(tzinfo=dt.UTC),
            until=until and until.replace(tzinfo=dt.UTC),
            limit=limit,
        )
        done = replay(load_settings(), choice, is_dry=dry_run)
    table = Table("origin", "reason", "given up", "error")
    for letter in done.chosen[:SHOWN]:
        failed_at = letter.failed_at.isoformat(timespec="seconds")
        table.add_row(str(letter.origin), letter.reason, failed_at, letter.error)
    if done.chosen:
        Console().print(table)
    for letter in done.without_value:
        typer.echo(f"{letter.origin} cannot be sent again: its value was too large or masked.")
    verb = "would be sent" if dry_run else "were sent"
    typer.echo(f"{len(done.chosen):,} of {done.waiting:,} waiting letters {verb} again")


def kafka() -> None:
    """Run a Kafka broker in the foreground, for trying things out; needs a JDK and Maven."""
    with clear_errors():
        from fraud.run.kafka.foreground import serve

        code = serve(load_settings(), typer.echo)
    raise typer.Exit(code)
