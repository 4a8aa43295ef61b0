"""Engine arguments: the names and types of what `--engine-arg KEY=VALUE` may say to each engine.

Those of vLLM come from its own parser, by `pipelines/engines/vllm/dump_arguments.py`. Knows nothing of what they do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import orjson

from batch.errors import UsageError
from batch.spec.engine_config import EngineValue
from batch.spec.parameters import shown

ENGINES = ("vllm", "openai", "echo")

_TABLE = Path(__file__).with_name("engine_arguments.json")
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
_SIZE = re.compile(r"-?\d+|\d+(\.\d+)?[kKmMgGtT]|auto")
_URL = re.compile(r"https?://(?P<host>[^/?#\s\\]+)(/[^?#\s\\]*)?(?P<rest>[?#].*)?", re.IGNORECASE)
_EXAMPLE_URL = "http://localhost:8000/v1"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_HINT = "the key stands in an environment variable, OPENAI_API_KEY or the one that api_key_env names"
_WORDS = {
    "flag": "true or false",
    "int": "an integer",
    "float": "a number",
    "size": "an integer, or one as 8k or 2M",
    "str": "a text",
    "json": "a JSON object",
    "file": "the path of a file that is here",
}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. `kind`: flag, int, float, size, str, json (kept as its text), file (or its text) or choice.

    `many`: several values, separated by commas. `one_way`: a flag that can be set and not unset. `plugin`: the argument
    that may bring further choices.
    """

    name: str
    kind: str
    help: str
    choices: tuple[str, ...] = ()
    many: bool = False
    one_way: bool = False
    minimum: float | None = None
    plugin: str = ""


_OPENAI = (
    Argument("base_url", "str", "Address of the endpoint, up to and with /v1"),
    Argument("api_key_env", "str", "Name of the environment variable that holds the key"),
    Argument("concurrency", "int", "Requests in flight at a time", minimum=1),
    Argument("timeout_s", "float", "Seconds that one request may take", minimum=0),
)
_ECHO = (
    Argument("delay_s", "float", "Seconds that each answer takes", minimum=0),
    Argument("gpus", "int", "GPUs that each engine asks for, where there are any, and leaves idle", minimum=0),
)


def engine_arguments(engine: str) -> dict[str, Argument]:
    """Return name -> argument of an engine. Raises UsageError for an engine that is none."""
    if engine == "vllm":
        return _vllm()
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}: expected {', '.join(ENGINES)}")
    return {argument.name: argument for argument in (_OPENAI if engine == "openai" else _ECHO)}


def check_engine_args(engine: str, given: Mapping[str, object]) -> dict[str, EngineValue]:
    """Return the arguments typed, under their names with underscores. Values may be text, or typed already.

    Raises UsageError for an unknown name, with those that are close, and for a value of the wrong kind.
    """
    known = engine_arguments(engine)
    typed: dict[str, EngineValue] = {}
    for written, value in given.items():
        name = written.replace("-", "_")
        if name in typed:
            raise UsageError(f"engine argument {name}: given twice")
        argument = _argument(engine, known, name)
        if argument.plugin and any(other.replace("-", "_") == argument.plugin for other in given):
            argument = replace(argument, kind="str")
        typed[name] = _typed(name, argument, value)
    if engine == "openai":
        _check_openai(str(typed.get("base_url", "")), str(typed.get("api_key_env", "KEY")))
    return typed


def _check_openai(base_url: str, api_key_env: str) -> None:
    """Refuse an address that is none, and secrets where they would be stored and shown; they are not repeated here."""
    if not base_url:
        raise UsageError(f"engine openai: needs --engine-arg base_url=URL, as {_EXAMPLE_URL}")
    parts = _URL.fullmatch(base_url)
    if parts is None:
        shown_url = "" if "@" in base_url else f"={shown(base_url)}"
        raise UsageError(
            f"engine argument base_url{shown_url}: expected http://HOST or https://HOST, as {_EXAMPLE_URL}"
        )
    if "@" in parts["host"]:
        raise UsageError("engine argument base_url: a user or password before '@' is not allowed; " + _KEY_HINT)
    if parts["rest"]:
        raise UsageError("engine argument base_url: a query or fragment ('?', '#') is not allowed; " + _KEY_HINT)
    if not _VARIABLE.fullmatch(api_key_env):
        raise UsageError("engine argument api_key_env: expected the name of a variable, not the key; " + _KEY_HINT)


