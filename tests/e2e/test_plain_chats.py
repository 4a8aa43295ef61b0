"""Chats that are answered the short way: the same as vLLM's serving layer answers, and no others than are meant."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from vllm_runs import ADD_TOOL, ANSWER_SCHEMA, comparable

from pipelines.models.questions import held_out_questions

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).parent.parent / "plain_chats.py"
QUESTION = "What is 12 + 30?"
LONG_WORD = "1 "


def chat(*contents: object, **fields: object) -> dict[str, Any]:
    """A body; roles as in a conversation."""
    roles = ["user", "assistant"] * len(contents)
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return {"model": "arithmetic", "messages": messages, "temperature": 0, "max_tokens": 12} | fields


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {field: value for field, value in body.items() if field != name}


WILD = {"temperature": 2.0, "frequency_penalty": 2.0, "ignore_eos": True, "max_tokens": 200}
"""Tokens at random: most make no text of whole characters."""
PLAIN = {
    **{f"question-{index}": chat(question) for index, (question, _) in enumerate(held_out_questions(12, 5))},
    **{f"wild-{seed}": chat(QUESTION, **WILD, seed=seed) for seed in range(12)},
    "sampled": chat(QUESTION, temperature=0.9, seed=3, top_p=0.9, top_k=20, min_p=0.01, ignore_eos=True),
    "penalties": chat(QUESTION, presence_penalty=0.5, frequency_penalty=0.5, repetition_penalty=1.2, ignore_eos=True),
    "several turns": chat(QUESTION, "42", "And 1 more?"),
    "system": {**chat(QUESTION), "messages": [{"role": "system", "content": "Be brief."}, *chat(QUESTION)["messages"]]},
    "other characters": chat("¿Cuánto es 12 + 30? 十二加三十 \U0001f9ee", ignore_eos=True),
    "no text": chat(""),
    "no length": without(chat(QUESTION), "max_tokens"),
    "newer length": without(chat(QUESTION, max_completion_tokens=3), "max_tokens"),
    "both lengths": chat(QUESTION, max_completion_tokens=2),
    "null": chat(QUESTION, max_completion_tokens=None, seed=None),
    "one token": chat(QUESTION, max_tokens=1, ignore_eos=True),
    "stop token": chat(QUESTION, stop_token_ids=list(range(20, 60))),
    "bias": chat(QUESTION, logit_bias={"30": 5.0}),
    "user": chat(QUESTION, user="someone"),
    "template arguments": chat(QUESTION, chat_template_kwargs={"enable_thinking": False}),
    "all room": chat(LONG_WORD * 100, max_tokens=250, ignore_eos=True),
}
OTHERS = {
    "no room": chat(LONG_WORD * 100, max_tokens=500),
    "too long": chat(LONG_WORD * 2000),
    "many characters": chat("1" * 40_000),
    "logprobs": chat(QUESTION, logprobs=True, top_logprobs=2),
    "several answers": chat(QUESTION, n=2, temperature=0.5, seed=1),
    "stop": chat(QUESTION, stop=["2"]),
    "schema": chat(QUESTION, response_format=ANSWER_SCHEMA),
    "tools": chat(QUESTION, tools=[ADD_TOOL]),
    "other model": chat(QUESTION, model="another"),
    "parts": chat([{"type": "text", "text": QUESTION}]),
    "named": {**chat(QUESTION), "messages": [{"role": "user", "content": QUESTION, "name": "someone"}]},
    "echo": chat(QUESTION, echo=True),
    "hot": chat(QUESTION, temperature=-1),
    "huge length": chat(QUESTION, max_tokens=2**70),
    "huge token": chat(QUESTION, stop_token_ids=[2**70]),
    "odd role": {**chat(QUESTION), "messages": [{"role": ["user"], "content": QUESTION}]},
    "no number": chat(QUESTION, temperature={"": []}),
    "bad arguments": chat(QUESTION, logit_bias={"99999999": 1.0}),
    "odd user": chat(QUESTION, user=5),
    "no seed": chat(QUESTION, seed=-1),
    "float seed": chat(QUESTION, seed=1.0),
    "float length": chat(QUESTION, max_tokens=4.0),
    "tokens returned": chat(QUESTION, return_token_ids=True),
}


@pytest.fixture(scope="module")
def answered() -> dict[str, Any]:
    """What the script printed, by the name of the body; under "cancelled" its last line."""
    bodies = PLAIN | OTHERS
    process = subprocess.run(
        [sys.executable, "-P", str(SCRIPT)],
        input="".join(json.dumps(body) + "\n" for body in bodies.values()),
        env=os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=480,
        check=True,
    )
    lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    return dict(zip([*bodies, "cancelled"], lines, strict=True))


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_chat_is_answered_as_the_serving_layer_answers_it(name: str, answered: dict[str, Any]) -> None:
    plain, served = answered[name]["plain"], answered[name]["served"]

    assert plain is not None
    assert served["status_code"] == 200
    assert comparable(plain) == comparable(served)
    assert list(plain["body"]) == list(served["body"])
    assert plain["body"]["system_fingerprint"] == served["body"]["system_fingerprint"]


@pytest.mark.parametrize("name", PLAIN)
def test_a_prompt_that_was_made_while_the_engine_loaded_gives_the_same_answer(
    name: str, answered: dict[str, Any]
) -> None:
    again = answered[name]["again"]

    assert again is not None
    assert comparable(again) == comparable(answered[name]["served"])


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_chat_is_left_to_the_serving_layer(name: str, answered: dict[str, Any]) -> None:
    assert answered[name]["plain"] is None


def test_some_answers_hold_characters_that_are_cut_off(answered: dict[str, Any]) -> None:
    texts = [answered[name]["plain"]["body"]["choices"][0]["message"]["content"] for name in PLAIN if "wild" in name]

    assert any("\ufffd" in text for text in texts)


def test_a_plain_chat_that_is_cancelled_leaves_the_engine(answered: dict[str, Any]) -> None:
    assert answered["cancelled"] == {"cancelled": True, "left": 0}
