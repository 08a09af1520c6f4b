"""CONTRACT.md says which test holds each clause, and those tests exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CONTRACT = TESTS.parent / "feature_store" / "CONTRACT.md"
OF_CLAUSES = ("feature_store/test_clauses.py", "feature_store/test_label_clauses.py")

CLAUSE = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)
HELD_BY = re.compile(r" \((`[^()]+`)\)$")
REFERENCE = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def clauses(text: str) -> dict[int, str]:
    return {int(number): clause for number, clause in CLAUSE.findall(text)}


def references(clause: str) -> list[tuple[str, str]]:
    """Module and name of the tests that hold a clause: what stands in brackets at its end."""
    brackets = HELD_BY.search(clause)
    return REFERENCE.findall(brackets[1]) if brackets else []


def problems(text: str) -> Iterator[str]:
    found = clauses(text)
    if list(found) != list(range(1, len(found) + 1)):
        yield "clauses are not numbered one after another"
    for number, clause in found.items():
        held_by = references(clause)
        if not held_by:
            yield f"clause {number} names no test"
        for module, name in held_by:
            if name not in names_in(module):
                yield f"clause {number} names {module}::{name}, which does not exist"


def names_in(module: str) -> set[str]:
    path = TESTS / module
    if not path.is_file():
        return set()
    return {
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not any("skip" in ast.unparse(mark) for mark in node.decorator_list)
    }


def test_every_clause_is_held_by_a_test_that_exists() -> None:
    text = CONTRACT.read_text(encoding="utf-8")
    assert len(clauses(text)) > 40
    assert list(problems(text)) == []


def test_every_test_of_a_clause_is_named_by_one() -> None:
    text = CONTRACT.read_text(encoding="utf-8")
    named = {reference for clause in clauses(text).values() for reference in references(clause)}
    written = {(module, name) for module in OF_CLAUSES for name in names_in(module)}
    assert written - named == set()


@pytest.mark.parametrize(
    ("clause", "problem"),
    [
        ("1. **Bare.** It says something.", "clause 1 names no test"),
        ("1. Mentions `fraud/domain/test_windows.py` in passing.", "clause 1 names no test"),
        (
            "1. Wrong. (`fraud/domain/test_windows.py::test_nothing`)",
            "clause 1 names fraud/domain/test_windows.py::test_nothing, which does not exist",
        ),
        (
            "1. Wrong. (`fraud/domain/test_doors.py::test_a`)",
            "clause 1 names fraud/domain/test_doors.py::test_a, which does not exist",
        ),
        (
            "2. Late. (`fraud/domain/test_windows.py::test_the_hop_grows_with_the_window`)",
            "clauses are not numbered one after another",
        ),
    ],
)
def test_what_is_wrong_with_a_clause_is_said(clause: str, problem: str) -> None:
    assert list(problems(clause)) == [problem]
