"""Lists of things: a filter, an order, and pages whose tokens are bound to both.

Knows nothing of what is listed: a Listing names the fields. UsageError names the field or the token.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import orjson

from batch.errors import UsageError
from batch.workspace.filters import Value, field_name, parse_filter

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200

T = TypeVar("T")
_ORDER_TERM = re.compile(r"([A-Za-z_]\w*)(?:\s+(asc|desc))?")


@dataclass(frozen=True, slots=True)
class Query:
    """What a caller asks of a list. A page size above 200 counts as 200, 0 as 50."""

    filter: str = ""
    order_by: str = ""
    page_size: int = DEFAULT_PAGE_SIZE
    page_token: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list; `next_page_token` is empty on the last page, `total_size` counts all that pass the filter."""

    items: list[T]
    next_page_token: str
    total_size: int


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """How one kind of thing is listed: its fields, the unique one among them, and the order where none is asked."""

    fields: Mapping[str, Callable[[T], Value]]
    key: str
    default_order: str

    def page(self, items: Iterable[T], query: Query) -> Page[T]:
        """The page that the query asks for.

        It goes on behind the last item of the page before, also when items came or went in between.
        """
        accepts = parse_filter(query.filter, self.fields)
        terms = self._terms(query.order_by or self.default_order)

        def place(item: T) -> list[_Ascending]:
            return _place(self._values(item, terms), terms)

        found = self._sorted([item for item in items if accepts(partial(self._value, item))], terms)
        start = bisect.bisect_right(found, _place(_read_token(query), terms), key=place) if query.page_token else 0
        page = found[start : start + _page_size(query.page_size)]
        has_more = start + len(page) < len(found)
        return Page(page, _write_token(query, self._values(page[-1], terms)) if has_more else "", len(found))

    def _sorted(self, items: list[T], terms: list[_Term]) -> list[T]:
        """In the order of `place`, by one sort for each term: values are compared without a call of ours."""
        for term in reversed(terms):
            items.sort(key=partial(self._key, term), reverse=term.is_descending)
        return items

    def _key(self, term: _Term, item: T) -> tuple[bool, Any]:
        return _Ascending(self._values(item, [term])[0]).key()

    def _value(self, item: T, name: str) -> Value:
        return self.fields[name](item)

    def _values(self, item: T, terms: list[_Term]) -> list[Value]:
        values = (self.fields[term.field](item) for term in terms)
        return [value[0] if isinstance(value, tuple) else value for value in values]

    def _terms(self, order_by: str) -> list[_Term]:
        """The order asked for; the unique field settles equal places."""
        terms = []
        for written in order_by.split(","):
            match = _ORDER_TERM.fullmatch(written.strip())
            if match is None:
                raise UsageError(f"order_by {order_by!r}: {written.strip()!r} is not a field, or a field and 'desc'.")
            terms.append(_Term(field_name(match[1], self.fields), match[2] == "desc"))
        return (
            terms if any(term.field == self.key for term in terms) else [*terms, _Term(self.key, is_descending=False)]
        )


@dataclass(frozen=True, slots=True)
class _Term:
    field: str
    is_descending: bool


@dataclass(frozen=True, slots=True)
class _Ascending:
    """One value as a sort key: unset values come first."""

    value: Any

    def key(self) -> tuple[bool, Any]:
        """What sorts as it does."""
        return self.value is not None, 0 if self.value is None else self.value

    def __lt__(self, other: _Ascending) -> bool:
        return self.key() < other.key()


class _Descending(_Ascending):
    """The same, turned round."""

    __slots__ = ()

    def __lt__(self, other: _Ascending) -> bool:
        return other.key() < self.key()


def _place(values: list[Value], terms: list[_Term]) -> list[_Ascending]:
    return [(_Descending if term.is_descending else _Ascending)(v) for v, term in zip(values, terms, strict=True)]


def _page_size(asked: int) -> int:
    if asked < 0:
        raise UsageError(f"page_size={asked}: expected 0 or more.")
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def _write_token(query: Query, last: list[Value]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([_binding(query), last])).decode()


def _read_token(query: Query) -> list[Value]:
    """The values of the last item of the page before."""
    try:
        binding, last = orjson.loads(base64.b64decode(query.page_token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError):
        raise UsageError("page_token: not a token of this list; start again without one.") from None
    if binding != _binding(query):
        raise UsageError("page_token: it belongs to another filter or order; give the same ones, or start again.")
    return list(last)


def _binding(query: Query) -> str:
    return hashlib.sha256(f"{query.filter}\0{query.order_by}".encode()).hexdigest()[:16]
