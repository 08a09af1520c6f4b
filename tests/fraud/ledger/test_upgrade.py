"""A ledger that the first version wrote, brought to today's schema: all of it is still there."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from psycopg2 import sql

from bentos.scoring.scorer import Scorer, ScoreRequest
from fraud.domain.decision import Decision
from fraud.domain.errors import DuplicateConflict, FraudError, StateUnavailable
from fraud.domain.rules import RiskLevel
from fraud.ledger.audit_check import AuditReport, verify
from fraud.ledger.decisions import known_transactions
from fraud.ledger.deliveries import lead, next_batch
from fraud.ledger.deployments import current_deployment
from fraud.ledger.engine import connect, ensure_database
from fraud.ledger.labels import labels_of
from fraud.ledger.pool import ConnectionPool, transaction
from fraud.ledger.schema import head_revision, migrate
from tests.bentos.scoring.worlds import a_model, a_request, a_scorer
from tests.feature_store.worlds import START

FIRST = "0001"
WRITTEN = Path(__file__).with_name("ledger_0001.sql").read_text()
OLD = ("OLD_0", "OLD_1", "OLD_2")


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    """The upgraded ledger."""
    found = ensure_database(postgres_url, "written_by_the_first_version")
    assert migrate(found, FIRST) == FIRST
    with transaction(found) as cursor:
        cursor.execute(WRITTEN)
    assert migrate(found) == head_revision() > FIRST
    return found


def checked(url: str) -> AuditReport:
    connection = connect(url)
    try:
        return verify(connection)
    finally:
        connection.close()


def score(scorer: Scorer, request: ScoreRequest) -> Decision | FraudError:
    [answer] = scorer.score([request])
    return answer


def test_no_row_is_lost(url: str) -> None:
    written = Counter(re.findall(r"^INSERT INTO public\.(\w+)", WRITTEN, re.MULTILINE))
    assert len(written) >= 9
    found: dict[str, Any] = {}
    with transaction(url) as cursor:
        for table in written:
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
            [(found[table],)] = cursor.fetchall()
    assert found == written


def test_the_audit_chain_is_whole(url: str) -> None:
    report = checked(url)
    assert report.records == WRITTEN.count("INTO public.audit_log") == 3
    assert report.is_intact, report.findings


def test_what_was_decided_is_read_as_it_was(url: str) -> None:
    with transaction(url) as cursor:
        known = known_transactions(cursor, OLD)
        labels = {each.transaction_id: each.is_fraud for each in labels_of(cursor, OLD)}
        deployed = current_deployment(cursor, "credit_card")
    decisions = [known.decisions[name].decision for name in OLD]
    assert [each.recommended_action for each in decisions] == ["block"] * 3
    assert [each.risk_level for each in decisions] == [RiskLevel.CRITICAL] * 3
    assert all(each.reasons and each.rules_version == 0 for each in decisions)
    assert labels == {"OLD_1": True, "OLD_2": False}
    assert deployed is not None
    assert (deployed.model_version, deployed.stage) == ("model-1", "champion")


def test_messages_that_wait_are_still_delivered(url: str) -> None:
    connection = connect(url, autocommit=True)
    try:
        assert lead(connection, "a new sink")
        with connection.cursor() as cursor:
            batch = next_batch(cursor, "a new sink", 10)
    finally:
        connection.close()
    assert batch is not None
    assert [each.payload.count(name) > 0 for each, name in zip(batch.messages, OLD, strict=True)]


def test_work_goes_on(url: str, tmp_path: Path) -> None:
    """Old features are never mixed with new ones, and nothing is decided a second time."""
    pool = ConnectionPool(url, size=2)
    with a_scorer(pool, a_model(tmp_path)) as scorer:
        again = score(scorer, a_request("OLD_1", time_us=START + 60_000_000, amount_minor=2000))
        assert isinstance(again, DuplicateConflict), "its digest was made without our key"
        with pytest.raises(StateUnavailable, match="rebuil"):
            score(scorer, a_request("NEW_1", seed=0))
        with pool.transaction() as cursor:
            cursor.execute("DELETE FROM entity_state")  # as the pipeline does before it replays
        assert isinstance(score(scorer, a_request("NEW_1", seed=0)), Decision)
    pool.close()
    report = checked(url)
    assert report.is_intact, report.findings
    assert (report.chains, report.records) == (1, 5), "the old chain goes on"
