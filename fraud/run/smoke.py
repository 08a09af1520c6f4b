"""The first transaction, and what a person gets to try the next one."""

import time
import uuid

import httpx
from rich.console import Console
from rich.table import Table

from fraud.domain.errors import FraudError
from fraud.run.programs import addresses
from fraud.security.keyring import token_keys
from fraud.security.tokens import issue
from fraud.settings import Settings

SCOPES = ("fraud_detection", "metrics")
SUBJECT = "developer"
ATTEMPTS_S = 10.0
MLFLOW_PAGE = "/#/experiments?workflowType=machine_learning"
"""Without it MLflow opens on its pages for language models."""

EXAMPLE = {
    "amount": 150.0,
    "user_id": "USER_000001",
    "merchant_id": "MERCH_000001",
    "merchant_category": "electronics",
    "distance_from_home_km": 25.5,
    "foreign_transaction": False,
}


def development_token(
    settings: Settings,
    scopes: tuple[str, ...] = SCOPES,
    subject: str = SUBJECT,
    lifetime_s: int | None = None,
) -> str:
    """A token of this machine's own newest key.

    Raises:
        SettingsError: the key is unusable.
    """
    key_id, secret = token_keys(settings).signing
    return issue(
        secret,
        subject,
        scopes,
        lifetime_s=lifetime_s or settings.jwt_lifetime_s,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        now_s=time.time(),
        key_id=key_id,
    )


def score_one(settings: Settings) -> dict[str, object]:
    """Have one transaction scored; the reply.

    Raises:
        FraudError: the service does not answer with a decision.
    """
    nobody = {"user_id": "SMOKE_TEST", "merchant_id": "SMOKE_TEST"}  # no real history is touched
    body = {"transaction_id": f"SMOKE_{uuid.uuid4().hex[:20]}", **EXAMPLE, **nobody}
    headers = {"authorization": f"Bearer {development_token(settings)}"}
    url = f"{addresses(settings)['api']}/predict"
    deadline = time.monotonic() + ATTEMPTS_S
    while True:
        answer = httpx.post(url, json=body, headers=headers, timeout=10.0)
        if answer.status_code == 200 or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    reply: dict[str, object] = answer.json()
    if answer.status_code != 200:
        raise FraudError(f"The first transaction was refused: {answer.text}")
    return reply


def show(console: Console, settings: Settings, reply: dict[str, object], seconds: float) -> None:
    """Print the addresses, the token and a request that works when pasted."""
    found = addresses(settings)
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, url in (
        ("API", found["api"]),
        ("Health", f"{found['api']}/health"),
        ("Dagster", found["dagster"]),
        ("MLflow", found["mlflow"] + MLFLOW_PAGE),
        ("Logs", str(settings.run_dir / "logs")),
    ):
        table.add_row(f"[bold]{name}[/]", url)
    console.print()
    console.rule(f"[green]The platform runs[/] [dim]after {seconds:.0f} s[/]")
    console.print(table)
    console.print(
        f"\nFirst transaction: {reply['recommended_action']} at probability "
        f"{reply['fraud_probability']:.4f} by model {reply['model_version']}."
    )
    if reply["degraded"]:
        console.print(
            f"[yellow]No model could be loaded: the rules decide alone.[/] "
            f"{found['api']}/health says why; `fraud pipeline run` promotes a new one."
        )
    token = development_token(settings)
    console.print("\n[bold]Development token[/] (make -s token prints one too)")
    _print_plain(console, token)
    console.print("\n[bold]Try it[/]")
    _print_plain(console, curl(found["api"], token))
    console.print("\nCtrl-C stops everything.")


def curl(api: str, token: str) -> str:
    """A request line for a POSIX shell, with a new transaction_id whenever it is run."""
    fields = "".join(
        f', "{name}": {str(value).lower() if isinstance(value, bool) else repr(value)}'
        for name, value in EXAMPLE.items()
    ).replace("'", '"')
    return (
        f"curl -s {api}/predict -H 'Authorization: Bearer {token}' "
        "-H 'Content-Type: application/json' "
        f"""-d '{{"transaction_id": "TXN_'"$(date +%s%N)"'"{fields}}}'"""
    )


def _print_plain(console: Console, text: str) -> None:
    """Print text so that it can be copied: never wrapped, never coloured."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
