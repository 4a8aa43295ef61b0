"""What decides when a request is asked: how it begins, how long its answer may get, and whom it may be asked beside.

Knows nothing of rows and of who is asked.
"""

from math import log2

from batch.rows.request import Request
from batch.strict_json import dumps

_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_MOST_RANKS = 64


def beginning(request: Request) -> bytes:
    """Return what an engine reads of a request, from its first token on: requests that share a prefix sort together."""
    body = request.body
    asked = next((body[name] for name in ("messages", "prompt", "input", "query") if name in body), None)
    return dumps([body.get("model"), body.get("tools"), asked])


def is_apart(request: Request) -> bool:
    """Whether a request would change what others in the engine are answered, those of its own kind excepted.

    While one row wants the log-probabilities of tokens by their ids, vLLM's sampler gives no row its likeliest tokens.
    """
    return bool(request.body.get("logprob_token_ids"))


def rank(request: Request, *, at_end: bool, share_prefix: bool) -> int:
    """Return 0 before the end of a job; at its end 1 for an answer without limit, more the fewer tokens it may have.

    Counted in half doublings: rows of one length all at once would end, and be replaced, all at once. Where rows
    `share_prefix`, in doublings of 64 tokens: what they share is worth more than a few steps at the end.
    """
    if not at_end:
        return 0
    most = next((request.body[name] for name in _LIMITS if request.body.get(name) is not None), None)
    if not isinstance(most, int) or most < 1:
        return 1
    steps = ((most - 1) // 64).bit_length() if share_prefix else int(2 * log2(most))
    return max(1, _MOST_RANKS - steps)
