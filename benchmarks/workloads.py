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
FEW_SHOT_TOKENS = SUBJECTS * EXAMPLE_TOKENS
HOT_SHARE = 0.4

QUESTIONS_ON_A_SUBJECT = 4
PASSAGE_WORDS, PASSAGE_TOKENS = 46, 200
"""Of what the questions on one of very many subjects begin with."""

SYSTEM_WORDS, SYSTEM_TOKENS = 93, 400
RECORD_FIELDS = 8
FIELD_VALUES = 40
RECORD_ANSWER_TOKENS = (8, 32)

DOCUMENT_WORDS = (233, 800)
"""Words of a document: about 1,000 to 3,400 tokens."""
DOCUMENT_SPREAD = (6.0, 0.4)
"""Of the words, log-normal: mean and deviation of their logarithm."""
QUESTIONS_ON_A_DOCUMENT = 8
DOCUMENT_ANSWER_TOKENS = (32, 64)
TOKENS_PER_WORD = 4.3

SHORT_WORDS = (1, 3)
"""With the row's number before them, without which some would be equal, about 10 to 20 tokens."""

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
class Chat:
    """What a row asks: a system prompt, where it has one, a user's, and how many tokens of answer."""

    prompt: str
    answer_tokens: int
    system: str = ""


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
    chats = [Chat(_prompt(random), budget) for budget in budgets]
    return _write_chats(folder / f"chat-{rows}.jsonl", chats, name="chat")


def write_duplicates(folder: Path, rows: int, *, share: float, seed: int = SEED) -> Workload:
    """The chats of `write_chat`, of which `share` repeat an earlier one: a few often, most seldom (Zipf); shuffled."""
    random = Random(seed)
    distinct = rows - round(rows * share)
    chats = [Chat(_prompt(random), random.randint(*CHAT_OUTPUT_TOKENS)) for _ in range(distinct)]
    weights = [1 / rank for rank in range(1, distinct + 1)]
    chosen = chats + random.choices(chats, weights, k=rows - distinct)
    random.shuffle(chosen)
    file = f"duplicates-{share:.0%}-{rows}.jsonl".replace("%", "")
    return _write_chats(folder / file, chosen, name="chat")


def write_few_shot(folder: Path, rows: int, *, kv_share: float = KV_SHARE, seed: int = SEED) -> Workload:
    """Questions on 57 subjects, shuffled; those on one subject begin with the same 600 tokens of examples.

    The KV cache holds `kv_share` of the examples: with a quarter, whoever takes the rows as they come computes most of
    them again and again; with four times as many nobody has to.
    """
    random = Random(seed)
    examples = [_words(random, EXAMPLE_WORDS) for _ in range(SUBJECTS)]
    budgets = [random.randint(*ANSWER_TOKENS) for _ in range(rows)]
    chats = [Chat(f"{random.choice(examples)} {_words(random, QUESTION_WORDS)}", budget) for budget in budgets]
    file = folder / f"few-shot{'-fits' * (kv_share > 1)}-{rows}.jsonl"
    return _write_chats(file, chats, name="question", kv_tokens=round(kv_share * FEW_SHOT_TOKENS))


def write_hot_few_shot(folder: Path, rows: int, *, seed: int = SEED) -> Workload:
    """As `write_few_shot`, but two questions in five are on one subject."""
    random = Random(seed)
    examples = [_words(random, EXAMPLE_WORDS) for _ in range(SUBJECTS)]
    weights = [HOT_SHARE] + [(1 - HOT_SHARE) / (SUBJECTS - 1)] * (SUBJECTS - 1)
    chats = [
        Chat(f"{subject} {_words(random, QUESTION_WORDS)}", random.randint(*ANSWER_TOKENS))
        for subject in random.choices(examples, weights, k=rows)
    ]
    return _write_chats(folder / f"hot-few-shot-{rows}.jsonl", chats, kv_tokens=round(KV_SHARE * FEW_SHOT_TOKENS))


