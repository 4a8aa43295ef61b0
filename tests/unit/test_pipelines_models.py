"""The question split, the shipped model's folder, the random-weight builder and the demo file, without an engine."""

import json
import re
from pathlib import Path
from random import Random

import pytest
from transformers import AutoConfig, AutoTokenizer

from pipelines.models import ARITHMETIC_MODEL
from pipelines.models.demo_requests import request_lines, result_lines, score
from pipelines.models.lessons import HARDEST, IGNORED_LABEL, draw_chat, draw_training_problem, lessons, stage_at
from pipelines.models.questions import Problem, held_out_questions
from pipelines.models.random_weights import NAMED_SHAPES, Shape, build

SMALL = Shape(layers=1, hidden=64, heads=2, kv_heads=1, intermediate=64, vocabulary=640)


def test_the_answer_of_each_operator_is_exact() -> None:
    assert [Problem(17, sign, 5).answer for sign in "+-*"] == ["22", "12", "85"]


def test_held_out_questions_repeat_for_a_seed_and_differ_between_seeds() -> None:
    assert held_out_questions(50, seed=3) == held_out_questions(50, seed=3)
    assert held_out_questions(50, seed=3) != held_out_questions(50, seed=4)


def test_training_never_draws_a_held_out_pair_nor_its_mirror_image() -> None:
    random = Random(1)
    drawn = [draw_training_problem(random, 0.3) for _ in range(5000)]
    mirrored = [Problem(problem.right, problem.operator, problem.left) for problem in drawn]
    assert not any(problem.is_held_out for problem in drawn + mirrored)


def test_about_a_tenth_of_the_pairs_is_held_out() -> None:
    pairs = [Problem(left, "+", right) for left in range(10, 100) for right in range(left)]
    assert 0.08 < sum(pair.is_held_out for pair in pairs) / len(pairs) < 0.12


def test_a_lesson_teaches_the_answers_with_their_end_and_nothing_else() -> None:
    tokenizer = AutoTokenizer.from_pretrained(ARITHMETIC_MODEL)
    for ids, labels in lessons(tokenizer, steps=4, batch_tokens=512, random=Random(2)):
        assert ids.shape == labels.shape
        assert ids.numel() <= 512
        for tokens, targets in zip(ids.tolist(), labels.tolist(), strict=True):
            learnt = tokenizer.decode([target for target in targets if target != IGNORED_LABEL])
            asked, answer = tokenizer.decode(tokens).split("<|assistant|>")
            assert answer.replace("<pad>", "") == learnt
            assert eval(asked.removeprefix("<s><|user|>")) == int(learnt.removesuffix("</s>"))


def test_lessons_begin_with_bare_problems_and_reach_the_hardest_stage() -> None:
    assert stage_at(0.0).phrased == stage_at(0.0).talkative == 0.0
    assert stage_at(0.5) == stage_at(1.0) == HARDEST


def test_a_chat_of_the_lessons_is_what_the_chat_template_renders() -> None:
    tokenizer = AutoTokenizer.from_pretrained(ARITHMETIC_MODEL)
    random = Random(4)
    for text in (draw_chat(random, HARDEST).text for _ in range(200)):
        parts = re.split(r"<\|(\w+)\|>", text.removeprefix("<s>"))[1:]
        chat = [
            {"role": role, "content": content.removesuffix("</s>")}
            for role, content in zip(parts[::2], parts[1::2], strict=True)
        ]
        assert tokenizer.apply_chat_template(chat, tokenize=False) == text


def test_the_shipped_folder_stays_small_enough_for_the_repository() -> None:
    assert sum(file.stat().st_size for file in ARITHMETIC_MODEL.iterdir()) <= 4_000_000


@pytest.mark.parametrize("text", ["What is 17 + 25?", "naïve 日本語 🙂\r\n\t", "\x00\x7f\u200b", " two  spaces "])
def test_the_tokenizer_gives_any_text_back(text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(ARITHMETIC_MODEL)
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_each_digit_is_one_token() -> None:
    tokenizer = AutoTokenizer.from_pretrained(ARITHMETIC_MODEL)
    assert tokenizer.tokenize("2024") == ["2", "0", "2", "4"]


def test_the_chat_template_renders_every_role_and_opens_the_answer() -> None:
    tokenizer = AutoTokenizer.from_pretrained(ARITHMETIC_MODEL)
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " 1 + 1 "},
        {"role": "assistant", "content": "2"},
        {"role": "tool", "content": "3"},
        {"role": "user", "content": "2 + 2"},
    ]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == ("<s><|system|>Be brief.<|user|>1 + 1<|assistant|>2</s><|tool|>3<|user|>2 + 2<|assistant|>")


