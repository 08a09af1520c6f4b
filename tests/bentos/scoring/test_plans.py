"""The server plans the statements of the scoring path once, and never to read whole tables."""

from collections.abc import Callable
from pathlib import Path

from fraud.ledger.pool import ConnectionPool
from tests.bentos.scoring.worlds import a_model, a_request, a_scorer


def test_statements_are_planned_once_and_look_rows_up_by_key(
    new_ledger: Callable[[], str], tmp_path: Path
) -> None:
    """On an empty ledger, where reading a whole table costs nothing yet."""
    pool = ConnectionPool(new_ledger(), size=1)
    with a_scorer(pool, a_model(tmp_path)) as scorer:
        for batch in range(8):
            scorer.score([a_request(f"T{batch}-{n}", seed=n) for n in range(batch + 1)])
    with pool.transaction() as cursor:
        cursor.execute(
            "SELECT name, custom_plans, generic_plans, parameter_types::text[] "
            "FROM pg_prepared_statements"
        )
        prepared = cursor.fetchall()
        assert {"claim_states", "known_transactions", "insert_decisions"} <= {
            p[0] for p in prepared
        }
        for name, custom_plans, generic_plans, types in prepared:
            assert custom_plans == 0 < generic_plans, name
            nulls = f"({', '.join(['NULL'] * len(types))})" if types else ""
            cursor.execute(f"EXPLAIN EXECUTE {name} {nulls}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan" not in plan, plan
    pool.close()
