"""Arithmetic questions with checkable answers, split into training and held-out operand pairs.

Knows numbers and phrasings; nothing of tokenizers, models or request formats.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

HELD_OUT_PERCENT = 10
LARGEST_TERM = 999

PHRASINGS: dict[str, tuple[str, ...]] = {
    "+": (
        "What is {a} + {b}?",
        "{a} + {b}",
        "{a}+{b}",
        "{a} + {b} = ?",
        "{a} + {b} =",
        "Compute {a} + {b}.",
        "Calculate {a} + {b}",
        "How much is {a} + {b}?",
        "What is {a} plus {b}?",
        "What is the sum of {a} and {b}?",
        "Add {a} and {b}.",
        "{a} plus {b}",
    ),
    "-": (
        "What is {a} - {b}?",
        "{a} - {b}",
        "{a}-{b}",
        "{a} - {b} = ?",
        "{a} - {b} =",
        "Compute {a} - {b}.",
        "Calculate {a} - {b}",
        "How much is {a} - {b}?",
        "What is {a} minus {b}?",
        "What is the difference between {a} and {b}?",
        "Subtract {b} from {a}.",
        "{a} minus {b}",
    ),
    "*": (
        "What is {a} * {b}?",
        "{a} * {b}",
        "{a}*{b}",
        "{a} * {b} = ?",
        "{a} * {b} =",
        "Compute {a} * {b}.",
        "Calculate {a} x {b}",
        "How much is {a} * {b}?",
        "What is {a} times {b}?",
        "What is the product of {a} and {b}?",
        "Multiply {a} by {b}.",
        "{a} times {b}",
    ),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One operation on two whole numbers; a subtraction never goes below zero."""

    left: int
    operator: str
    right: int

    @property
    def answer(self) -> str:
        """The exact result in decimal digits."""
        if self.operator == "+":
            return str(self.left + self.right)
        if self.operator == "-":
            return str(self.left - self.right)
        return str(self.left * self.right)

    @property
    def is_held_out(self) -> bool:
        """Whether no training question holds this pair; a pair and its mirror image fall on the same side.

        Pairs of two one-digit numbers are never held out: the tables are facts, nothing derives them.
        """
        low, high = sorted((self.left, self.right))
        if high < 10:
            return False
        digest = hashlib.sha256(f"{low}{self.operator}{high}".encode()).digest()
        return int.from_bytes(digest[:4]) % 100 < HELD_OUT_PERCENT


def draw_problem(random: Random, *, largest_term: int, largest_factor: int) -> Problem:
    """A problem of any side of the split: terms up to `largest_term`, products of `largest_factor` by one digit.

    One term in four has a digit less, or numbers of unequal lengths would be too rare to learn.
    """
    operator = random.choice("+-*")
    if operator == "*":
        factors = [random.randint(0, largest_factor), random.randint(0, 9)]
        random.shuffle(factors)
        return Problem(factors[0], operator, factors[1])
    terms = [random.randint(0, random.choice((largest_term,) * 3 + (largest_term // 10,))) for _ in range(2)]
    if operator == "-":
        terms.sort(reverse=True)
    return Problem(terms[0], operator, terms[1])


def phrase(problem: Problem, phrasings: Sequence[str], random: Random) -> str:
    """The problem asked in one of the phrasings."""
    return random.choice(phrasings).format(a=problem.left, b=problem.right)


def held_out_questions(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """`count` (question, exact answer) pairs whose operands no training question held; the same for the same seed.

    Sums and differences of up to three digits, products of up to two digits by one.
    """
    random = Random(seed)
    questions: list[tuple[str, str]] = []
    while len(questions) < count:
        problem = draw_problem(random, largest_term=random.choice((99, LARGEST_TERM)), largest_factor=99)
        if problem.is_held_out:
            questions.append((phrase(problem, PHRASINGS[problem.operator], random), problem.answer))
    return questions
