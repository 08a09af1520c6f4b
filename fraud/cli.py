"""The console script `fraud`: the front door, which opens upper rooms inside its commands."""

import datetime as dt
import json
import secrets
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from fraud.connector_commands import ach_app, stripe_app
from fraud.deployment_commands import deployments_app, promote, rollback
from fraud.domain.errors import SettingsError
from fraud.erase_commands import erase
from fraud.failure import FAILED, clear_errors
from fraud.pipeline_commands import pipeline_app
from fraud.relay_commands import relay_app
from fraud.security.masking import install_masking
from fraud.settings import load_settings
from fraud.stream_commands import kafka, stream_app
from fraud.token_commands import keys_app, token_app

app = typer.Typer(
    name="fraud",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
bento_app = typer.Typer(help="The Bento: the package that serves.", no_args_is_help=True)
db_app = typer.Typer(help="The ledger's schema.", no_args_is_help=True)
audit_app = typer.Typer(help="The audit log.", no_args_is_help=True)
features_app = typer.Typer(help="The catalogue of features.", no_args_is_help=True)
for name, group in (
    ("bento", bento_app),
    ("pipeline", pipeline_app),
    ("db", db_app),
    ("audit", audit_app),
    ("features", features_app),
    ("token", token_app),
    ("keys", keys_app),
    ("relay", relay_app),
    ("stripe", stripe_app),
    ("ach", ach_app),
    ("stream", stream_app),
    ("deployments", deployments_app),
):
    app.add_typer(group, name=name)
for command in (erase, kafka, promote, rollback):
    app.command()(command)

FraudTypeOption = Annotated[str, typer.Option("--fraud-type", help="Name of a fraud type.")]


@app.callback()
def begin() -> None:
    """Fraud detection a team can operate and defend."""
    install_masking()


@app.command()
def run(
    exit_after_smoke: Annotated[
        bool, typer.Option(help="End after the first scored transaction; for tests.")
    ] = False,
) -> None:
    """Start everything on this machine and stay until Ctrl-C."""
    with clear_errors():
        from fraud.run.up import run as run_platform

        run_platform(load_settings(), Console(), exit_after_smoke=exit_after_smoke)


@app.command()
def serve(
    bento: Annotated[
        str, typer.Option(help="Its tag, e.g. of a model's own Bento.")
    ] = "fraud_detector:latest",
) -> None:
    """Serve the newest Bento in the foreground, or another one."""
    with clear_errors():
        from fraud.run.serve import serve_bento

        serve_bento(load_settings(), bento)


@bento_app.command("build")
def build_bento() -> None:
    """Build the Bento from the sources, unless the newest one holds them already."""
    with clear_errors():
        from fraud.run.bento import build

        typer.echo(build(load_settings()))


@app.command()
def ingest(
    fraud_type: Annotated[str, typer.Argument(help="What the file holds, e.g. credit_card.")],
    file: Annotated[Path, typer.Argument(help="CSV or Parquet.")],
    mapping: Annotated[Path, typer.Option("--map", help="YAML: which column is what.")],
) -> None:
    """Add the transactions and labels of a file to the event log."""
    with clear_errors():
        from orchestration.ingest import ingest_file

        ingest_file(load_settings(), fraud_type, file, mapping, console=Console())


@db_app.command("migrate")
def migrate_database() -> None:
    """Bring the ledger's schema up to date, and print its revision."""
    with clear_errors():
        from fraud.ledger.embedded import ledger_url
        from fraud.ledger.schema import migrate

        typer.echo(migrate(ledger_url(load_settings())))


@app.command()
def postgres() -> None:
    """Run the embedded PostgreSQL of the run folder in the foreground."""
    with clear_errors():
        from fraud.ledger.embedded import serve as serve_postgres

        code = serve_postgres(load_settings().run_dir)
    raise typer.Exit(code)


@audit_app.command("verify")
def verify_audit(
    anchors: Annotated[
        list[Path] | None,
        typer.Option(
            help="Heads that were noted outside the ledger; may be given several times.",
            show_default="the run folder's audit-anchors.jsonl",
        ),
    ] = None,
) -> None:
    """Recompute the audit log's chains; exit code 1 if anything was altered."""
    with clear_errors():
        from fraud.ledger.audit_anchors import read_anchors
        from fraud.ledger.audit_check import verify
        from fraud.ledger.embedded import ledger_url
        from fraud.ledger.engine import connect

        settings = load_settings()
        given = anchors or [settings.audit_anchor_file]
        if not anchors and not settings.audit_anchor_file.exists():
            typer.echo("No heads were noted outside the ledger: it is checked against its own.")
            given = []
        trusted = [head for path in given for head in read_anchors(path)]
        connection = connect(ledger_url(settings))
        try:
            report = verify(connection, trusted)
        finally:
            connection.close()
    for finding in report.findings:
        typer.echo(finding.text)
    typer.echo(
        f"{report.records:,} records in {report.chains} chains, checked against "
        f"{len(trusted):,} anchors, {report.found:,} findings"
    )
    raise typer.Exit(1 if report.found else 0)


@app.command()
def replay(
    decision_id: Annotated[str | None, typer.Argument(help="A single decision.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="So many, at random.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Which ones.", show_default="another each time")
    ] = None,
    fraud_type: Annotated[
        str | None,
        typer.Option("--fraud-type", help="Of this type only.", show_default="all of them"),
    ] = None,
) -> None:
    """Compute decisions again from the log and compare; exit code 1 if anything differs.

    Exit code 2 means that nothing differs, but that some of it could not be computed again.
    """
    with clear_errors():
        from bentos.scoring.replay_report import print_replay, print_sample
        from bentos.scoring.replaying import a_sample, open_archive, replay_decisions, this_one

        if (decision_id is None) == (sample is None):
            raise SettingsError(
                "Name either one decision or the size of a sample.",
                remedy="fraud replay DECISION_ID, or: fraud replay --sample 1000",
            )
        seed = secrets.randbelow(2**31) if seed is None else seed
        choice = a_sample(sample, seed, fraud_type) if sample else this_one(decision_id or "")
        with open_archive(load_settings()) as archive:
            replays = replay_decisions(archive, choice)
        if sample:
            summary = print_sample(Console(), replays)
            typer.echo(json.dumps(summary | {"seed": seed}))
        else:
            print_replay(Console(), replays[0])
    if any(each.differences for each in replays):
        raise typer.Exit(1)
    raise typer.Exit(0 if all(each.is_identical for each in replays) else FAILED)


@features_app.command("list")
def list_features(
    fraud_type: FraudTypeOption = "credit_card",
    as_json: Annotated[bool, typer.Option("--json", help="All of the schema, for diff.")] = False,
) -> None:
    """List the features of a fraud type, in the order of the model's input."""
    with clear_errors():
        from fraud.catalogue import as_text, schema_of
        from fraud.types.registry import fraud_type as declared

        kind = declared(fraud_type)
        if as_json:
            typer.echo(as_text(schema_of(kind)))
            return
    title = f"{kind.title}, schema {kind.schema_hash}"
    table = Table("feature", "unit", "default", title=title)
    for feature in kind.features:
        table.add_row(feature.name, feature.unit, f"{feature.default:g}")
    Console().print(table)


@features_app.command("describe")
def describe_feature(
    feature: Annotated[str, typer.Argument(help="Name of a feature.")],
    fraud_type: FraudTypeOption = "credit_card",
) -> None:
    """Say what a feature means and what it is made of."""
    with clear_errors():
        import difflib

        from fraud.domain.errors import NotFound
        from fraud.types.registry import fraud_type as declared

        kind = declared(fraud_type)
        found = next((each for each in kind.features if each.name == feature), None)
        if found is None:
            close = difflib.get_close_matches(feature, kind.feature_names, n=1)
            raise NotFound(
                f"{fraud_type} has no feature {feature!r}.",
                remedy=f"Did you mean {close[0]!r}?" if close else "See: fraud features list",
            )
    typer.echo(f"{found.name} ({found.unit}; {found.default:g} where it is undefined)")
    typer.echo(found.description)
    for aggregate in found.aggregates():
        typer.echo(f"  {aggregate}")


@features_app.command("diff")
def diff_features(
    old: Annotated[
        str, typer.Argument(help="`served`, `code`, a schema hash of the ledger, or a file.")
    ] = "served",
    new: Annotated[str, typer.Argument(help="The same.")] = "code",
    fraud_type: FraudTypeOption = "credit_card",
) -> None:
    """Say how two feature schemas differ; exit code 1 if they do.

    A file is a bundle's manifest.json or what `fraud features list --json` printed.
    """
    with clear_errors():
        from fraud.catalogue import differences
        from fraud.known_schemas import find_schema
        from fraud.types.registry import fraud_type as declared

        kind, settings = declared(fraud_type), load_settings()
        one, other = (find_schema(name, kind, settings) for name in (old, new))
        lines = differences(one, other)
    for line in lines:
        typer.echo(line)
    relation = "!=" if lines else "=="
    typer.echo(f"{one.name} {one.schema_hash} {relation} {other.name} {other.schema_hash}")
    raise typer.Exit(1 if lines else 0)


@features_app.command("docs")
def document_features(
    write: Annotated[bool, typer.Option("--write", help="Write the page.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 if not current.")] = False,
    page: Annotated[Path, typer.Option(help="Where it is.")] = Path("docs/features.md"),
) -> None:
    """Print, write or check the page that lists every feature of every fraud type."""
    with clear_errors():
        from fraud.catalogue import page as catalogue
        from fraud.types.registry import fraud_types

        text = catalogue(fraud_types().values())
        if write:
            page.write_text(text, encoding="utf-8")
        elif not check:
            typer.echo(text, nl=False)
        is_current = page.is_file() and page.read_text(encoding="utf-8") == text
    if check and not is_current:
        typer.echo(f"{page} is not current. Run: fraud features docs --write", err=True)
        raise typer.Exit(1)


@features_app.command("build")
def build_feature_frame(
    fraud_type: Annotated[str, typer.Argument(help="Whose features, e.g. credit_card.")],
    out: Annotated[str, typer.Option(help="Folder or fsspec URL of the Parquet dataset.")],
    first: Annotated[
        dt.datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day observed, UTC."),
    ] = None,
    last: Annotated[
        dt.datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], help="Last day observed, UTC."),
    ] = None,
    as_of: Annotated[
        dt.datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"],
            help="Only what was known before this moment, UTC unless it says otherwise.",
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "dask"], typer.Option(help="In this process, or on a Dask cluster.")
    ] = "local",
    scheduler: Annotated[
        str | None, typer.Option(help="The cluster's scheduler, e.g. tcp://10.0.0.5:8786.")
    ] = None,
    memory_budget: Annotated[
        str, typer.Option(help="What each process may take in all, e.g. 2GB.")
    ] = "2GB",
    scratch: Annotated[
        str | None,
        typer.Option(help="Where to keep about twice the log's size meanwhile, path or URL."),
    ] = None,
) -> None:
    """Compute the features of a whole log into a Parquet dataset, within a memory budget."""
    with clear_errors():
        from feature_store.building import Span
        from fraud.domain.errors import SettingsError
        from orchestration.feature_build import build_features, moment

        if (engine == "dask") != (scheduler is not None):
            raise SettingsError(
                f"--engine {engine} was given {'with' if scheduler else 'without'} --scheduler.",
                remedy="A cluster takes both: --engine dask --scheduler tcp://HOST:8786",
            )
        build_features(
            load_settings(),
            fraud_type,
            out,
            span=Span(
                first.date() if first else None, last.date() if last else None, moment(as_of)
            ),
            memory_budget=memory_budget,
            scheduler=scheduler,
            scratch=scratch,
            console=Console(),
        )


@app.command("version")
def show_version() -> None:
    """Print the version of the platform."""
    from importlib.metadata import version

    typer.echo(version("fraud-platform"))
