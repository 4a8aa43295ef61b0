"""Writes a request file of arithmetic questions, and counts the right answers of a finished job.

`python -m pipelines.models.demo_requests --rows 200 --output requests.jsonl`, and after the job
`python -m pipelines.models.demo_requests --check RESULTS --rows 200`. Knows the OpenAI batch format from outside:
request lines in, result lines out; nothing of jobs or engines.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.models.questions import held_out_questions

MAX_ANSWER_TOKENS = 8
SHOWN_MISTAKES = 5


@dataclass(frozen=True, slots=True)
class Score:
    """How a set of results answered the questions."""

    asked: int
    answered: int
    right: int
    mistakes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line for people."""
        share = self.right / self.asked if self.asked else 0.0
        return (
            f"{self.right} of {self.asked} answers are right ({share:.1%}); {self.asked - self.answered} have no answer"
        )


def custom_id(index: int) -> str:
    """The custom_id of the question at `index`."""
    return f"question-{index:06d}"


def request_lines(rows: int, model: str, seed: int = 0) -> Iterator[str]:
    """`rows` OpenAI batch lines, without newline; the same for the same seed."""
    for index, (question, _) in enumerate(held_out_questions(rows, seed)):
        body = {
            "model": model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": MAX_ANSWER_TOKENS,
        }
        line = {"custom_id": custom_id(index), "method": "POST", "url": "/v1/chat/completions", "body": body}
        yield json.dumps(line)


def score(lines: Iterable[bytes], rows: int, seed: int = 0) -> Score:
    """Compares the result lines of a job with the answers to the questions that `request_lines` asked.

    A line that carries an error, or a custom_id that was not asked, counts as no answer.
    """
    questions = held_out_questions(rows, seed)
    given: dict[str, str] = {}
    for line in lines:
        result = json.loads(line)
        if result.get("error") is None:
            given[result["custom_id"]] = result["response"]["body"]["choices"][0]["message"]["content"].strip()
    answers = [(question, right, given.get(custom_id(index))) for index, (question, right) in enumerate(questions)]
    mistakes = [
        f"{question} -> {answer}, not {right}" for question, right, answer in answers if answer not in (None, right)
    ]
    return Score(
        asked=rows,
        answered=sum(answer is not None for _, _, answer in answers),
        right=sum(answer == right for _, right, answer in answers),
        mistakes=tuple(mistakes),
    )


def result_lines(path: Path) -> Iterator[bytes]:
    """The non-blank lines of a result file, or of every .jsonl file of a folder of results."""
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as stream:
            yield from (line for line in stream if line.strip())


def main() -> None:
    """Reads the flags; with --check exits 1 when fewer answers than asked for are right."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--output", type=Path, help="request file to write")
    action.add_argument("--check", type=Path, help="result file, or folder of result files, to score")
    parser.add_argument("--rows", type=int, default=200, help="number of questions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="arithmetic", help="model name in the requests")
    parser.add_argument("--at-least", type=float, default=0.9, help="share that must be right for --check to exit 0")
    options = parser.parse_args()
    if options.check is None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        lines = request_lines(options.rows, options.model, options.seed)
        options.output.write_text("".join(line + "\n" for line in lines))
        print(f"{options.output}: {options.rows} questions")
        return
    found = score(result_lines(options.check), options.rows, options.seed)
    print(found.summary)
    for mistake in found.mistakes[:SHOWN_MISTAKES]:
        print(f"  {mistake}")
    if found.right < options.at_least * found.asked:
        sys.exit(1)


if __name__ == "__main__":
    main()
