"""Rows whose fields hold anything, from a seed: what another shape has there, or any JSON at all."""

from collections.abc import Iterator
from random import Random
from typing import Any

from request_shapes import CHAT, COMPLETIONS, RESPONSES, Body, shapes

BASES: dict[str, tuple[str, object]] = {
    CHAT: ("messages", [{"role": "user", "content": "What is 4 + 4?"}]),
    COMPLETIONS: ("prompt", "What is 4 + 4?"),
    RESPONSES: ("input", "What is 4 + 4?"),
}
SCALARS: list[object] = [
    *(None, True, False, "", "x", "8", "1e5", "true", "none", "auto", "user", "\x00", "é\u2028🙂", "a" * 300, "{{"),
    *(0, 1, -1, 2, 7, 511, 512, 2047, 2048, 65_536, 0.0, -0.0, 0.5, 1.0, 1.5, -0.5, 1e-9, 1e-300, 1e22, 1e308, -1e308),
    *(sign * 2**power + more for power in (31, 32, 53, 63, 64, 70) for sign in (1, -1) for more in (0, -1)),
    10**300,
]
NAMES = ["", "a", "type", "role", "content", "text", "name", "function", "schema", "1", "-1", "é"]
MAX_TOKENS = 6
DEEPEST = 55


def random_rows(model: str, count: int, seed: int) -> Iterator[tuple[str, Body]]:
    """Yield (endpoint, body): a question that is good but for one to three of its fields, or four."""
    random = Random(seed)
    known: dict[str, list[Any]] = {}
    for _, body in shapes(model):
        for name, value in body.items():
            known.setdefault(name, []).append(value)
    names = sorted(known)
    for _ in range(count):
        endpoint = random.choices(list(BASES), [6, 3, 1])[0]
        name, value = BASES[endpoint]
        length = "max_output_tokens" if endpoint == RESPONSES else "max_tokens"
        body = {"model": model, name: value, length: random.randint(1, MAX_TOKENS)}
        body |= random.choice([{}, {"temperature": 0}, {"logprobs": True if endpoint == CHAT else 2}])
        for field in random.sample(names, random.choice([1, 1, 1, 2, 2, 3])):
            body[field] = random.choice(known[field]) if random.random() < 0.5 else any_value(random, names)
        yield endpoint, body


def any_value(random: Random, names: list[str], depth: int = 3) -> object:
    """Any JSON value; now and then one that is deep."""
    kind = random.random()
    if kind < 0.02:
        return nested(random.randint(1, DEEPEST))
    if depth and kind < 0.4:
        inner = [any_value(random, names, depth - 1) for _ in range(random.randint(0, 3))]
        return (
            inner if random.random() < 0.5 else dict(zip(random.sample(names + NAMES, len(inner)), inner, strict=True))
        )
    return random.choice(SCALARS)


def nested(depth: int) -> object:
    """A value in so many lists and objects."""
    value: object = 1
    for level in range(depth):
        value = [value] if level % 2 else {"": value}
    return value
