"""Plain chats beside a serving layer that refuses them: how often it is asked for a kind, and what makes one."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

MAX_KINDS = 256
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "2 + 2?"}], "temperature": 0}


class RefusingServing:
    """Stands in for vLLM's serving layer, which says what is wrong with a row; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def render_chat_request(self, request: object) -> object:
        self.asked += 1
        await asyncio.sleep(0)
        raise ValueError("logit_bias is out of the vocabulary")


@pytest.fixture
def serving() -> RefusingServing:
    return RefusingServing()


def answers(serving: RefusingServing, *bodies: dict[str, Any], at_once: bool = False) -> list[object]:
    from pipelines.engines.vllm.fast_chat import PlainChats

    tokenizer = SimpleNamespace(_tokenizer=None)
    llm: Any = SimpleNamespace(renderer=SimpleNamespace(get_tokenizer=lambda: tokenizer))
    nothing_made: Any = SimpleNamespace(take=lambda body: None)
    layer: Any = serving
    chats = PlainChats(llm, layer, nothing_made, frozenset())

    async def ask() -> list[object]:
        if at_once:
            return list(await asyncio.gather(*map(chats.answer, bodies)))
        return [await chats.answer(body) for body in bodies]

    return asyncio.run(ask())


def test_a_kind_that_is_refused_again_and_again_is_tried_no_more(serving: RefusingServing) -> None:
    assert answers(serving, *[CHAT] * 10) == [None] * 10
    assert serving.asked == 3


def test_rows_that_wait_for_one_try_count_as_one(serving: RefusingServing) -> None:
    assert answers(serving, *[CHAT] * 10, at_once=True) == [None] * 10
    assert serving.asked == 1


def test_another_kind_has_tries_of_its_own(serving: RefusingServing) -> None:
    answers(serving, *[CHAT] * 10, *[CHAT | {"temperature": 0.5}] * 10)
    assert serving.asked == 6


def test_refusals_are_remembered_of_no_more_kinds_than_answers_are(serving: RefusingServing) -> None:
    others = [CHAT | {"temperature": n / 1000} for n in range(1, MAX_KINDS + 1)]

    answers(serving, *[CHAT] * 10, *others, CHAT)

    assert serving.asked == 3 + MAX_KINDS + 1  # the first kind was forgotten, and is tried again


def test_a_user_for_each_row_makes_no_kind_for_each_row(serving: RefusingServing) -> None:
    answers(serving, *[CHAT | {"user": f"user-{n}"} for n in range(10)])
    assert serving.asked == 3


def test_a_user_that_is_no_text_is_for_the_serving_layer_to_refuse(serving: RefusingServing) -> None:
    assert answers(serving, CHAT | {"user": 5}) == [None]
    assert serving.asked == 0
