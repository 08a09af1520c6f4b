"""Rules, lists and policies in the ledger: what counts now, and what counted then."""

import threading
from collections.abc import Callable, Iterator

import pytest

from fraud.domain.errors import InvalidField, NotFound
from fraud.domain.policy import Thresholds
from fraud.domain.rules import RiskLevel, RuleVersion
from fraud.domain.ruleset import Ruleset, built_in
from fraud.ledger.lists import add_entries, create_list, entries_of, lists_of, remove_entries
from fraud.ledger.policies import MODEL_DEFAULT, activate_policy, policies_of, propose_policy
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.rules import change_state, draft_rule, rules_of, seed_rules
from fraud.ledger.rulesets import latest_revisions, load_ruleset
from fraud.ledger.statement import Cursor
from fraud.types.credit_card import CREDIT_CARD

KIND = "credit_card"
NOW_US = 1_790_078_400_000_000


@pytest.fixture
def pool(new_ledger: Callable[[], str]) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(new_ledger(), size=8)
    yield pool
    pool.close()


def ruleset(cursor: Cursor, **at: int) -> Ruleset:
    latest = latest_revisions(cursor)
    versions = {
        f"{part}_version": at.get(part, latest.get((KIND, part), 0))
        for part in ("rules", "lists", "policy")
    }
    return load_ruleset(cursor, KIND, **versions)


def draft(cursor: Cursor, code: str = "R", expression: str = "amount > 1") -> RuleVersion:
    return draft_rule(cursor, KIND, code, "text", RiskLevel.HIGH, expression, "ann", NOW_US)


def serving(cursor: Cursor, **at: int) -> list[tuple[str, int, str]]:
    return [(rule.code, rule.version, rule.state) for rule in ruleset(cursor, **at).rules]


def test_built_in_rules_are_seeded_once_and_then_the_ledger_counts(pool: ConnectionPool) -> None:
    rules = built_in(CREDIT_CARD).rules
    with pool.transaction() as cursor:
        assert seed_rules(cursor, KIND, rules, NOW_US) == [rule.code for rule in rules]
        assert ruleset(cursor).rules == rules
        change_state(cursor, KIND, rules[0].code, 1, "retired", "ann", NOW_US)
        assert seed_rules(cursor, KIND, rules, NOW_US) == []
        assert ruleset(cursor).rules == rules[1:]


def test_processes_that_start_together_seed_once(pool: ConnectionPool) -> None:
    seeded: list[list[str]] = []

    def seed() -> None:
        with pool.transaction() as cursor:
            seeded.append(seed_rules(cursor, KIND, built_in(CREDIT_CARD).rules, NOW_US))

    threads = [threading.Thread(target=seed) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, seeded)) == [0, 0, 0, 0, 0, len(CREDIT_CARD.rules)]


def test_a_rule_passes_its_states_and_a_new_version_replaces_it(pool: ConnectionPool) -> None:
    with pool.transaction() as cursor:
        draft(cursor)
        assert serving(cursor) == []
        change_state(cursor, KIND, "R", 1, "shadow", "ann", NOW_US)
        assert serving(cursor) == [("R", 1, "shadow")]
        change_state(cursor, KIND, "R", 1, "active", "ann", NOW_US)
        draft(cursor, expression="amount > 2")
        change_state(cursor, KIND, "R", 2, "shadow", "ann", NOW_US)
        assert serving(cursor) == [("R", 1, "active"), ("R", 2, "shadow")]
        change_state(cursor, KIND, "R", 2, "active", "bob", NOW_US)
        assert serving(cursor) == [("R", 2, "active")]
        states = [(each.rule.version, each.rule.state) for each in rules_of(cursor, KIND, "R")]
        assert states == [(1, "retired"), (2, "active")]


def test_a_rule_cannot_come_back_from_retirement(pool: ConnectionPool) -> None:
    with pool.transaction() as cursor:
        draft(cursor)
        change_state(cursor, KIND, "R", 1, "retired", "ann", NOW_US)
    with pytest.raises(InvalidField, match="draft a new version"), pool.transaction() as cursor:
        change_state(cursor, KIND, "R", 1, "active", "ann", NOW_US)
    with pytest.raises(NotFound, match="version 9"), pool.transaction() as cursor:
        change_state(cursor, KIND, "R", 9, "active", "ann", NOW_US)


