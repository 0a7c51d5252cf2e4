"""What an answer took: tokens, and which model made which of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request, as the engine counted them."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


def read_usage(told: Any) -> Usage:
    """The counts of an OpenAI `usage` object; zeros for what it does not say."""
    if not isinstance(told, Mapping):
        return Usage()
    details = told.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    return Usage(told.get("prompt_tokens") or 0, cached or 0, told.get("completion_tokens") or 0)


@dataclass(frozen=True, slots=True)
class Segment:
    """What one model did for a request: the completion tokens from `from_token` up to, not including, `to_token`.

    `reason` says why it was this model's turn. `prompt_tokens` (of which `cached_tokens` were in its prefix cache) is
    what this model had to read, `engine_s` the seconds that its engine worked on it.
    """

    model: str
    revision: str | None
    quantization: str | None
    from_token: int
    to_token: int
    reason: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    engine_s: float = 0.0
