"""Lines that no client should send, from a seed: broken, torn, nested, doubled, endless, and good ones in between."""

import json
from collections.abc import Callable
from random import Random

Mutation = Callable[[Random, bytes], bytes]

MAX_LINE_BYTES = 1500

_NAMES = ["custom_id", "method", "url", "body", "model", "messages", "prompt", "input", "role", "content", "type"]
_NAMES += ["image_url", "temperature", "stop", "n", "stream", "tools", "seed", "max_tokens", "top_logprobs", "metadata"]
_NAMES += ["chat_template", "chat_template_kwargs", "extra"]
_TEXTS = [
    "POST",
    "/v1/chat/completions",
    "/v1/embeddings",
    "user",
    "http://x",
    "data:,",
    "é",
    "\u2028",
    "🙂",
    '"',
    "\\",
]
_NUMBERS = b"NaN Infinity -Infinity 1e999 -1e999 1E5 -0 01 0x1f 1_0 .5 5. +1 18446744073709551616 9e-400".split()
_PIECES = [
    b"\0",
    b"\r",
    b"\n",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xef\xbb\xbf",
    b"\\ud800",
    b'"',
    b"{",
    b"}",
    b"[,]",
]
_PIECES += [b"\xe2\x80\xa8", b"\xc2\x85", b"\x1b[2J", b"//", b"\\u0022", b"\\", b",", b":", b"null", b"\t", b"  "]


def good_line(random: Random, number: int) -> bytes:
    """A request that must be decoded, written as different clients write theirs."""
    content = "".join(
        random.choices(["1+1?", "é", "日本", "\u2028", "🙂", '"', "\\n", "\t", "\x85"], k=random.randint(0, 9))
    )
    body: dict[str, object] = {"messages": [{"role": "user", "content": content}]}
    body |= random.choice([{}, {"temperature": 1}, {"max_tokens": 5, "stop": ["a"]}, {"seed": -(2**63), "n": 1.0}])
    row = {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
    spaced = random.choice([(",", ":"), (", ", ": "), (" ,\t", " : ")])
    return json.dumps(row, ensure_ascii=random.random() < 0.5, separators=spaced).encode()


def any_line(random: Random, number: int) -> bytes:
    """A good line as it is, one mutated up to three times, or bytes that never were one."""
    kind = random.random()
    if kind < 0.25:
        return good_line(random, number) + random.choice([b"", b"", b"\r", b" "])
    if kind < 0.40:
        return json.dumps(_value(random, 4)).encode()
    if kind < 0.45:
        return random.choice([b"", b" ", b"\t \r", b"\x0b\x0c", b"\r\r", b"\xc2\xa0", b"\xef\xbb\xbf"])
    if kind < 0.50:
        return random.randbytes(random.randint(0, 80))
    raw = good_line(random, number)
    for _ in range(random.randint(1, 3)):
        raw = random.choice(MUTATIONS)(random, raw)
    return raw


def _value(random: Random, depth: int) -> object:
    """A value whose objects have the names that requests have."""
    if depth and random.random() < 0.6:
        members = [_value(random, depth - 1) for _ in range(random.randint(0, 4))]
        return (
            members if random.random() < 0.3 else dict(zip(random.sample(_NAMES, len(members)), members, strict=True))
        )
    return random.choice([None, True, 0, -1, 2**70, 0.5, 1e300, "", *_TEXTS])


def _flip(random: Random, raw: bytes) -> bytes:
    at = random.randrange(len(raw) + 1)
    return raw[:at] + bytes([random.randrange(256)]) + raw[at + 1 :]


def _cut(random: Random, raw: bytes) -> bytes:
    start, end = sorted(random.randrange(len(raw) + 1) for _ in range(2))
    return random.choice([raw[:start], raw[end:], raw[:start] + raw[end:]])


def _insert(random: Random, raw: bytes) -> bytes:
    at = random.randrange(len(raw) + 1)
    return raw[:at] + random.choice(_PIECES) + raw[at:]


def _repeat(random: Random, raw: bytes) -> bytes:
    return random.choice([raw + raw, raw[:-1] + b"," + raw[1:], b"[" + raw + b"," + raw + b"]"])


def _repeat_key(random: Random, raw: bytes) -> bytes:
    key = random.choice(
        [b'"custom_id":1,', b'"method":"POST",', b'"messages":[],', b'"r\\u006fle":"x",', b'"a":1,"a":1,']
    )
    return raw.replace(b"{", b"{" + key, random.randint(1, 3))


def _number(random: Random, raw: bytes) -> bytes:
    digits = b"%d" % random.randint(1, 9) * random.choice([18, 19, 20, 400, 1000])
    return raw.replace(
        b'"messages"', random.choice([b'"seed":', b'"extra":']) + random.choice([*_NUMBERS, digits]) + b',"messages"'
    )


def _nest(random: Random, raw: bytes) -> bytes:
    depth = random.choice([3, 59, 60, 61, 62, 63, 64, 65, 66, 600])
    opening, closing = random.choice([(b"[", b"]"), (b'{"a":', b"}")])
    inner = opening * depth + b"1" + closing * random.choice([depth, depth, depth, depth - 1])
    return raw.replace(b'"messages"', b'"extra":' + inner + b',"messages"')


def _lengthen(random: Random, raw: bytes) -> bytes:
    return raw + b" " * random.choice([MAX_LINE_BYTES - len(raw), MAX_LINE_BYTES - len(raw) + 1, 3 * MAX_LINE_BYTES])


def _half_character(random: Random, raw: bytes) -> bytes:
    return raw.replace(b'"user"', random.choice([b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude42"', b'"\\uD83D"']))


def _elsewhere(random: Random, raw: bytes) -> bytes:
    """Media at an address, or another model."""
    address = random.choice([b'"http://x"', b'{"url":"file:///etc/passwd"}', b'"data:,"'])
    name = random.choice([b'"image_url":', b'"im\\u0061ge_url":', b'"audio_url" : '])
    return raw.replace(
        *random.choice([(b'"role"', name + address + b',"role"'), (b'"messages"', b'"model":"other","messages"')])
    )


MUTATIONS: list[Mutation] = [
    _flip,
    _cut,
    _insert,
    _repeat,
    _repeat_key,
    _number,
    _nest,
    _lengthen,
    _half_character,
    _elsewhere,
]
