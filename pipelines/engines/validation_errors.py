"""One line of what is wrong with a body, from all that pydantic has to say of it. Knows nothing of vLLM.

A field that may be of several kinds fails once for each of them, forty lines long. The member that is told is the
deepest one that has failed, and of those the one that failed most often: for all kinds, not for the wrong ones only.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from batch.spec.parameters import Problem, shown

Errors = Iterable[Mapping[str, Any]]
Path = tuple[str | int, ...]

_KINDS = {
    "an integer": ("int_type", "int_parsing", "int_parsing_size", "int_from_float"),
    "a number": ("float_type", "float_parsing"),
    "true or false": ("bool_type", "bool_parsing"),
    "a string": ("string_type", "string_sub_type"),
    "a list": ("list_type", "iterable_type", "tuple_type", "set_type", "is_instance_of", "sequence_str"),
    "an object": ("dict_type", "model_type", "model_attributes_type", "dataclass_type", "mapping_type"),
}
_EXPECTED = {kind: f"expected {words}" for words, kinds in _KINDS.items() for kind in kinds}
_WORDS = (
    ("Value error, ", ""),
    ("Assertion failed, ", ""),
    ("Input should be greater", "expected a value greater"),
    ("Input should be less", "expected a value less"),
    ("Input should be ", "expected "),
)
"""How pydantic begins, and how we do."""
_MISSING, _LITERAL = "missing", "literal_error"
_SERVERS_LINE = re.compile(r"^ +(\{.*\})$", re.MULTILINE)


def first_problem(errors: Errors, body: object) -> Problem | None:
    """Return the problem of the body that says most of the errors; None where there is none of one member."""
    found: dict[Path, list[Mapping[str, Any]]] = defaultdict(list)
    for error in errors:
        found[_path(error, body)].append(error)
    if not found:
        return None
    path = max(found, key=lambda path: (len(path), sum(1 if e["type"] == _LITERAL else 2 for e in found[path])))
    field, failed = _written(path), found[path]
    if all(error["type"] == _MISSING for error in failed):
        return Problem(field, f"{field}: missing")
    expected = list(dict.fromkeys(_expected(error) for error in failed if error["type"] != _MISSING))
    words = " or ".join([*expected[:1], *(text.removeprefix("expected ") for text in expected[1:])])
    return Problem(field, f"{field}={shown(_at(path, body))}: {words}" if path else words)


def told_by_server(message: str, body: object) -> Problem | None:
    """Return the problem that a vLLM server tells in its own words; None for a message of another kind."""
    errors = []
    for line in _SERVERS_LINE.findall(message) if "validation error" in message else ():
        try:
            error = ast.literal_eval(line)
        except (ValueError, SyntaxError, MemoryError, RecursionError):  # cut by the server
            continue
        if isinstance(error, dict) and isinstance(error.get("loc"), str) and isinstance(error.get("type"), str):
            steps = error["loc"].split(".")
            errors.append(error | {"loc": [int(step) if step.isdecimal() else step for step in steps]})
    return first_problem(errors, body)


def _path(error: Mapping[str, Any], body: object) -> Path:
    """Where in the body an error is: its location without the names of kinds and validators between the members."""
    path: list[str | int] = []
    value, location = body, error["loc"]
    for number, step in enumerate(location, start=1):
        if isinstance(value, dict) and str(step) in value:
            path.append(str(step))
            value = value[str(step)]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            path.append(step)
            value = value[step]
        elif number == len(location) and error["type"] == _MISSING:
            path.append(step)
    return tuple(path)


def _at(path: Path, body: Any) -> object:
    for step in path:
        body = body[step]
    return body


def _written(path: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _expected(error: Mapping[str, Any]) -> str:
    if error["type"] in _EXPECTED:
        return _EXPECTED[error["type"]]
    text = str(error.get("msg", ""))
    return next((ours + text.removeprefix(theirs) for theirs, ours in _WORDS if text.startswith(theirs)), text)
