"""`fraud token` and `fraud keys`: tokens, and the keys they are signed with."""

import datetime as dt
import getpass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fraud.failure import clear_errors
from fraud.settings import load_settings

token_app = typer.Typer(invoke_without_command=True)
keys_app = typer.Typer(
    help="The keys that tokens are signed with, and values encrypted.", no_args_is_help=True
)


@token_app.callback()
def token(
    context: typer.Context,
    scope: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    subject: Annotated[str, typer.Option(help="Who will use it.")] = "developer",
    ttl: Annotated[int | None, typer.Option(min=1, help="Seconds until it expires.")] = None,
) -> None:
    """Print a development token, and nothing else."""
    if context.invoked_subcommand is not None:
        return
    with clear_errors():
        from fraud.run.smoke import SCOPES, development_token

        scopes = tuple(scope) if scope else SCOPES
        typer.echo(development_token(load_settings(), scopes, subject, ttl))


@token_app.command("revoke")
def revoke_token(
    reason: Annotated[str, typer.Option(help="Why; the audit log keeps it.")],
    token: Annotated[str | None, typer.Option(help="The token itself.")] = None,
    jti: Annotated[str | None, typer.Option(help="Its claim jti.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="All tokens issued to this subject up to now.")
    ] = None,
) -> None:
    """Take back a token, or all tokens of a subject; every worker obeys within a second."""
    with clear_errors():
        from fraud.ledger.embedded import ledger_url
        from fraud.ledger.revoking import carry_out, revocation_of

        revocation = revocation_of(
            token=token,
            token_id=jti,
            subject=subject,
            now=dt.datetime.now(dt.UTC),
            revoked_by=getpass.getuser(),
            reason=reason,
        )
        carry_out(ledger_url(load_settings()), revocation)
    typer.echo(f"Revoked: {revocation.kind} {revocation.value}")


@keys_app.command("list")
def list_keys() -> None:
    """List the keys: which of them sign, verify, encrypt and decrypt."""
    with clear_errors():
        from fraud.security.encryption import field_protection
        from fraud.security.jwks import load_jwks
        from fraud.security.keyring import token_keys
        from fraud.security.token_keys import UNNAMED

        settings = load_settings()
        keys = token_keys(settings)
        signing, _ = keys.signing
        names = [None] if keys.unnamed is not None else []
        encryption = field_protection(settings).keys
        table = Table("key", "algorithm", "use")
        for name in [*names, *sorted(keys.named)]:
            use = "signs and verifies" if name == signing else "verifies"
            table.add_row(name or UNNAMED, "HS256", use)
        if settings.jwks:
            for name, key in load_jwks(settings.jwks, settings.jwks_issuer).items():
                table.add_row(name, key.algorithm, f"verifies tokens of {key.issuer}")
        for name in encryption.names:
            use = "encrypts and decrypts" if name == encryption.newest else "decrypts"
            table.add_row(name, "Fernet", f"{use} stored values")
    Console().print(table)


@keys_app.command("add")
def add_key() -> None:
    """Make a new token key, which signs from now on; older ones verify until they are retired."""
    with clear_errors():
        from fraud.security.keyring import token_keys
        from fraud.security.token_keys import add_token_key

        settings = load_settings()
        _ = token_keys(settings)  # makes the first one, so that its tokens stay good
        name = add_token_key(settings.token_keys_dir, dt.datetime.now(dt.UTC))
    typer.echo(name)


@keys_app.command("rotate")
def rotate_keys(
    new_key: Annotated[
        bool, typer.Option(help="Make a key first; without, finish what was begun.")
    ] = True,
) -> None:
    """Encrypt all stored values under a new key, while the service goes on.

    Cut off, it is finished by the same command with --no-new-key.
    """
    with clear_errors():
        from rich.progress import Progress

        from fraud.key_rotation import rotate

        with Progress(console=Console(stderr=True)) as shown:
            task = shown.add_task("Encrypting", total=None)

            def begun(key: str, rows: int) -> None:
                shown.update(task, total=rows, description=f"Encrypting under {key}")

            done = rotate(
                load_settings(),
                getpass.getuser(),
                with_new=new_key,
                begun=begun,
                progress=lambda rows: shown.update(task, completed=rows),
            )
    typer.echo(f"{done.rows:,} rows in {done.batches:,} batches. Older keys may be retired.")


@keys_app.command("retire")
def retire_key(
    key: Annotated[str, typer.Argument(help="Its name; `unnamed` for the token key without.")],
) -> None:
    """Remove a key: tokens signed with it end within a second.

    A key that stored values are encrypted with stays as long as one of them needs it.
    """
    with clear_errors():
        from fraud.key_rotation import retire as retire_encryption_key
        from fraud.security.encryption import field_protection
        from fraud.security.keyring import retire

        settings = load_settings()
        if key in field_protection(settings).keys.names:
            retire_encryption_key(settings, key, getpass.getuser())
        else:
            retire(settings, key)
    typer.echo(f"Retired: {key}")