def command_line_words(arguments: Mapping[str, EngineValue]) -> list[str]:
    """Return checked arguments as words for vLLM's own parser."""
    words: list[str] = []
    for name, value in arguments.items():
        argument = _argument("vllm", _vllm(), name)
        option = "--" + name.replace("_", "-")
        if argument.kind != "flag":
            words += [option, *(str(value).split(",") if argument.many else [str(value)])]
        elif value:
            words.append(option)
        elif not argument.one_way:
            words.append(option.replace("--", "--no-", 1))
    return words


@cache
def _vllm() -> dict[str, Argument]:
    stored = orjson.loads(_TABLE.read_bytes())["arguments"]
    return {name: _read(name, described) for name, described in stored.items()}


def _read(name: str, described: dict[str, object]) -> Argument:
    choices = described.pop("choices", [])
    return Argument(name, choices=tuple(choices), **described)  # type: ignore[arg-type]


def _argument(engine: str, known: Mapping[str, Argument], name: str) -> Argument:
    whole, dot, _ = name.partition(".")
    if dot and whole in known and known[whole].kind == "json":
        return Argument(name, "str", known[whole].help)  # one member of a config, as vLLM lets it be written
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"engine {engine} has {len(known)} arguments"
        raise UsageError(f"engine argument {name!r}: engine {engine} has none of this name; {hint}")
    return known[name]


def _typed(name: str, argument: Argument, value: object) -> EngineValue:
    values = str(value).split(",") if argument.many else [value]
    typed = [_one(argument, single) for single in values]
    if any(single is None for single in typed):
        words = _choices(argument, str(value)) if argument.kind == "choice" else _WORDS[argument.kind]
        several = ", or several with commas" if argument.many else ""
        bound = "" if argument.minimum is None else f" of at least {argument.minimum:g}"
        raise UsageError(f"engine argument {name}={shown(value)}: expected {words}{bound}{several}")
    return str(value) if argument.many else typed[0]  # type: ignore[return-value]


def _choices(argument: Argument, value: str) -> str:
    near = difflib.get_close_matches(value, argument.choices, n=1)
    names = " or ".join(argument.choices) + (f" or one of {argument.plugin}" if argument.plugin else "")
    return names + (f" (did you mean {near[0]}?)" if near else "")


def _one(argument: Argument, value: object) -> EngineValue | None:
    """Return the value in its type, None when it has none of it."""
    match argument.kind:
        case "flag":
            return _truth(value)
        case "int" | "float":
            return _number(argument, value)
        case "size":
            text = str(value)
            return (int(text) if text.lstrip("-").isdigit() else text) if _SIZE.fullmatch(text) else None
        case "choice":
            return str(value) if str(value) in argument.choices else None
        case "json":
            return _json_text(value)
        case "file":
            return str(value) if _is_file_or_text(str(value)) else None
        case _:
            return str(value) if isinstance(value, str | int | float) else None


def _truth(value: object) -> bool | None:
    text = str(value).lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _number(argument: Argument, value: object) -> int | float | None:
    if isinstance(value, bool):
        return None
    try:
        number = int(str(value)) if argument.kind == "int" else float(str(value))
    except ValueError:
        return None
    return number if argument.minimum is None or number >= argument.minimum else None


def _is_file_or_text(value: str) -> bool:
    """True for a file that is here, and for a template that is written out: it has braces or lines."""
    if any(character in value for character in "{}\n"):
        return True
    try:
        return Path(value).is_file()
    except OSError:  # a name that is too long for a file
        return False


def _json_text(value: object) -> str | None:
    try:
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        return text if isinstance(orjson.loads(text), dict | list) else None
    except (orjson.JSONDecodeError, TypeError):
        return None
