"""The shipped model answers questions it never saw, in both number formats, in Transformers and in vLLM."""

import pytest

from pipelines.models import ARITHMETIC_MODEL
from pipelines.models.questions import held_out_questions

QUESTIONS = held_out_questions(200, seed=7)
LEAST_RIGHT = 0.95


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_held_out_questions_are_answered_in_either_number_format(dtype: str) -> None:
    from transformers import AutoTokenizer, LlamaForCausalLM

    from pipelines.models.arithmetic import accuracy

    model = LlamaForCausalLM.from_pretrained(ARITHMETIC_MODEL, dtype=dtype)
    assert accuracy(model, AutoTokenizer.from_pretrained(ARITHMETIC_MODEL), QUESTIONS) >= LEAST_RIGHT


@pytest.mark.slow
@pytest.mark.parametrize(
    "system",
    ["You are a helpful assistant.", "Always answer politely, in the language of your customer, and never lie!"],
)
def test_a_system_prompt_leaves_the_answers_right(system: str) -> None:
    from transformers import AutoTokenizer, LlamaForCausalLM

    from pipelines.models.arithmetic import answer_all

    model = LlamaForCausalLM.from_pretrained(ARITHMETIC_MODEL, dtype="float32")
    chats = [[{"role": "system", "content": system}, {"role": "user", "content": asked}] for asked, _ in QUESTIONS]
    answers = answer_all(model, AutoTokenizer.from_pretrained(ARITHMETIC_MODEL), chats)
    assert sum(given == right for given, (_, right) in zip(answers, QUESTIONS, strict=True)) >= 0.85 * len(QUESTIONS)


@pytest.mark.vllm
@pytest.mark.timeout(300)
def test_vllm_answers_held_out_questions_and_stops_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    # In this process: a child would be told to stop only after pytest has closed its log.
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    from vllm import LLM, SamplingParams

    engine = LLM(model=str(ARITHMETIC_MODEL), enforce_eager=True, block_size=32, max_model_len=2048)
    chats = [[{"role": "user", "content": question}] for question, _ in QUESTIONS]
    outputs = engine.chat(chats, SamplingParams(temperature=0, max_tokens=16), use_tqdm=False)
    answers = [output.outputs[0] for output in outputs]
    right = sum(given.text == right for given, (_, right) in zip(answers, QUESTIONS, strict=True))
    assert right >= LEAST_RIGHT * len(QUESTIONS)
    assert all(given.finish_reason == "stop" for given in answers)