def test_every_earlier_ruleset_can_be_read_again(pool: ConnectionPool) -> None:
    history: list[Ruleset] = []
    thresholds = Thresholds(0.1, 0.5, 0.9)
    with pool.transaction() as cursor:
        steps: list[Callable[[], object]] = [
            lambda: draft(cursor),
            lambda: change_state(cursor, KIND, "R", 1, "shadow", "ann", NOW_US),
            lambda: create_list(cursor, KIND, "bad", "deny", "user_id", "", "ann", NOW_US),
            lambda: add_entries(cursor, KIND, "bad", [("U1", "", None)], "ann", NOW_US),
            lambda: change_state(cursor, KIND, "R", 1, "active", "ann", NOW_US),
            lambda: add_entries(
                cursor, KIND, "bad", [("U1", "", 5_000_000), ("U2", "", None)], "ann", NOW_US
            ),
            lambda: activate_policy(
                cursor,
                KIND,
                propose_policy(cursor, KIND, thresholds, "", "ann", NOW_US).version,
                "ann",
                NOW_US,
            ),
            lambda: remove_entries(cursor, KIND, "bad", ["U1"], "bob", NOW_US),
            lambda: draft(cursor, expression="amount > 9"),
            lambda: change_state(cursor, KIND, "R", 2, "active", "ann", NOW_US),
            lambda: activate_policy(cursor, KIND, MODEL_DEFAULT, "ann", NOW_US),
        ]
        for step in steps:
            step()
            history.append(ruleset(cursor))
        for then in history:
            again = load_ruleset(
                cursor,
                KIND,
                rules_version=then.rules_version,
                lists_version=then.lists_version,
                policy_version=then.policy_version,
            )
            assert again == then
    assert [dict(each.lists[0].entries) for each in history[3:8:2]] == [
        {"U1": None},
        {"U1": 5_000_000, "U2": None},
        {"U2": None},
    ]
    assert [each.thresholds for each in history[5:8]] == [None, thresholds, thresholds]
    assert history[-1].thresholds is None


def test_a_ruleset_is_read_whole_while_others_write(pool: ConnectionPool) -> None:
    """Two rules always change together; no reader may ever see one without the other."""
    with pool.transaction() as cursor:
        for code in ("A", "B"):
            draft(cursor, code)
            change_state(cursor, KIND, code, 1, "shadow", "ann", NOW_US)
    is_done = threading.Event()
    torn: list[object] = []

    def read() -> None:
        while not is_done.is_set():
            with pool.transaction() as cursor:  # read committed: every statement sees anew
                version = latest_revisions(cursor)[KIND, "rules"]
                threading.Event().wait(0.001)
                states = [state for _, _, state in serving(cursor, rules=version)]
                if len(set(states)) > 1:
                    torn.append(states)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(40):
        with pool.transaction() as cursor:
            for code in ("A", "B"):
                state = "active" if turn % 2 == 0 else "shadow"
                change_state(cursor, KIND, code, 1, state, "ann", NOW_US)  # type: ignore[arg-type]
    is_done.set()
    for reader in readers:
        reader.join()
    assert torn == []


def test_lists_say_who_put_what_on_them(pool: ConnectionPool) -> None:
    with pool.transaction() as cursor:
        create_list(cursor, KIND, "bad", "deny", "user_id", "Known fraud.", "ann", NOW_US)
        values = [(f"U{n}", "seen", NOW_US + n) for n in range(5)]
        add_entries(cursor, KIND, "bad", values, "bob", NOW_US)
        (found,) = lists_of(cursor, KIND)
        assert (found.entry_count, found.created_by) == (5, "ann")
        page = entries_of(cursor, found.list_id, after="U1", limit=2)
        assert [(each.value, each.added_by, each.expires_at_us) for each in page] == [
            ("U2", "bob", NOW_US + 2),
            ("U3", "bob", NOW_US + 3),
        ]
        assert remove_entries(cursor, KIND, "bad", ["U1", "U9"], "ann", NOW_US) == 1
    with pytest.raises(InvalidField, match="already"), pool.transaction() as cursor:
        create_list(cursor, KIND, "bad", "deny", "user_id", "", "ann", NOW_US)
    with pytest.raises(NotFound), pool.transaction() as cursor:
        add_entries(cursor, KIND, "worse", [("U1", "", None)], "ann", NOW_US)


def test_equal_thresholds_are_one_policy(pool: ConnectionPool) -> None:
    with pool.transaction() as cursor:
        first = propose_policy(cursor, KIND, Thresholds(0.1, 0.5, 0.9), "a", "ann", NOW_US)
        again = propose_policy(cursor, KIND, Thresholds(0.1, 0.5, 0.9), "b", "bob", NOW_US)
        assert first == again
        activate_policy(cursor, KIND, first.version, "bob", NOW_US)
        assert [each.is_active for each in policies_of(cursor, KIND)] == [True]
        with pytest.raises(NotFound):
            activate_policy(cursor, KIND, "nothing", "bob", NOW_US)
