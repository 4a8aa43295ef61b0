"""Templates: the fields of a row, put into a prompt or into messages. Only names of fields: no code runs.

`{name}` is the field, `{{` and `}}` are braces. Knows nothing of lines and ids.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from batch.errors import UsageError
from batch.spec.parameters import Problem
from batch.strict_json import dumps

Message = dict[str, Any]

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NOT_PLAIN = re.compile(r"[.\[\]!:]")


class MissingField(Exception):
    """A row lacks a field that the template names."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class PromptTemplate:
    """One user message made of a text: `PromptTemplate("Q: {question}")`. Raises UsageError for what is no template."""

    def __init__(self, text: str) -> None:
        self._text = _Text(text, "prompt template")
        if not self._text.fields:
            raise UsageError(f"prompt template {text!r}: names no field, as {{question}}; every row would be the same")

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields that a row needs."""
        return self._text.fields

    def messages(self, row: Mapping[str, object]) -> list[Message]:
        """Return the row's messages. Raises MissingField."""
        return [{"role": "user", "content": self._text.filled(row)}]


class MessagesTemplate:
    """Messages whose texts, at any depth, name fields. Raises UsageError for a template that is none."""

    def __init__(self, messages: Sequence[Mapping[str, object]]) -> None:
        if not isinstance(messages, list) or not messages:
            raise UsageError("messages template: expected a JSON list of messages, with at least one")
        for number, message in enumerate(messages, start=1):
            if not isinstance(message, dict) or not isinstance(message.get("role"), str):
                raise UsageError(f'messages template: message {number} is no object with a "role"')
        self._texts = {text: _Text(text, "messages template") for text in _strings(messages)}
        self._messages = messages

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields that a row needs."""
        return frozenset[str]().union(*(text.fields for text in self._texts.values()))

    def messages(self, row: Mapping[str, object]) -> list[Message]:
        """Return the row's messages. Raises MissingField."""
        filled: list[Message] = _mapped(self._messages, lambda text: self._texts[text].filled(row))
        return filled


class _Text:
    """A text in pieces: what stands between the fields, and the names of the fields."""

    def __init__(self, text: str, what: str) -> None:
        self._pieces = list(_split(text, what))
        self.fields = frozenset(name for _, name in self._pieces if name is not None)

    def filled(self, row: Mapping[str, object]) -> str:
        return "".join(before if name is None else before + _value(row, name) for before, name in self._pieces)


def _split(text: str, what: str) -> Iterator[tuple[str, str | None]]:
    """Yield (text before a field, name of the field); the last name is None."""
    before, end = "", 0
    for token in _TOKEN.finditer(text):
        before += text[end : token.start()]
        end = token.end()
        name = token[1]
        if token[0] in ("{{", "}}"):
            before += token[0][0]
        elif name is None:
            raise UsageError(
                f"{what}: a lone {token[0]!r} at character {token.start()}; write {token[0] * 2!r} for a brace"
            )
        elif not name or _NOT_PLAIN.search(name):
            raise UsageError(f"{what}: {token[0]!r} at character {token.start()} is not the plain name of a field")
        else:
            yield before, name
            before = ""
    yield before + text[end:], None


def _value(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if isinstance(value, str):
        return value
    if value is None:
        state = "is null" if name in row else "is not in the row"
        raise MissingField(Problem(name, f"{name}: the template needs this field, it {state}"))
    return dumps(value).decode()


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _strings(member)


def _mapped(value: Any, fill: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return fill(value)
    if isinstance(value, dict):
        return {name: _mapped(member, fill) for name, member in value.items()}
    if isinstance(value, list):
        return [_mapped(member, fill) for member in value]
    return value