def test_generation_ends_at_the_end_token() -> None:
    tokenizer = AutoTokenizer.from_pretrained(ARITHMETIC_MODEL)
    generation = json.loads((ARITHMETIC_MODEL / "generation_config.json").read_text())
    assert generation["eos_token_id"] == tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids("</s>")


def test_random_weights_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        build(tmp_path / name, SMALL, seed=seed)
    first, again, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "again", "other"))
    assert first == again
    assert first != other


def test_each_token_of_a_random_model_has_a_text_and_texts_are_encoded_as_before(tmp_path: Path) -> None:
    build(tmp_path, SMALL, config_only=True)
    shipped, larger = AutoTokenizer.from_pretrained(ARITHMETIC_MODEL), AutoTokenizer.from_pretrained(tmp_path)
    words = {larger.decode([token]) for token in range(len(shipped), SMALL.vocabulary)}
    assert len(words) == SMALL.vocabulary - len(shipped)
    assert all(re.fullmatch(" zz[a-z]{4}", word) for word in words)
    for text in ("What is 17 plus 5?", *words):
        assert larger.encode(text) == shipped.encode(text)


def test_a_random_model_loads_with_the_shape_asked_for(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    build(tmp_path, SMALL, dtype="float32")
    model, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert model.num_parameters() == SMALL.parameters
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


def test_config_only_leaves_the_weights_out(tmp_path: Path) -> None:
    build(tmp_path, NAMED_SHAPES["8B"], config_only=True)
    assert AutoConfig.from_pretrained(tmp_path).num_hidden_layers == 32
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        (Shape(layers=1, hidden=64, heads=3, kv_heads=1, intermediate=64), "hidden 64"),
        (Shape(layers=1, hidden=64, heads=4, kv_heads=3, intermediate=64), "kv_heads 3"),
        (Shape(layers=1, hidden=64, heads=2, kv_heads=1, intermediate=64, vocabulary=100), "vocabulary 100"),
    ],
)
def test_a_shape_that_no_model_can_have_is_refused_by_name(tmp_path: Path, shape: Shape, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        build(tmp_path, shape)


@pytest.mark.parametrize(("name", "least", "most"), [("3M", 2.8e6, 3.3e6), ("13M", 12e6, 14e6), ("50M", 47e6, 54e6)])
def test_a_named_size_is_about_what_it_says(name: str, least: float, most: float) -> None:
    assert least <= NAMED_SHAPES[name].parameters <= most


def answer_line(custom_id: str, content: str) -> bytes:
    """A result line of a job that succeeded."""
    body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return json.dumps({"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}).encode()


def failure_line(custom_id: str) -> bytes:
    """A result line of a row that failed."""
    return json.dumps({"custom_id": custom_id, "response": None, "error": {"code": "engine_error"}}).encode()


def test_demo_requests_ask_the_held_out_questions_under_distinct_ids() -> None:
    requests = [json.loads(line) for line in request_lines(30, model="arithmetic", seed=5)]
    asked = [request["body"]["messages"][0]["content"] for request in requests]
    assert asked == [question for question, _ in held_out_questions(30, seed=5)]
    assert len({request["custom_id"] for request in requests}) == 30
    assert {(request["method"], request["url"]) for request in requests} == {("POST", "/v1/chat/completions")}


def test_the_score_counts_right_wrong_failed_and_absent_rows() -> None:
    ids = [json.loads(line)["custom_id"] for line in request_lines(4, model="arithmetic")]
    answers = [answer for _, answer in held_out_questions(4)]
    lines = [answer_line(ids[0], answers[0] + "\n"), answer_line(ids[1], "wrong"), failure_line(ids[2])]
    found = score(lines, 4)
    assert (found.asked, found.answered, found.right) == (4, 2, 1)
    assert "wrong" in found.mistakes[0]
    assert answers[1] in found.mistakes[0]


def test_result_lines_reads_every_part_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "part-00000-a.jsonl").write_text('{"n": 1}\n\n')
    (tmp_path / "part-00001-a.jsonl").write_text('{"n": 2}\n')
    assert [json.loads(line)["n"] for line in result_lines(tmp_path)] == [1, 2]
