"""Estimates of tokens, without a tokenizer; rather too high."""

from collections.abc import Mapping
from typing import Any

from serving.protocol.sequences import sequences_of

BYTES_PER_TOKEN = 3


def tokens_of(text: str) -> int:
    """Estimate the number of tokens of a text."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def max_tokens_of(parsed: Mapping[str, Any], body_bytes: int, completion_tokens: int) -> int:
    """Estimate the maximum tokens of a validated request; `completion_tokens` is the default without max_tokens."""
    for field in ("max_completion_tokens", "max_tokens"):
        if isinstance(requested := parsed.get(field), int) and requested > 0:
            completion_tokens = requested
            break
    return body_bytes // BYTES_PER_TOKEN + completion_tokens * sequences_of(parsed)
