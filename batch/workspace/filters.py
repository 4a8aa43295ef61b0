"""Filters of lists: the part of AIP-160 that clients use, parsed once into a predicate.

    state = "RUNNING" AND (model : "qwen" OR NOT create_time < "2026-01-01")    words side by side mean AND

As in AIP-160, OR binds tighter than AND, `:` means "contains", `field:*` "is set", and `*` at an end of a quoted
text stands for anything. Knows nothing of what is filtered.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from batch.clock import parse_rfc3339, rfc3339
from batch.errors import UsageError

MAX_FILTER_CHARACTERS = 2000
MAX_DEPTH = 20

# A tuple holds the names of one value: `state` is COMPLETED and JOB_STATE_COMPLETED.
Value = str | int | float | bool | None | tuple[str, ...]
Lookup = Callable[[str], Value]
Predicate = Callable[[Lookup], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<sign><=|>=|!=|=|<|>|:)|(?P<paren>[()])"""
    r"""|(?P<word>[^\s()<>=!:"']+))"""
)
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT.+(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


def parse_filter(text: str, names: Collection[str]) -> Predicate:
    """The predicate that a filter stands for; an empty one accepts all. UsageError names the column or the field."""
    if len(text) > MAX_FILTER_CHARACTERS:
        raise UsageError(f"The filter has {len(text)} characters; at most {MAX_FILTER_CHARACTERS} are read.")
    if not text.strip():
        return lambda _: True
    return _Parser(text, names).parse()


def field_name(written: str, names: Collection[str]) -> str:
    """The snake_case name of a field written in that or in camelCase. UsageError lists the fields."""
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", written).lower()
    if snake not in names:
        raise UsageError(f"{written!r} is no field of this list; it has {', '.join(sorted(names))}.")
    return snake


class _Parser:
    """Recursive descent, one method for each rule of the grammar."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self._text = text
        self._names = names
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def parse(self) -> Predicate:
        predicate = self._expression()
        if self._peek() is not None:
            raise self._unexpected("the end")
        return predicate

    def _expression(self) -> Predicate:
        terms = [self._alternatives()]
        while (token := self._peek()) is not None and token.text != ")":
            self._take_word("AND")
            terms.append(self._alternatives())
        return lambda lookup: all(term(lookup) for term in terms)

    def _alternatives(self) -> Predicate:
        terms = [self._term()]
        while self._take_word("OR"):
            terms.append(self._term())
        return lambda lookup: any(term(lookup) for term in terms)

    def _term(self) -> Predicate:
        if self._take_word("NOT") or self._take_word("-"):
            negated = self._simple()
            return lambda lookup: not negated(lookup)
        return self._simple()

    def _simple(self) -> Predicate:
        token = self._peek()
        if token is None or token.text != "(":
            return self._restriction()
        self._next += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UsageError(f"The filter nests parentheses deeper than {MAX_DEPTH}.")
        predicate = self._expression()
        self._take("paren", "')'")
        self._depth -= 1
        return predicate

    def _restriction(self) -> Predicate:
        name = field_name(self._take("word", "a field").text, self._names)
        sign = self._take("sign", "one of = != < <= > >= :").text
        argument = self._peek()
        if argument is None or argument.kind not in ("text", "word"):
            raise self._unexpected("a value")
        self._next += 1
        literal = _unquoted(argument.text) if argument.kind == "text" else argument.text
        return lambda lookup: _compare(lookup(name), sign, literal=literal, field=name)

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, kind: str, expected: str) -> _Token:
        token = self._peek()
        if token is None or token.kind != kind or token.text == "(":
            raise self._unexpected(expected)
        self._next += 1
        return token

    def _take_word(self, word: str) -> bool:
        token = self._peek()
        found = token is not None and token.kind == "word" and token.text == word
        self._next += found
        return found

    def _unexpected(self, expected: str) -> UsageError:
        token = self._peek()
        found = f"{token.text!r} at column {token.column}" if token else "its end"
        return UsageError(f"filter {self._text!r}: expected {expected}, found {found}.")


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise UsageError(f"filter {text!r}: cannot read {text[position:].strip()[:20]!r} at column {position + 1}.")
        kind, start, end = match.lastgroup, match.start(match.lastgroup), match.end()
        is_negation = kind == "word" and text[start] == "-" and not (tokens and tokens[-1].kind == "sign")
        position = start + 1 if is_negation else end
        tokens.append(_Token(kind, text[start:position], start + 1))
    return tokens


def _unquoted(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])


def _compare(value: Value, sign: str, *, literal: str, field: str) -> bool:
    if sign == "!=":
        return not _compare(value, "=", literal=literal, field=field)
    if sign == ":" and literal == "*":
        return value not in (None, "")
    if value is None:
        return False
    if isinstance(value, tuple):
        return any(_compare_text(name, sign, literal) for name in value)
    if isinstance(value, bool):
        return sign in "=:" and literal.lower() == str(value).lower()
    if isinstance(value, str):
        return _compare_text(value, sign, literal)
    return _compare_number(value, sign, literal=literal, field=field)


def _compare_number(value: float, sign: str, *, literal: str, field: str) -> bool:
    try:
        number = float(literal)
    except ValueError:
        raise UsageError(f"filter on {field}: {literal!r} is not a number.") from None
    return value == number if sign in "=:" else _ORDERED[sign](value, number)


def _compare_text(value: str, sign: str, literal: str) -> bool:
    if _TIME.fullmatch(literal) and _TIME.fullmatch(value):
        value, literal = _comparable_time(value), _comparable_time(literal)
    if sign in _ORDERED:
        return _ORDERED[sign](value, literal)
    if sign == ":":
        return literal in value
    starts_open, ends_open = literal.startswith("*"), literal.endswith("*") and literal != "*"
    middle = literal[starts_open : len(literal) - ends_open]
    if starts_open and ends_open:
        return middle in value
    if starts_open or ends_open:
        return value.endswith(middle) if starts_open else value.startswith(middle)
    return value == literal


def _comparable_time(text: str) -> str:
    try:
        return rfc3339(parse_rfc3339(text))
    except ValueError:
        raise UsageError(f"{text!r} is not an RFC 3339 time.") from None
