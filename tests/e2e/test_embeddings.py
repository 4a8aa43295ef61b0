"""Embeddings, scores and ranks of a model loaded for them: those that Transformers' hidden states give."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vllm_runs import SERVED_NAME, Row, run_ours, write_rows

from pipelines.models import ARITHMETIC_MODEL

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(300)]

TEXTS = ["What is 17 plus 5?", "twenty-two", "A longer text about something else: 2, 3, 5, 7, 11."]
TOLERANCE = 1e-4


def embeddings(texts: list[str]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """The last hidden state of each text's last token, of length one."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ARITHMETIC_MODEL)
    model = AutoModel.from_pretrained(ARITHMETIC_MODEL, dtype=torch.float32)
    with torch.inference_mode():
        last = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, -1] for text in texts]
    return np.stack([(state / state.norm()).numpy() for state in last])


def test_embeddings_scores_and_ranks_are_those_of_the_model(tmp_path: Path) -> None:
    expected = embeddings(TEXTS)
    likeness = expected @ expected.T
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "one": ("/v1/embeddings", {"input": TEXTS[0]}),
        "several": ("/v1/embeddings", {"input": TEXTS, "encoding_format": "base64"}),
        "again": ("/v1/embeddings", {"input": TEXTS[0]}),
        "score": ("/v1/score", {"text_1": TEXTS[0], "text_2": TEXTS[1:]}),
        "rerank": ("/v1/rerank", {"query": TEXTS[0], "documents": TEXTS[1:]}),
        "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": TEXTS[0]}]}),
    }
    rows: list[Row] = [
        {"custom_id": name, "method": "POST", "url": url, "body": {"model": SERVED_NAME} | body}
        for name, (url, body) in bodies.items()
    ]

    ran = run_ours(
        write_rows(tmp_path / "rows.jsonl", rows),
        tmp_path / "out",
        *("--engine-arg", "dtype=float32", "--engine-arg", "runner=pooling"),
    )

    assert ran.exit_code == 0
    answers: dict[str, Any] = {name: row["response"]["body"] for name, row in ran.rows.items()}  # type: ignore[index]
    for name in ("one", "again"):
        np.testing.assert_allclose(answers[name]["data"][0]["embedding"], expected[0], atol=TOLERANCE)
    packed = [np.frombuffer(base64.b64decode(item["embedding"]), np.float32) for item in answers["several"]["data"]]
    np.testing.assert_allclose(packed, expected, atol=TOLERANCE)
    scores = [item["score"] for item in answers["score"]["data"]]
    np.testing.assert_allclose(scores, likeness[0, 1:], atol=TOLERANCE)
    best_first = [int(place) for place in np.argsort(-likeness[0, 1:])]
    assert [item["index"] for item in answers["rerank"]["results"]] == best_first
    assert ran.rows["chat"]["error"]["code"] == "unsupported_endpoint"  # type: ignore[index]
