"""The console script: what it prints, where it fails, and how it says so."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from fraud import cli
from fraud.catalogue import definition_of
from fraud.ledger.audit import AuditEntry, append, claim_chain
from fraud.ledger.audit_anchors import AnchorFile
from fraud.ledger.audit_check import anchors
from fraud.ledger.engine import connect
from fraud.ledger.models import record_feature_schema
from fraud.ledger.pool import transaction
from fraud.ledger.revocations import revocations
from fraud.ledger.schema import head_revision
from fraud.security.keyring import Keyring
from fraud.security.tokens import TokenVerifier
from fraud.settings import load_settings
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.fraud_detector.detector import promote
from tests.servers import temporary_run_dir

FRAUD = str(Path(sys.executable).with_name("fraud"))


@pytest.fixture(autouse=True)
def run_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with temporary_run_dir() as folder:
        monkeypatch.setenv("FRAUD_RUN_DIR", str(folder))
        monkeypatch.delenv("DATABASE_URL", raising=False)
        yield folder


def fraud(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command, run in this process."""
    result = CliRunner().invoke(cli.app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_token_prints_a_token_and_nothing_else(run_dir: Path) -> None:
    done = subprocess.run([FRAUD, "token"], capture_output=True, text=True, check=True)
    settings = load_settings()
    verifier = TokenVerifier(settings.jwt_secret, settings.jwt_issuer, settings.jwt_audience)
    principal = verifier.verify(done.stdout.removesuffix("\n"))
    assert principal.scopes == {"fraud_detection", "metrics"}
    assert done.stderr == ""


def test_token_takes_scopes_a_subject_and_a_lifetime() -> None:
    code, out, _ = fraud(
        *("token", "--scope", "labels", "--scope", "audit", "--subject", "bank", "--ttl", "60")
    )
    settings = load_settings()
    verifier = TokenVerifier(settings.jwt_secret, settings.jwt_issuer, settings.jwt_audience)
    principal = verifier.verify(out.strip())
    assert code == 0
    assert (principal.subject, principal.scopes) == ("bank", {"labels", "audit"})


def test_keys_are_added_listed_and_retired() -> None:
    code, out, _ = fraud("keys", "add")
    name = out.strip()
    assert code == 0
    settings = load_settings()
    keyring = Keyring(settings)
    token = fraud("token")[1].strip()
    assert jwt.get_unverified_header(token)["kid"] == name
    verifier = TokenVerifier(keyring, settings.jwt_issuer, settings.jwt_audience)
    assert verifier.verify(token).subject == "developer"
    code, out, _ = fraud("keys", "list")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["│", "unnamed", "│", "HS256", "│", "verifies", "│"] in rows
    assert any(name in row and "signs" in row for row in rows)
    assert fraud("keys", "retire", "unnamed")[0] == 0
    assert "unnamed" not in fraud("keys", "list")[1]
    code, _, err = fraud("keys", "retire", name)
    assert code == 2
    assert err.startswith("fraud: This is the last token key")


def test_a_token_is_revoked(monkeypatch: pytest.MonkeyPatch, new_ledger: Callable[[], str]) -> None:
    ledger = new_ledger()
    monkeypatch.setenv("DATABASE_URL", ledger)
    token = fraud("token")[1].strip()
    code, out, _ = fraud("token", "revoke", "--token", token, "--reason", "a laptop was stolen")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (code, out) == (0, f"Revoked: token {claims['jti']}\n")
    with transaction(ledger) as cursor:
        assert revocations(cursor).tokens == {claims["jti"]}
    code, _, err = fraud("token", "revoke", "--reason", "x")
    assert code == 2
    assert "Give one of --token, --jti and --subject." in err


def test_a_wrong_setting_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_API_PORT", "eighty")
    code, out, err = fraud("token")
    assert (code, out) == (2, "")
    assert err.startswith("fraud: FRAUD_API_PORT is wrong: ")
    assert len(err.splitlines()) == 1


def test_a_short_secret_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_JWT_SECRET", "short")
    code, _, err = fraud("token")
    assert code == 2
    assert "32" in err


def test_an_unexpected_error_keeps_its_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch, run_dir: Path
) -> None:
    def explode() -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("fraud.run.smoke.development_token", lambda *_: explode())
    code, _, err = fraud("token")
    assert code == 1
    assert "ZeroDivisionError: boom" in err
    assert "Traceback" not in err
    (kept,) = (run_dir / "logs").glob("error-*.log")
    assert str(kept) in err
    assert "Traceback" in kept.read_text()


def test_features_are_listed_in_model_order() -> None:
    code, out, _ = fraud("features", "list")
    assert code == 0
    words = [line.split()[1] for line in out.splitlines() if len(line.split()) > 1]
    assert [word for word in words if word in CREDIT_CARD.feature_names] == list(
        CREDIT_CARD.feature_names
    )


def test_a_feature_is_described() -> None:
    code, out, _ = fraud("features", "describe", "user_count_1h")
    assert code == 0
    assert "user_count_1h" in out
    assert "window" in out


def test_a_misspelt_feature_or_type_is_recognised() -> None:
    code, _, err = fraud("features", "describe", "user_count_1hour")
    assert code == 2
    assert "user_count_1h'" in err
    code, _, err = fraud("features", "list", "--fraud-type", "tax")
    assert code == 2
    assert "credit_card" in err


def test_the_page_of_features_is_written_and_checked(tmp_path: Path) -> None:
    page = str(tmp_path / "features.md")
    code, out, err = fraud("features", "docs", "--check", "--page", page)
    assert (code, out) == (1, "")
    assert err == f"{page} is not current. Run: fraud features docs --write\n"
    assert fraud("features", "docs", "--write", "--page", page)[0] == 0
    assert fraud("features", "docs", "--check", "--page", page)[0] == 0
    assert fraud("features", "docs")[1] == Path(page).read_text(encoding="utf-8")
    Path(page).write_text("another", encoding="utf-8")
    assert fraud("features", "docs", "--check", "--page", page)[0] == 1


