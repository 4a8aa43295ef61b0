"""The text of an answer's tokens, when all are there. Knows nothing of requests."""

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

NO_CHARACTER = "\ufffd"
"""What stands for bytes that are no character."""
MAX_HELD_BACK = 3
"""Tokens that a cut-off character may have: it has four bytes at most, and one of them is missing."""


def text_of(tokenizer: Tokenizer, prompt: Sequence[int], tokens: Sequence[int]) -> str | None:
    """Return what vLLM's detokenizer makes of an answer's tokens, which it gets one by one.

    It holds the tokens at the end back that are no whole character yet. None where it matters otherwise that the
    tokens came one by one: with bytes between that are no character, and with many tokens without a text at the end.
    """
    for kept in range(len(tokens), max(0, len(tokens) - MAX_HELD_BACK) - 1, -1):
        text = DecodeStream(ids=prompt, skip_special_tokens=True).step(tokenizer, tokens[:kept]) if kept else ""
        if text is not None:  # else the last of them is not there to be seen
            return None if NO_CHARACTER in text else text
    return None
