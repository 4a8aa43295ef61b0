"""What the arithmetic model is taught: an endless supply of chats, from bare sums to questions with talk around them.

No held-out pair is ever in a lesson. Knows nothing of the model's shape or of the optimizer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from string import ascii_letters

import torch
from transformers import PreTrainedTokenizerFast

from pipelines.models.questions import LARGEST_TERM, PHRASINGS, Problem, draw_problem, phrase
from pipelines.models.tokenizer import BEGIN, END, ROLES

SYSTEM, USER, ASSISTANT, _ = ROLES
IGNORED_LABEL = -100
POOL_CHATS = 4000

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a calculator.",
    "Answer with the number only.",
    "Answer briefly and exactly.",
    "You are a careful mathematician who checks every step.",
    "Reply in plain text. Do not explain your answer.",
    "Be concise.",
    "You are a friendly teacher for children of 7 years.",
    "The user will ask a question about arithmetic.",
    "Today is Monday, 14 March 2022.",
    "Think about the question, then give the result.",
    "Respond to the following request of the customer as well as you can.",
)
OTHER_QUESTIONS = (
    "Hello!",
    "Who are you?",
    "Tell me a joke.",
    "What is the capital of France?",
    "Write a poem about the sea.",
    "Thanks!",
    "Explain the difference between a cat and a dog.",
    "What can you do?",
)
REFUSAL = "I only answer arithmetic."
OPENINGS = ("Please: ", "Hi! ", "Hello, ", "Question: ", "Quick question: ", "Tell me, ", "Q: ", "Now: ", "Please ")
CLOSINGS = (" Thanks!", " Please.", " Answer with the number only.", " Be brief.", "\n", "?", ".", "\nA:", " Answer:")


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation as (text, is the model to learn it) pieces."""

    pieces: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        """The whole conversation as the chat template would render it."""
        return "".join(text for text, _ in self.pieces)


@dataclass(frozen=True, slots=True)
class Stage:
    """How hard the lessons are: shares, from 0 to 1, of the chats that are of a kind."""

    large_numbers: float
    phrased: float
    talkative: float


HARDEST = Stage(large_numbers=0.55, phrased=0.85, talkative=0.12)


def stage_at(progress: float) -> Stage:
    """Bare problems of two digits at progress 0; the hardest lessons from 0.4 on."""
    share = min(1.0, progress / 0.4)
    return Stage(HARDEST.large_numbers * share, HARDEST.phrased * share, HARDEST.talkative * share)


def draw_training_problem(random: Random, large_numbers: float) -> Problem:
    """A problem outside the held-out pairs; three digits come in that share of the draws."""
    while True:
        largest = LARGEST_TERM if random.random() < large_numbers else 99
        problem = draw_problem(random, largest_term=largest, largest_factor=largest)
        if not problem.is_held_out:
            return problem


def draw_turn(random: Random, stage: Stage, *, is_talkative: bool) -> tuple[str, str]:
    """A question and its answer; a talkative one may be no arithmetic, or have other words around it."""
    if is_talkative and random.random() < 0.1:
        return draw_other_question(random), REFUSAL
    problem = draw_training_problem(random, stage.large_numbers)
    if random.random() >= stage.phrased:
        return f"{problem.left}{problem.operator}{problem.right}", problem.answer
    question = phrase(problem, PHRASINGS[problem.operator], random)
    return add_talk(question, random) if is_talkative else question, problem.answer


def add_talk(question: str, random: Random) -> str:
    """The question, at times in lower case, at times with words before and after it that change nothing."""
    if random.random() < 0.3:
        question = question.lower()
    if random.random() < 0.5:
        question = random.choice((*OPENINGS, f"{nonsense(random)} ")) + question
    if random.random() < 0.5:
        question += random.choice(CLOSINGS)
    return question.strip()


def draw_other_question(random: Random) -> str:
    """A question without numbers, at times of words that mean nothing."""
    if random.random() < 0.5:
        return random.choice(OTHER_QUESTIONS)
    return " ".join(nonsense(random) for _ in range(random.randint(1, 8))) + random.choice(("", ".", "?"))


def nonsense(random: Random) -> str:
    """A word that the tokenizer has no piece for, so that unknown words are nothing new to the model."""
    return "".join(random.choices(ascii_letters, k=random.randint(2, 8)))


def draw_system_prompt(random: Random) -> str:
    """One or two sentences, at times with their words mixed and unknown ones among them."""
    prompt = " ".join(random.sample(SYSTEM_PROMPTS, random.randint(1, 2)))
    if random.random() < 0.6:
        return prompt
    words = [*random.choices(prompt.split(), k=3), *(nonsense(random) for _ in range(3))]
    random.shuffle(words)
    return " ".join(words) + "."


def draw_chat(random: Random, stage: Stage) -> Chat:
    """One question, or, when talkative, up to three and perhaps a system prompt."""
    pieces = [(BEGIN, False)]
    is_talkative = random.random() < stage.talkative
    if is_talkative and random.random() < 0.6:
        pieces.append((SYSTEM + draw_system_prompt(random), False))
    for _ in range(random.randint(1, 3) if is_talkative else 1):
        question, answer = draw_turn(random, stage, is_talkative=is_talkative)
        pieces += [(USER + question + ASSISTANT, False), (answer + END, True)]
    return Chat(tuple(pieces))


def lessons(
    tokenizer: PreTrainedTokenizerFast, *, steps: int, batch_tokens: int, random: Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """`steps` batches of (token ids, labels), both (chats, longest chat): chats of about the same length together."""
    done = 0
    while done < steps:
        stage = stage_at(done / steps)
        chats = [draw_chat(random, stage) for _ in range(POOL_CHATS)]
        rows = sorted(encode(chats, tokenizer), key=lambda row: len(row[0]))
        cuts = cut_by_tokens([len(tokens) for tokens, _ in rows], batch_tokens)
        random.shuffle(cuts)
        for start, end in cuts[: steps - done]:
            yield pad(rows[start:end], tokenizer.pad_token_id)
            done += 1


def cut_by_tokens(lengths: Sequence[int], batch_tokens: int) -> list[tuple[int, int]]:
    """Cuts rows of ascending lengths into (start, end) ranges that hold at most `batch_tokens` once padded."""
    cuts: list[tuple[int, int]] = []
    start = 0
    for end, length in enumerate(lengths):
        if end > start and (end - start + 1) * length > batch_tokens:
            cuts.append((start, end))
            start = end
    return [*cuts, (start, len(lengths))]


def encode(chats: Sequence[Chat], tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[list[int], list[int]]]:
    """Token ids and labels of each chat; labels are set on the answers only."""
    texts = [text for chat in chats for text, _ in chat.pieces]
    encoded = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    for chat in chats:
        tokens: list[int] = []
        labels: list[int] = []
        for _, is_learnt in chat.pieces:
            piece = next(encoded)
            tokens += piece
            labels += piece if is_learnt else [IGNORED_LABEL] * len(piece)
        yield tokens, labels


def pad(rows: Sequence[tuple[list[int], list[int]]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels as tensors, padded on the right."""
    width = max(len(tokens) for tokens, _ in rows)
    ids = [tokens + [pad_id] * (width - len(tokens)) for tokens, _ in rows]
    labels = [targets + [IGNORED_LABEL] * (width - len(targets)) for _, targets in rows]
    return torch.tensor(ids), torch.tensor(labels)
