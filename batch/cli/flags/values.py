"""The kinds of values that flags take, checked where they are read. Knows nothing of jobs."""

from __future__ import annotations

import re
from typing import Any

import click

from batch.errors import UsageError
from batch.text import shortened

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_SECONDS = (86_400.0, 3_600.0, 60.0, 1.0)


class Duration(click.ParamType[float]):
    """Seconds, written as 5s, 10m, 24h, 2d or 1h30m; more than zero."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = _DURATION.fullmatch(str(value))
        parts = match.groups() if match else ()
        total_s = sum(float(part) * unit for part, unit in zip(parts, _SECONDS, strict=False) if part)
        if total_s <= 0:
            self.fail(f"{value!r} is not a duration such as 5s, 10m, 24h or 1h30m.", param, ctx)
        return total_s


class KeyValue(click.ParamType[tuple[str, str]]):
    """(key, value), written as KEY=VALUE; both are kept as text."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, separator, text = str(value).partition("=")
        if not separator or not key.strip() or not text:
            self.fail(f"{value!r} is not written as KEY=VALUE.", param, ctx)
        return key.strip(), text


class JsonObject(click.ParamType[dict[str, Any]]):
    """A JSON object."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        try:
            parsed = read_json(str(value))
        except ValueError as error:
            self.fail(f"{shortened(str(value))!r}: {error}.", param, ctx)
        if not isinstance(parsed, dict):
            self.fail(f"{shortened(str(value))!r} is not a JSON object such as '{{\"seed\": 7}}'.", param, ctx)
        return parsed


class Replicas(click.ParamType[str]):
    """A number of engines, N, or a range, MIN:MAX; at least one."""

    name = "n|min:max"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        numbers = str(value).split(":", 1)
        good = all(re.fullmatch(r"[1-9]\d{0,4}", number) for number in numbers)
        if not good or int(numbers[0]) > int(numbers[-1]):
            self.fail(f"{value!r} is neither a number from 1, such as 4, nor a range such as 1:8.", param, ctx)
        return str(value)


class FailureBudget(click.ParamType[str]):
    """How many rows may fail before the job does: a count such as 100, or a share such as 5%."""

    name = "n|p%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip()
        if not re.fullmatch(r"\d+|(\d{1,2}(\.\d+)?|100)%", text):
            self.fail(f"{value!r} is neither a number of rows such as 100 nor a share such as 5%.", param, ctx)
        return text


def once_each(flag: str, pairs: tuple[tuple[str, str], ...], *, why: str) -> dict[str, str]:
    """FLAG KEY=VALUE, several times, as a mapping. UsageError for a key given twice."""
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{flag} {twice}: given twice; {why}.")
    return dict(pairs)


def read_json(text: str) -> object:
    """The value, read as strictly as a line of a dataset is. ValueError says what is wrong."""
    from batch.strict_json import loads

    return loads(text.encode(errors="surrogateescape"))


DURATION = Duration()
KEY_VALUE = KeyValue()
JSON_OBJECT = JsonObject()
REPLICAS = Replicas()
FAILURE_BUDGET = FailureBudget()