def test_schemas_in_files_are_compared(tmp_path: Path) -> None:
    _, listed, _ = fraud("features", "list", "--json")
    saved = tmp_path / "schema.json"
    saved.write_text(listed, encoding="utf-8")
    code, out, _ = fraud("features", "diff", str(saved), "code")
    schema_hash = CREDIT_CARD.schema_hash
    assert (code, out) == (0, f"{saved} {schema_hash} == code {schema_hash}\n")
    old = json.loads(listed)
    old["schema_hash"] = "of another day"
    old["definition"]["features"]["amount"]["default"] = 7.0
    saved.write_text(json.dumps(old), encoding="utf-8")
    code, out, _ = fraud("features", "diff", str(saved), "code")
    assert code == 1
    assert out.splitlines() == [
        "changed  amount: default 7.0 -> 0.0",
        f"{saved} of another day != code {schema_hash}",
    ]


def test_what_serves_is_compared_with_the_code(
    monkeypatch: pytest.MonkeyPatch, ledger_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    code, _, err = fraud("features", "diff")
    assert code == 2
    assert "No model of credit_card serves" in err
    trained = dataclasses.replace(CREDIT_CARD, maturity="8d")
    with transaction(ledger_url) as cursor:
        definition = definition_of(trained)
        names = trained.feature_names
        record_feature_schema(cursor, trained.schema_hash, trained.name, names, definition)
    promote(load_settings(), ledger_url, "v1", kind=trained)
    for old in ("served", trained.schema_hash):
        code, out, _ = fraud("features", "diff", old)
        assert code == 1
        assert out.splitlines() == [
            "contract maturity: 8d -> 7d",
            f"{old} {trained.schema_hash} != code {CREDIT_CARD.schema_hash}",
        ]
    code, _, err = fraud("features", "diff", "0123")
    assert code == 2
    assert "keeps no feature schema '0123'" in err


def test_a_file_that_holds_no_schema_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text("[]", encoding="utf-8")
    for name, what in ((file, "holds no feature schema"), (tmp_path / "no.json", "no file")):
        code, _, err = fraud("features", "diff", str(name), "code")
        assert code == 2
        assert what in err


def test_version_is_a_version() -> None:
    code, out, _ = fraud("version")
    assert code == 0
    assert out.strip()[0].isdigit()


def test_migrate_prints_the_revision(monkeypatch: pytest.MonkeyPatch, ledger_url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    assert fraud("db", "migrate")[:2] == (0, f"{head_revision()}\n")


def test_an_unreachable_ledger_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hidden@127.0.0.1:1/fraud")
    code, _, err = fraud("db", "migrate")
    assert code == 2
    assert "does not answer" in err
    assert "hidden" not in err


def test_audit_verify_finds_an_edited_record(
    monkeypatch: pytest.MonkeyPatch, ledger_url: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    connection = connect(ledger_url)
    chain = claim_chain(connection, "cli-test")
    with connection.cursor() as cursor:
        entry = AuditEntry("me", "score", "success", "here", "transaction", "T1")
        append(cursor, chain, [entry, entry], 1_700_000_000_000_000)
    connection.commit()
    code, out, _ = fraud("audit", "verify")
    summary = "2 records in 1 chains, checked against {} anchors, {} findings"
    assert (code, out.splitlines()[-1]) == (0, summary.format(0, 0))
    assert "No heads were noted outside the ledger" in out
    AnchorFile(load_settings().audit_anchor_file).note(anchors(connection))
    code, out, _ = fraud("audit", "verify")
    assert (code, out.splitlines()) == (0, [summary.format(1, 0)])
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # past the triggers
        cursor.execute("UPDATE audit_log SET actor = 'you' WHERE position = 1")
    connection.commit()
    code, out, _ = fraud("audit", "verify")
    assert code == 1
    assert "1 of chain" in out
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM audit_log")
        cursor.execute("DELETE FROM audit_anchor")
    connection.commit()
    connection.close()
    copy = tmp_path / "a copy kept elsewhere.jsonl"
    load_settings().audit_anchor_file.rename(copy)
    assert fraud("audit", "verify")[0] == 0  # the ledger alone cannot tell
    code, out, _ = fraud("audit", "verify", "--anchors", str(copy))
    assert code == 1
    assert f"Records 1 to 2 are missing from chain '{chain}'." in out
    code, _, err = fraud("audit", "verify", "--anchors", str(tmp_path / "nothing"))
    assert code == 2
    assert "cannot be read" in err


def test_serve_without_a_bento_says_how_to_get_one() -> None:
    code, _, err = fraud("serve")
    assert code == 2
    assert "fraud bento build" in err


def test_ingest_of_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    mapping = tmp_path / "map.yaml"
    mapping.write_text("columns: {}\n")
    code, _, err = fraud("ingest", "credit_card", str(tmp_path / "no.csv"), "--map", str(mapping))
    assert code == 2
    assert err.startswith("fraud: ")


def test_help_lists_every_command() -> None:
    _, out, _ = fraud("--help")
    for command in ("run", "serve", "token", "ingest", "pipeline", "bento", "postgres", "audit"):
        assert command in out


def test_one_file_cannot_hold_every_fraud_type() -> None:
    code, _, err = fraud("pipeline", "run", "--all", "--source", "file", "--file", "x.csv")
    assert code == 2
    assert "name one --fraud-type" in err
