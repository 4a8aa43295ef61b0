"""An answer's text is that of vLLM's own detokenizer, whatever its tokens are, wherever it is cut off."""

from random import Random
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pipelines.models import ARITHMETIC_MODEL

pytest.importorskip("vllm")
from vllm.sampling_params import SamplingParams
from vllm.v1.engine.detokenizer import IncrementalDetokenizer

from pipelines.engines.vllm.detokenizer import text_of

WORDS = ["the", " result", "42", " é", "漢字", "日本", " 🙂", "👩‍👩‍👧", "\n", "\ufffd", "ß", "\u00a0", "𝔘"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(ARITHMETIC_MODEL)


def vllms_text(tokenizer: PreTrainedTokenizerFast, prompt: list[int], tokens: list[int]) -> str:
    request = SimpleNamespace(
        request_id="", prompt_token_ids=prompt, sampling_params=SamplingParams(), prompt_embeds=None
    )
    one_by_one = IncrementalDetokenizer.from_new_request(tokenizer, request)
    for token in tokens:
        one_by_one.update([token], stop_terminated=False)
    return str(one_by_one.get_next_output_text(finished=True, delta=False))


def test_text_is_vllms_wherever_it_is_cut_off(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = tokenizer.encode("1 + 1?")
    for seed in range(60):
        random = Random(seed)
        whole = tokenizer.encode("".join(random.choices(WORDS, k=6)), add_special_tokens=False)
        if seed % 2:
            del whole[random.randrange(len(whole))]
        for end in range(len(whole) + 1):
            text = text_of(tokenizer._tokenizer, prompt, whole[:end])
            assert text in (None, vllms_text(tokenizer, prompt, whole[:end])), (seed, end)


def test_bytes_that_are_no_character_come_one_by_one() -> None:
    """`<0xC3> <0xA9> <0xE4>` together are three U+FFFD, one by one an e with an accent and what is held back."""
    vocabulary = {"<0xC3>": 0, "<0xA9>": 1, "<0xE4>": 2, "a": 3, "<unk>": 4}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    assert text_of(tokenizer, [3], [0, 1]) == "\u00e9"
    assert text_of(tokenizer, [3], [0, 1, 2, 3]) is None


@pytest.mark.parametrize("text", ["漢字", "é🙂", "42 👩‍👩‍👧"])
def test_a_character_that_is_cut_off_needs_no_tokens_one_by_one(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    whole = tokenizer.encode(text, add_special_tokens=False)
    for end in range(len(whole) + 1):
        assert text_of(tokenizer._tokenizer, [1], whole[:end]) == vllms_text(tokenizer, [1], whole[:end])


def test_random_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    for seed in range(200):
        random = Random(seed)
        tokens = random.choices(range(len(tokenizer)), k=random.randrange(12))
        text = text_of(tokenizer._tokenizer, [1, 80, 90], tokens)
        assert text is None or text == vllms_text(tokenizer, [1, 80, 90], tokens), seed