def write_scattered(folder: Path, rows: int, *, seed: int = SEED) -> Workload:
    """Four questions, give or take, on each of very many subjects, those on one beginning with 200 tokens; shuffled.

    They stand thousands of rows apart. The KV cache holds a quarter of what they begin with.
    """
    random = Random(seed)
    passages = [_words(random, PASSAGE_WORDS) for _ in range(rows // QUESTIONS_ON_A_SUBJECT)]
    chats = [
        Chat(f"{random.choice(passages)} {_words(random, QUESTION_WORDS)}", random.randint(*ANSWER_TOKENS))
        for _ in range(rows)
    ]
    kv_tokens = round(KV_SHARE * len(passages) * PASSAGE_TOKENS)
    return _write_chats(folder / f"scattered-{rows}.jsonl", chats, kv_tokens=kv_tokens)


def write_long(folder: Path, rows: int, *, shuffled: bool, seed: int = SEED) -> Workload:
    """The prompts of `write_chat`; nine in ten rows answer 32 tokens, the others 512: the last ones, or any."""
    random = Random(seed)
    budgets = [SHORT_TOKENS] * (rows - rows // 10) + [LONG_TOKENS] * (rows // 10)
    chats = [Chat(_prompt(random), budget) for budget in budgets]
    if shuffled:
        random.shuffle(chats)
    return _write_chats(folder / f"long-{'any' if shuffled else 'last'}-{rows}.jsonl", chats, name="chat")


def write_prompts(folder: Path, rows: int, *, prompts: int, seed: int = SEED) -> Workload:
    """Records of eight fields, each below one of so many system prompts of 400 tokens; shuffled, 8 to 32 out.

    With more than one the KV cache holds a quarter of them.
    """
    chats = _records(Random(seed), rows, prompts)
    kv_tokens = round(KV_SHARE * prompts * SYSTEM_TOKENS) if prompts > 1 else None
    return _write_chats(folder / f"prompts-{prompts}-{rows}.jsonl", chats, kv_tokens=kv_tokens)


def write_documents(folder: Path, rows: int, *, seed: int = SEED) -> Workload:
    """Questions on documents of 1,000 to 3,400 tokens, eight on each, give or take; shuffled, 32 to 64 out.

    The KV cache holds a quarter of the documents.
    """
    chats, document_tokens = _document_questions(Random(seed), rows)
    return _write_chats(folder / f"documents-{rows}.jsonl", chats, kv_tokens=round(KV_SHARE * document_tokens))


def write_short(folder: Path, rows: int, *, seed: int = SEED) -> Workload:
    """Prompts of 10 to 20 tokens, 1 to 4 out: the model does little, all else as much as ever."""
    random = Random(seed)
    chats = [
        Chat(f"{row} {_words(random, random.randint(*SHORT_WORDS))}", random.randint(*ANSWER_TOKENS))
        for row in range(rows)
    ]
    return _write_chats(folder / f"short-{rows}.jsonl", chats)


def write_mixed(folder: Path, rows: int, *, seed: int = SEED) -> Workload:
    """Records below 50 system prompts, questions on documents, and chats, one in ten of which answers 512 tokens.

    A third of each, shuffled. The KV cache holds a quarter of the prompts and documents.
    """
    random = Random(seed)
    third = rows // 3
    questions, document_tokens = _document_questions(random, third)
    budgets = random.choices([SHORT_TOKENS, LONG_TOKENS], [9, 1], k=rows - 2 * third)
    chats = _records(random, third, 50) + questions + [Chat(_prompt(random), budget) for budget in budgets]
    random.shuffle(chats)
    kv_tokens = round(KV_SHARE * (50 * SYSTEM_TOKENS + document_tokens))
    return _write_chats(folder / f"mixed-{rows}.jsonl", chats, kv_tokens=kv_tokens)


def write_tiny(folder: Path, rows: int) -> Workload:
    """Rows of a few words, for all that is not the model. The echo engine repeats the two words of each."""
    lines = (_chat_line(f"tiny-{row:08d}", f"row {row}", 4) for row in range(rows))
    return _write(folder / f"tiny-{rows}.jsonl", lines, rows=rows, completion_tokens=2 * rows)


def _records(random: Random, rows: int, prompts: int) -> list[Chat]:
    """Records below one of `prompts` system prompts; each field has few values, some frequent, most rare (Zipf)."""
    systems = [_words(random, SYSTEM_WORDS) for _ in range(prompts)]
    values = [[_words(random, 2) for _ in range(FIELD_VALUES)] for _ in range(RECORD_FIELDS)]
    weights = [1 / rank for rank in range(1, FIELD_VALUES + 1)]
    return [
        Chat(
            " ".join(random.choices(of_field, weights)[0] for of_field in values),
            random.randint(*RECORD_ANSWER_TOKENS),
            random.choice(systems),
        )
        for _ in range(rows)
    ]


def _document_questions(random: Random, rows: int) -> tuple[list[Chat], int]:
    """Questions on documents, and the tokens of all documents together."""
    fewest, most = DOCUMENT_WORDS
    sizes = [
        min(most, max(fewest, round(random.lognormvariate(*DOCUMENT_SPREAD))))
        for _ in range(max(1, rows // QUESTIONS_ON_A_DOCUMENT))
    ]
    documents = [_words(random, size) for size in sizes]
    questions = [
        Chat(f"{random.choice(documents)} {_words(random, QUESTION_WORDS)}", random.randint(*DOCUMENT_ANSWER_TOKENS))
        for _ in range(rows)
    ]
    return questions, round(sum(sizes) * TOKENS_PER_WORD)


def _prompt(random: Random) -> str:
    return _words(random, random.randint(*CHAT_WORDS))


def _words(random: Random, words: int) -> str:
    return " ".join("".join(random.choices(SYLLABLES, k=random.randint(1, 2))) for _ in range(words))


def _write_chats(path: Path, chats: list[Chat], *, name: str = "row", kv_tokens: int | None = None) -> Workload:
    lines = (
        _chat_line(f"{name}-{row:06d}", chat.prompt, chat.answer_tokens, system=chat.system)
        for row, chat in enumerate(chats)
    )
    tokens = sum(chat.answer_tokens for chat in chats)
    return _write(path, lines, rows=len(chats), completion_tokens=tokens, kv_tokens=kv_tokens)


def _chat_line(custom_id: str, prompt: str, max_tokens: int, *, system: str = "") -> bytes:
    user = {"role": "user", "content": prompt}
    body = {
        "model": SERVED_MODEL,
        "messages": [{"role": "system", "content": system}, user] if system else [user],
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
