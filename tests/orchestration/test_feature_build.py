"""The command `fraud features build`, from the front door."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from feature_store.building import Span
from feature_store.dataset import FrameDataset
from fraud.cli import app
from fraud.domain.errors import SettingsError
from fraud.domain.event import from_us
from orchestration.feature_build import parse_budget
from tests.feature_store.lakes import an_adversarial_lake, in_memory
from tests.feature_store.worlds import DAY, START


def features_build(lake_url: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command."""
    result = CliRunner(env={"FRAUD_LAKE_URL": lake_url}).invoke(
        app, ["features", "build", *arguments]
    )
    return result.exit_code, result.stdout, result.stderr


def test_the_command_builds_the_part_of_the_log_that_was_asked_for(tmp_path: Path) -> None:
    lake = an_adversarial_lake(str(tmp_path / "lake"))
    first, last, moment = (from_us(START + days * DAY) for days in (40, 150, 140))
    span = Span(first.date(), last.date(), moment.replace(microsecond=0))
    out = tmp_path / "out"
    code, text, errors = features_build(
        *(lake.url, "credit_card", "--out", str(out), "--memory-budget", "1.5 GiB"),
        *("--from", str(span.first), "--to", str(span.last)),
        *("--as-of", f"{span.as_of:%Y-%m-%dT%H:%M:%S}"),
    )
    assert (code, errors) == (0, "")
    wanted = in_memory(lake, span)
    assert FrameDataset(str(out)).frame().equals(wanted)
    assert f"{len(wanted):,} events" in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["credit_card"], "log at file://"),
        (["carding"], "There is no fraud type 'carding'"),
        (["credit_card", "--memory-budget", "lots"], "'lots' is not an amount of memory"),
        (["credit_card", "--engine", "dask"], "--engine dask was given without --scheduler"),
        (["credit_card", "--scheduler", "tcp://x:1"], "--engine local was given with --scheduler"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    lake_url, out = str(tmp_path / "lake"), str(tmp_path / "out")
    code, _, errors = features_build(lake_url, *arguments, "--out", out)
    assert code == 2
    assert complaint in errors
    assert len(errors.splitlines()) == 1


def test_budgets_are_decimal_or_binary_as_written() -> None:
    assert parse_budget("2GB") == 2_000_000_000
    assert parse_budget("2GiB") == 2**31
    with pytest.raises(SettingsError, match="2GB"):
        parse_budget("two")
