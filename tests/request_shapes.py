"""Request bodies of every shape that vLLM's own tests send to its server, for the shipped model: what is common to all,
and what each has besides. Deterministic: temperature 0 or a seed.
"""

from collections.abc import Iterator
from typing import Any

Body = dict[str, Any]

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
QUESTION = "What is 45 + 46?"
USER = {"role": "user", "content": QUESTION}
HUGE = 2**70

SCHEMA: Body = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}
FUNCTION: Body = {"name": "add", "description": "Add.", "parameters": SCHEMA}
TOOL: Body = {"type": "function", "function": FUNCTION}
FLAT_TOOL: Body = {"type": "function", **FUNCTION}
JSON_SCHEMA: Body = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
DECODING: list[Body] = [
    {"choice": ["91", "92"]},
    {"regex": "[0-9]{3}"},
    {"json": SCHEMA},
    {"json_object": True},
    {"grammar": 'root ::= "9" [0-9]'},
    {"regex": "("},
    {"grammar": "root"},
    {"choice": []},
    {"json": {"type": 7}},
    {"choice": ["a"], "regex": "a"},
    {},
]
# What both kinds of generation take, and what both refuse.
GENERATION: list[Body] = [
    *({"seed": seed, "temperature": 1.3} for seed in (0, 7, -1, 2**63 - 1)),
    *({"seed": seed} for seed in (1.0, 1.5, "x", 2**63)),
    *({"n": n, "seed": 3, "temperature": 0.9} for n in (1, 2, 3)),
    *({"top_k": top_k, "seed": 5, "temperature": 1} for top_k in (0, -1, 1, 5, 513, 10_000, HUGE)),
    *({"top_p": top_p, "seed": 5, "temperature": 1} for top_p in (0.1, 1, 1.0)),
    *({"min_p": min_p, "seed": 5, "temperature": 1} for min_p in (0, 0.2, 1, 1.5, -0.1)),
    *({"repetition_penalty": penalty} for penalty in (1.5, 0.5, 0, -1, HUGE)),
    *({"presence_penalty": penalty} for penalty in (2, -2)),
    *({"frequency_penalty": penalty} for penalty in (0.5, -2)),
    *({"max_tokens": most} for most in (1, 3, 2000)),
    *({"min_tokens": least, "max_tokens": 8} for least in (0, 4, 8, 9, -1, HUGE)),
    *({"stop": stop} for stop in ("1", ["1", "9"], [], None, [""])),
    *({"stop": "1", "include_stop_str_in_output": included} for included in (True, False)),
    *({"stop_token_ids": ids} for ids in ([], [2], [400, 401], [511], [512], [-1], [HUGE], ["x"])),
    *({"logit_bias": bias} for bias in ({}, {"50": 100}, {"50": -100, "51": 1.5}, {"512": 1}, {"-1": 1}, {"x": 1})),
    *({"allowed_token_ids": ids} for ids in ([50, 51], [], [512], [-1], [HUGE])),
    *({"bad_words": words} for words in (["9"], ["9", "91"], [""], [], [5])),
    *({"ignore_eos": ignored, "max_tokens": 6} for ignored in (True, False)),
    *({"skip_special_tokens": skipped} for skipped in (True, False)),
    {"spaces_between_special_tokens": False},
    *({"prompt_logprobs": number} for number in (0, 1, 3, -1, -2, 21, None)),
    *({"truncate_prompt_tokens": number} for number in (-1, 0, 3, 10, 4000)),
    {"truncate_prompt_tokens": 4, "truncation_side": "left"},
    *({"structured_outputs": decoding, "max_tokens": 24} for decoding in DECODING),
    *({"response_format": {"type": kind}, "max_tokens": 24} for kind in ("text", "json_object", "json_schema", "x")),
    {"response_format": JSON_SCHEMA, "max_tokens": 24},
    *({"priority": priority} for priority in (0, 1)),
    *({"use_beam_search": True, "n": n, "max_tokens": 4} for n in (1, 2)),
    *({"thinking_token_budget": budget} for budget in (5, -1, -2)),
    *({"repetition_detection": {"max_pattern_size": size, "min_count": 2}} for size in (0, 3, -1, HUGE)),
    *({"vllm_xargs": given} for given in ({}, {"a": 1}, {"a": [1, "x"]}, 5)),
    *({"return_token_ids": returned} for returned in (True, False)),
    *({"cache_salt": salt} for salt in ("salt", "", 5)),
    *({"user": user} for user in ("someone", 5)),
    *({"request_id": name} for name in ("mine", "")),
    {"unknown_field": 1},
    {"stream": False},
    {"stream_options": {"include_usage": True}},
]
MESSAGES: list[Any] = [
    [],
    [{"role": "system", "content": "Be brief."}, USER],
    [{"role": "developer", "content": "Be brief."}, USER],
    [USER, {"role": "assistant", "content": "91"}, {"role": "user", "content": "And 1 + 1?"}],
    [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}],
    [{"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "4 + 5?"}]}],
    [{"role": "user", "content": []}],
    [{"role": "user", "content": None}],
    [{"role": "user"}],
    [{"role": "user", "content": ""}],
    [{"role": "user", "content": QUESTION, "name": "someone"}],
    [{"role": "narrator", "content": QUESTION}],
    [{"role": 5, "content": QUESTION}],
    [{"role": ["user"], "content": QUESTION}],
    [{"content": QUESTION}],
    [{"role": "user", "content": 5}],
    [{"role": "user", "content": {"type": "text", "text": QUESTION}}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}],
    [USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {}}]}],
    [
        USER,
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "91"},
    ],
]
CHATS: list[Body] = [
    *({"messages": messages} for messages in MESSAGES),
    *({"logprobs": True, "top_logprobs": number} for number in (0, 1, 5, 20, None)),
    {"logprobs": True},
    {"top_logprobs": 3},
    *({"logprobs": True, "logprob_token_ids": ids} for ids in ([50], [50, 51, 52], [50, 60], [512], [-1], [], [HUGE])),
    {"logprob_token_ids": [50]},
    {"logprobs": True, "top_logprobs": 2, "n": 2, "seed": 1, "temperature": 1},
    {"logprobs": True, "top_logprobs": 2, "return_tokens_as_token_ids": True},
    {"max_completion_tokens": 2},
    {"max_completion_tokens": 2, "max_tokens": 4},
    *({"tools": [TOOL], "tool_choice": choice, "max_tokens": 24} for choice in ("auto", "none", "required", "x", None)),
    {"tools": [TOOL], "max_tokens": 24},
    {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "add"}}, "max_tokens": 24},
    {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}},
    {"tools": [TOOL], "tool_choice": {"type": "function", "function": {}}},
    {"tools": []},
    {"tools": [{}]},
    {"tools": [{"type": "function", "function": {"name": ""}}]},
    {"tools": None},
    {"tool_choice": "auto"},
    {"tools": [TOOL], "parallel_tool_calls": False, "tool_choice": "required", "max_tokens": 24},
    *({"echo": echo, "messages": [USER, {"role": "assistant", "content": "9"}]} for echo in (True, False)),
    {"messages": [USER, {"role": "assistant", "content": "9"}], "continue_final_message": True},
    {
        "messages": [USER, {"role": "assistant", "content": "9"}],
        "continue_final_message": True,
        "add_generation_prompt": False,
    },
    {"add_generation_prompt": False},
    {"add_special_tokens": True},
    {"documents": [{"title": "a", "text": "b"}]},
    {"documents": [5]},
    *({"chat_template_kwargs": given} for given in ({}, {"enable_thinking": False}, {"tools": 5})),
    *({"reasoning_effort": effort} for effort in ("low", "none", "endless")),
    {"include_reasoning": False},
    {"return_prompt_text": True},
    {"mm_processor_kwargs": {"a": 1}},
    {"media_io_kwargs": {"image": {"a": 1}}},
    {"max_tokens": 5, "prompt_logprobs": 2, "logprobs": True, "top_logprobs": 2},
    {"messages": [{"role": "user", "content": "1 2 3 " * 3000}]},
    {"structured_outputs": 5},
    {"kv_transfer_params": {"a": 1}},
]
PROMPTS: list[Any] = [
    QUESTION,
    "",
    ["4 + 5?", "1 + 1?"],
    [100, 101, 102],
    [[100, 101], [102]],
    [],
    [[]],
    [512],
    [-1],
    [HUGE],
    [1.5],
    ["a", 5],
    5,
    "1 2 3 " * 3000,
]
COMPLETED: list[Body] = [
    *({"prompt": prompt} for prompt in PROMPTS),
    *({"logprobs": number} for number in (0, 1, 5, 20, None)),
    {"logprobs": 2, "n": 2, "seed": 1, "temperature": 1},
    {"logprobs": 1, "logprob_token_ids": [50, 51]},
    {"logprobs": 2, "return_tokens_as_token_ids": True},
    *({"echo": True, "max_tokens": most, "logprobs": number} for most in (0, 2) for number in (None, 1)),
    {"max_tokens": 0},
    {"suffix": "x"},
    {"best_of": 2},
    {"add_special_tokens": False},
    {"prompt": None, "prompt_embeds": "AAAA"},
    {"prompt_embeds": []},
    {"echo": True, "prompt": [100, 101], "max_tokens": 2},
    {"prompt": ["4 + 5?", "1 + 1?"], "n": 2, "seed": 1, "temperature": 1, "logprobs": 1},
]
INPUTS: list[Any] = [
    QUESTION,
    "",
    [USER],
    [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION}]}],
    [{"role": "developer", "content": "Be brief."}, USER],
    [USER, {"role": "assistant", "content": "91"}, {"role": "user", "content": "And 1 + 1?"}],
    [
        USER,
        {"type": "function_call", "call_id": "1", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "91"},
    ],
    [{"type": "reasoning", "summary": [], "id": "r"}, USER],
    [],
    [{}],
    5,
    [5],
    "1 2 3 " * 3000,
]
TEXTS: list[Body] = [
    {"format": {"type": "text"}},
    {"format": {"type": "json_object"}},
    {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}},
    {"format": {"type": "json_schema", "name": "answer"}},
    {"format": {"type": "x"}},
    {"verbosity": "low"},
    {},
]
RESPONDED: list[Body] = [
    *({"input": given} for given in INPUTS),
    *({"text": text, "max_output_tokens": 24} for text in TEXTS),
    *(
        {"tools": [FLAT_TOOL], "tool_choice": choice, "max_output_tokens": 24}
        for choice in ("auto", "none", "required")
    ),
    {"tools": [FLAT_TOOL], "tool_choice": {"type": "function", "name": "add"}, "max_output_tokens": 24},
    {"tools": [{"type": "web_search_preview"}]},
    {"tools": [{"type": "function"}]},
    *({"max_output_tokens": most} for most in (1, 3, 5000)),
    *({"top_logprobs": number, "include": ["message.output_text.logprobs"]} for number in (1, 5)),
    {"top_logprobs": 2},
    {"instructions": "Be brief."},
    {"store": False},
    {"store": True},
    {"background": True},
    {"background": True, "store": False},
    {"previous_response_id": "resp_none"},
    {"previous_response_id": "none"},
    {"metadata": {"a": "b"}},
    {"metadata": {"a": 5}},
    *({"reasoning": reasoning} for reasoning in ({"effort": "low"}, {"effort": "none"}, {"effort": "endless"}, {})),
    {"include": ["reasoning.encrypted_content"]},
    {"include": ["nothing"]},
    *({"truncation": truncation} for truncation in ("auto", "disabled", "x")),
    {"parallel_tool_calls": False},
    {"service_tier": "flex"},
    {"max_tool_calls": 1},
    {"top_p": 0.5, "temperature": 1, "top_k": 1},
    {"temperature": 1, "seed": 4},
    *({"stop": stop} for stop in ("1", ["1"])),
    {"logit_bias": {"50": 100.0}},
    {"skip_special_tokens": False},
    {"user": "someone"},
    {"prompt": {"id": "x"}},
    {"repetition_penalty": 1.5},
    {"ignore_eos": True, "max_output_tokens": 5},
    {"include_stop_str_in_output": True, "stop": ["1"]},
    {"structured_outputs": {"choice": ["a", "b"]}},
    {"chat_template_kwargs": {"enable_thinking": False}},
    {"cache_salt": ""},
    {"priority": 1},
    {"enable_response_messages": True},
]
OTHERS: list[tuple[str, Body]] = [
    ("/v1/embeddings", {"input": "one"}),
    ("/score", {"queries": "a", "documents": ["b"]}),
    ("/v1/score", {"text_1": "a", "text_2": "b"}),
    ("/rerank", {"query": "a", "documents": ["b"]}),
    ("/v1/rerank", {"query": "a", "documents": ["b"]}),
    ("/v2/rerank", {"query": "a", "documents": ["b"]}),
    (CHAT, {"messages": [USER], "model": "another"}),
    (COMPLETIONS, {"prompt": QUESTION, "model": "another"}),
    (RESPONSES, {"input": QUESTION, "model": "another"}),
]


def shapes(model: str) -> Iterator[tuple[str, Body]]:
    """Yield (endpoint, body), all for one model."""
    common = {"model": model, "temperature": 0}
    for endpoint, base, length, rows in (
        (CHAT, {"messages": [USER]}, "max_tokens", CHATS + GENERATION),
        (COMPLETIONS, {"prompt": QUESTION}, "max_tokens", COMPLETED + GENERATION),
        (RESPONSES, {"input": QUESTION}, "max_output_tokens", RESPONDED),
    ):
        yield from ((endpoint, {**common, **base, length: 8, **row}) for row in rows)
    yield from ((endpoint, {"model": model, **body}) for endpoint, body in OTHERS)
