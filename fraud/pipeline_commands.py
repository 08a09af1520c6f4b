"""`fraud pipeline`: from events to a model in service."""

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fraud.domain.errors import SettingsError
from fraud.failure import clear_errors
from fraud.settings import load_settings

pipeline_app = typer.Typer(help="From events to a champion.", no_args_is_help=True)

DayOption = Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="A day, UTC.")]
FraudTypeOption = Annotated[str, typer.Option("--fraud-type", help="Name of a fraud type.")]


@pipeline_app.callback()
def pipeline() -> None:
    """From events to a champion."""


@pipeline_app.command("run")
def run_the_pipeline(
    fraud_type: FraudTypeOption = "credit_card",
    source: Annotated[
        Literal["simulator", "file", "lake"] | None,
        typer.Option(
            help="Where new transactions come from; lake: only what is there.",
            show_default="lake where files were ingested, else simulator",
        ),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="CSV or Parquet, for the source file.")] = None,
    mapping: Annotated[Path | None, typer.Option("--map", help="Its YAML mapping.")] = None,
    first: DayOption = None,
    last: DayOption = None,
    search_seconds: Annotated[
        float, typer.Option(min=0.0, help="Time per fraud type to search hyper-parameters in.")
    ] = 0.0,
    promotion: Annotated[
        Literal["staged", "now"] | None,
        typer.Option(
            "--promote",
            help="staged: a new model challenges in shadow; now: it is the champion at once.",
            show_default="FRAUD_PROMOTION, else staged",
        ),
    ] = None,
    all_types: Annotated[
        bool, typer.Option("--all", help="Every fraud type in turn, each from its own source.")
    ] = False,
) -> None:
    """Ingest, compute features, train, compare, and promote a champion."""
    begin, end = (day.date() if day else None for day in (first, last))
    with clear_errors():
        from orchestration.pipeline import SourceChoice, run_every_pipeline, run_pipeline

        settings = load_settings()
        if promotion:
            settings = settings.replaced(promotion=promotion)
        options: dict[str, Any] = {"first": begin, "last": end, "search_seconds": search_seconds}
        if all_types:
            if source or file or mapping:
                raise SettingsError(
                    "One source cannot hold every fraud type.",
                    remedy="Leave out --source, --file and --map, or name one --fraud-type.",
                )
            results = list(run_every_pipeline(settings, **options).values())
        else:
            choice = SourceChoice(kind=source, path=file, mapping=mapping) if source else None
            results = [run_pipeline(settings, fraud_type, source=choice, **options)]
    raise typer.Exit(0 if all(result.success for result in results) else 1)
