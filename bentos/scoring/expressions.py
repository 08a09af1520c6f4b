"""The language of rules: a small, total part of CEL, the Common Expression Language.

Google's own implementation compiles, checks and evaluates. In front of it stands a list of
what may occur: comparisons, arithmetic, `&&`, `||`, `!`, `? :`, `in [...]` and the text methods
`contains`, `startsWith` and `endsWith`. There are no loops and no calls into Python, so the
cost of an expression is bounded by its length, and its evaluation cannot fail. Whole numbers
are read as doubles, since every number an expression can name is one.
"""

import difflib
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cel_expr_python import cel

from fraud.domain.errors import InvalidField
from fraud.domain.event import field_kinds
from fraud.domain.fraud_type import FraudType

PROBABILITY = "probability"
AMOUNT = "amount"
LISTS = "lists."
FIELD = "expression"
"""The field of a request that holds an expression."""

LONGEST = 500
"""Characters of an expression at most."""

DEPTH_OF_JOINING = 8
"""Levels by which `bentos.scoring.ruleset` nests the expressions it joins, at most."""

METHODS = frozenset({"contains", "startsWith", "endsWith"})

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}

Kind = Literal["number", "text", "flag"]
Value = float | str | bool

_TYPES = {"number": cel.Type.DOUBLE, "text": cel.Type.STRING, "flag": cel.Type.BOOL}
_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
    | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')(?!['"])
    | (?P<number>\d+(?P<fraction>\.\d+)?(?P<exponent>[eE][+-]?\d+)?)(?![\w.])
    | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?!['"])
    | (?P<mark>&&|\|\||[<>=!]=|[<>!+*/?:()\[\],-])
    """,
    re.VERBOSE | re.ASCII,
)
_ERROR = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_UNKNOWN = re.compile(r"undeclared reference to '([^']+)'")
_LANGUAGE = "docs/rules.md describes the language."


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was checked.

    Attributes:
        source: as its author wrote it.
        compiled: what CEL evaluates; the source with every number as a double.
        variables: names it looks at, in order of appearance.
    """

    source: str
    compiled: str
    variables: tuple[str, ...]


class Language:
    """What rules of one fraud type may say.

    Variables are the features by name, `amount`, the model's `probability`, the event's own
    fields and `lists.<name>`, which tells whether the event is on that list. A text field that
    was not sent is "", a flag false and a number NaN, which no comparison holds for.

    Args:
        fraud_type: whose features and fields.
        list_names: lists there are.
    """

    def __init__(self, fraud_type: FraudType, list_names: Collection[str] = ()) -> None:
        kinds: dict[str, Kind] = dict(field_kinds(fraud_type.transaction))
        kinds |= dict.fromkeys((*fraud_type.feature_names, AMOUNT, PROBABILITY), "number")
        kinds |= {LISTS + name: "flag" for name in list_names}
        self.kinds: Mapping[str, Kind] = kinds
        self._env = cel.NewEnv(variables={name: _TYPES[kind] for name, kind in kinds.items()})

    def check(self, source: str) -> Expression:
        """An expression that may become a rule.

        Raises:
            InvalidField: it may not; each problem names its line and column.
        """
        if not 1 <= len(source) <= LONGEST:
            what = f"has {len(source)} characters"
            raise InvalidField([(FIELD, what, f"Write 1 to {LONGEST} characters.")])
        expression, columns = _read(source)
        program = self._compile(source, expression.compiled, columns)
        if program.return_type() != cel.Type.BOOL:
            what = f"is a {program.return_type().name().lower()}, not true or false"
            raise InvalidField([(FIELD, what, "Compare it with something, e.g. '> 0'.")])
        self._compile(source, _joined(expression.compiled), [])
        return expression

    def program(self, compiled: str) -> Any:
        """What evaluates text made of checked expressions: `eval(data=...)`."""
        return self._env.compile(compiled)

    def _compile(self, source: str, compiled: str, columns: list[int]) -> Any:
        try:
            return self._env.compile(compiled)
        except RuntimeError as error:  # the one exception of the library
            found = _ERROR.findall(str(error))
            problems = [
                (FIELD, f"{_place(source, compiled, columns, line, column)}: {what}", remedy)
                for line, column, what in found[:5]
                if int(line) > 0
                for remedy in [self._remedy(what)]
            ]
            deep = (FIELD, "is nested too deeply", "Write it flatter, or as two rules.")
            raise InvalidField(problems or [deep]) from None

    def _remedy(self, what: str) -> str:
        unknown = _UNKNOWN.search(what)
        if unknown is None:
            return _LANGUAGE
        close = difflib.get_close_matches(unknown[1], self.kinds, n=3)
        if close:
            return f"Did you mean {' or '.join(map(repr, close))}?"
        return f"Use a feature, a field of the event, '{PROBABILITY}' or '{LISTS}<name>'."


def required_comparisons(expression: Expression) -> tuple[tuple[str, str, float], ...]:
    """Comparisons with a number, all of which hold wherever the expression does.

    They are terms that `&&` joins at the top; of most rules, one of them fails for most events.
    """
    terms: list[list[str]] = [[]]
    depth = 0
    for token in _TOKEN.finditer(expression.compiled):
        text = token[0]
        depth += (text in ("(", "[")) - (text in (")", "]"))
        if not depth and text in ("||", "?"):
            return ()
        if not depth and text == "&&":
            terms.append([])
        elif not token["space"]:
            terms[-1].append(text)
    return tuple(
        (term[0], term[1], float(term[2]))
        for term in terms
        if len(term) == 3 and term[1] in COMPARISONS and term[2][0].isdigit()
    )


def _joined(compiled: str) -> str:
    """An expression as deep as it may come to stand where several are joined."""
    return "(" * DEPTH_OF_JOINING + compiled + ")" * DEPTH_OF_JOINING


def _read(source: str) -> tuple[Expression, list[int]]:
    """The expression, and for every character of its compiled form the place in the source."""
    compiled: list[str] = []
    columns: list[int] = []
    names: list[str] = []
    place = 0
    while place < len(source):
        token = _TOKEN.match(source, place)
        if token is None:
            raise _refused(source, place, f"{source[place]!r} is not part of the language")
        text = token[0]
        rest = source[token.end() :].lstrip()
        if token["name"]:
            names.append(_variable(source, token, rest.startswith("(")))
        elif token["number"] and not (token["fraction"] or token["exponent"]):
            text += ".0"
        elif text == "[" and source[:place].rstrip()[-2:] != "in":
            raise _refused(source, place, "a list may only follow 'in'")
        compiled.append(text)
        columns.extend(min(place + k, token.end() - 1) for k in range(len(text)))
        place = token.end()
    variables = tuple(name for name in dict.fromkeys(names) if name)
    return Expression(source, "".join(compiled), variables), columns


def _variable(source: str, token: re.Match[str], is_call: bool) -> str:
    """The variable a name stands for, without the method it is asked for; "" for keywords."""
    name = token["name"]
    if name in ("true", "false", "in"):
        return ""
    if not is_call:
        return name
    owner, _, method = name.rpartition(".")
    if not owner or method not in METHODS:
        what = f"{method!r} cannot be called; only {', '.join(sorted(METHODS))} can, on texts"
        raise _refused(source, token.start(), what)
    return owner


def _refused(source: str, place: int, what: str) -> InvalidField:
    return InvalidField([(FIELD, f"{_line_column(source, place)}: {what}", _LANGUAGE)])


def _place(source: str, compiled: str, columns: list[int], line: str, column: str) -> str:
    """A position in the compiled text, as the author counts."""
    starts = [0, *(each.end() for each in re.finditer("\n", compiled))]
    place = starts[int(line) - 1] + int(column) - 1
    at = columns[place] if place < len(columns) else len(source)
    return _line_column(source, at)


def _line_column(source: str, place: int) -> str:
    before = source[:place]
    line, column = before.count("\n") + 1, place - (before.rfind("\n") + 1) + 1
    return f"line {line}, column {column}"
