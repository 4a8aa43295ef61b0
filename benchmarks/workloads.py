"""Seeded request files in the OpenAI batch form; the same name, size and seed give the same bytes.

Every row fixes how many tokens it answers, so that the work is the same for whoever does it. Knows nothing of arms.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import orjson

SERVED_MODEL = "bench"
SEED = 20_240_601

CHAT_WORDS = (22, 28)
"""Words of a chat row's prompt: about 110 tokens of the shipped tokenizer."""
CHAT_OUTPUT_TOKENS = (4, 32)

SHORT_TOKENS, LONG_TOKENS = 32, 512

SUBJECTS = 57
EXAMPLE_WORDS = 140
"""Words of the examples that a subject's questions all begin with: about 600 tokens."""
QUESTION_WORDS = 18
"""About 80 tokens."""
ANSWER_TOKENS = (1, 4)
KV_SHARE = 0.25
"""Of the tokens of all examples: what the KV cache of the few-shot workload holds."""
EXAMPLE_TOKENS = 600

SYLLABLES = (
    "ba",
    "den",
    "fil",
    "gor",
    "hum",
    "jat",
    "kel",
    "lim",
    "mor",
    "nas",
    "pel",
    "rin",
    "sov",
    "tur",
    "wex",
    "zan",
)


@dataclass(frozen=True, slots=True)
class Workload:
    """A request file, and what answering it means."""

    name: str
    requests: Path
    rows: int
    completion_tokens: int
    digest: str
    kv_tokens: int | None = None
    """The size of the KV cache that every arm gets; None: as large as the memory allows."""


def write_chat(folder: Path, rows: int, *, seed: int = SEED) -> Workload:
    """Short chats without a common prefix: about 110 tokens in, 4 to 32 out, greedy, no early end."""
    random = Random(seed)
    budgets = [random.randint(*CHAT_OUTPUT_TOKENS) for _ in range(rows)]
    lines = (_chat_line(f"chat-{row:06d}", _prompt(random), budget) for row, budget in enumerate(budgets))
    return _write(folder / f"chat-{rows}.jsonl", lines, rows=rows, completion_tokens=sum(budgets))


def write_duplicates(folder: Path, rows: int, *, share: float, seed: int = SEED) -> Workload:
    """The chats of `write_chat`, of which `share` repeat an earlier one: a few often, most seldom (Zipf); shuffled."""
    random = Random(seed)
    distinct = rows - round(rows * share)
    chats = [(_prompt(random), random.randint(*CHAT_OUTPUT_TOKENS)) for _ in range(distinct)]
    weights = [1 / rank for rank in range(1, distinct + 1)]
    chosen = chats + random.choices(chats, weights, k=rows - distinct)
    random.shuffle(chosen)
    lines = (_chat_line(f"chat-{row:06d}", prompt, budget) for row, (prompt, budget) in enumerate(chosen))
    name = f"duplicates-{share:.0%}-{rows}.jsonl".replace("%", "")
    return _write(folder / name, lines, rows=rows, completion_tokens=sum(budget for _, budget in chosen))


def write_few_shot(folder: Path, rows: int, *, seed: int = SEED) -> Workload:
    """Questions on 57 subjects, shuffled; those on one subject begin with the same 600 tokens of examples.

    The KV cache holds a quarter of the examples, so that whoever takes the rows as they come computes most of them
    again and again.
    """
    random = Random(seed)
    examples = [_words(random, EXAMPLE_WORDS) for _ in range(SUBJECTS)]
    budgets = [random.randint(*ANSWER_TOKENS) for _ in range(rows)]
    lines = (
        _chat_line(f"question-{row:06d}", f"{random.choice(examples)} {_words(random, QUESTION_WORDS)}", budget)
        for row, budget in enumerate(budgets)
    )
    kv_tokens = round(KV_SHARE * SUBJECTS * EXAMPLE_TOKENS)
    path = folder / f"few-shot-{rows}.jsonl"
    return _write(path, lines, rows=rows, completion_tokens=sum(budgets), kv_tokens=kv_tokens)


def write_long_last(folder: Path, rows: int, *, seed: int = SEED) -> Workload:
    """The prompts of `write_chat`; nine in ten rows answer 32 tokens, the last tenth of the file 512."""
    random = Random(seed)
    budgets = [SHORT_TOKENS] * (rows - rows // 10) + [LONG_TOKENS] * (rows // 10)
    lines = (_chat_line(f"chat-{row:06d}", _prompt(random), budget) for row, budget in enumerate(budgets))
    return _write(folder / f"long-last-{rows}.jsonl", lines, rows=rows, completion_tokens=sum(budgets))


def write_tiny(folder: Path, rows: int) -> Workload:
    """Rows of a few words, for all that is not the model. The echo engine repeats the two words of each."""
    lines = (_chat_line(f"tiny-{row:08d}", f"row {row}", 4) for row in range(rows))
    return _write(folder / f"tiny-{rows}.jsonl", lines, rows=rows, completion_tokens=2 * rows)


def _prompt(random: Random) -> str:
    return _words(random, random.randint(*CHAT_WORDS))


def _words(random: Random, words: int) -> str:
    return " ".join("".join(random.choices(SYLLABLES, k=random.randint(1, 2))) for _ in range(words))


def _chat_line(custom_id: str, prompt: str, max_tokens: int) -> bytes:
    body = {
        "model": SERVED_MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "ignore_eos": True,
    }
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _write(
    path: Path, lines: Iterator[bytes], *, rows: int, completion_tokens: int, kv_tokens: int | None = None
) -> Workload:
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for line in lines:
            digest.update(line)
            file.write(line)
    return Workload(path.stem, path, rows, completion_tokens, f"sha256:{digest.hexdigest()[:16]}", kv_tokens)
