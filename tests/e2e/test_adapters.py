"""LoRA adapters and the model itself in one batch: each row gets the answer of what it names."""

from pathlib import Path
from uuid import uuid4

import pytest
from adapters import model_with, write_adapter
from stores import BUCKET
from vllm_runs import SERVED_NAME, Row, run_ours, write_rows

from connectors.stores.registry import open_store
from pipelines.models import ARITHMETIC_MODEL
from pipelines.models.arithmetic import MAX_ANSWER_TOKENS, answer_all
from pipelines.models.questions import held_out_questions

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

QUESTIONS = [question for question, _ in held_out_questions(24, seed=3)]


def row(model: str, number: int) -> Row:
    messages = [{"role": "user", "content": QUESTIONS[number]}]
    return {"custom_id": f"{model}-{number}", "body": {"model": model, "messages": messages}}


def answers_of(adapter: Path | None) -> list[str]:
    """What Transformers makes of the questions."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ARITHMETIC_MODEL)
    answers = answer_all(model_with(adapter), tokenizer, [[{"role": "user", "content": asked}] for asked in QUESTIONS])
    return [answer.removesuffix("…") for answer in answers]  # the mark of one that did not end


@pytest.mark.usefixtures("s3_endpoint")
def test_rows_of_two_adapters_and_of_the_model_itself_are_answered_as_alone(tmp_path: Path) -> None:
    adapters = {name: write_adapter(tmp_path / name, seed) for seed, name in enumerate(("local", "stored"))}
    place = f"s3://{BUCKET}/{uuid4().hex}"
    for file in adapters["stored"].iterdir():
        open_store(place).put(file.name, file.read_bytes())
    rows = [row(model, number) for number in range(len(QUESTIONS)) for model in (SERVED_NAME, *adapters)]
    flags = ["--lora", f"local={adapters['local']}", "--lora", f"stored={place}", "--engine-arg", "dtype=float32"]

    ran = run_ours(
        write_rows(tmp_path / "rows.jsonl", rows),
        tmp_path / "out",
        *flags,
        "--max-tokens",
        str(MAX_ANSWER_TOKENS),
        "--temperature",
        "0",
    )

    assert ran.exit_code == 0
    expected = {model: answers_of(adapters.get(model)) for model in (SERVED_NAME, *adapters)}
    assert len(set(map(tuple, expected.values()))) == len(expected)
    for model, texts in expected.items():
        bodies = [ran.rows[f"{model}-{number}"]["response"]["body"] for number in range(len(QUESTIONS))]  # type: ignore[index]
        assert [body["choices"][0]["message"]["content"] for body in bodies] == texts, model
        assert {body["model"] for body in bodies} == {model}
