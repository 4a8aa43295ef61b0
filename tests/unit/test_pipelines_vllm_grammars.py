"""Grammars that cost much, where the part of vLLM that compiles and moves them takes a given time."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.vllm


class Manager:
    """Stands for vLLM's StructuredOutputManager. Its work takes the seconds that a request says."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def _create_grammar(self, request: Any) -> str:
        self.now_s += request.compile_s
        return "compiled"

    def accept_tokens(self, request: Any, new_token_ids: list[int]) -> bool:
        self.now_s += request.token_s
        return new_token_ids != [13]


def row(text: str, *, compile_s: float = 0.0, token_s: float = 0.0, is_structured: bool = True) -> Any:
    from vllm.v1.structured_output.backend_types import StructuredOutputOptions

    return SimpleNamespace(
        structured_output_request=SimpleNamespace(structured_output_key=(StructuredOutputOptions.JSON, text)),
        use_structured_output=is_structured,
        compile_s=compile_s,
        token_s=token_s,
        num_output_tokens=80,
    )


@pytest.fixture
def manager() -> Any:
    from pipelines.engines.vllm.grammars import Grammars

    made = Manager()
    Grammars(made, clock=lambda: made.now_s, processor_clock=lambda: made.now_s)
    return made


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("vllm"), "propagate", True)
    return caplog


def test_a_schema_that_takes_seconds_to_compile_is_told_once_by_its_size(
    manager: Any, told: pytest.LogCaptureFixture
) -> None:
    for text in ("{secret}", "{secret}", "{other}"):
        assert manager._create_grammar(row(text, compile_s=3.25)) == "compiled"
    manager._create_grammar(row("{quick}", compile_s=1.9))

    assert [record.getMessage() for record in told.records] == [
        f"a structured output (json of {size} characters) took 3.2 s to compile; rows that have it wait for that"
        for size in (8, 7)
    ]


def test_a_row_whose_grammar_takes_too_long_for_a_token_is_ended_and_told_once(
    manager: Any, told: pytest.LogCaptureFixture
) -> None:
    manager._create_grammar(row("[a-z]"))

    accepted = [manager.accept_tokens(row("[a-z]", token_s=taken_s), [7]) for taken_s in (0.001, 0.2, 0.3, 0.4)]

    assert accepted == [True, True, False, False]
    assert manager.accept_tokens(row("[a-z]", token_s=0.4), [7, 8]) is True
    assert manager.accept_tokens(row("[a-z]"), [13]) is False
    assert manager.accept_tokens(row("", token_s=9.0, is_structured=False), [7]) is True
    (record,) = told.records
    assert "json of 5 characters) takes 0.30 s for a token after 80 tokens" in record.getMessage()
