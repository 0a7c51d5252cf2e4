"""Token usage of a response, and which model generated which tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request, counted by the engine."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


def read_usage(usage: Any) -> Usage:
    """The counts of an OpenAI `usage` object; missing ones are 0."""
    if not isinstance(usage, Mapping):
        return Usage()
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    return Usage(usage.get("prompt_tokens") or 0, cached or 0, usage.get("completion_tokens") or 0)


@dataclass(frozen=True, slots=True)
class Segment:
    """One model's part of a response: the completion tokens from `from_token` up to, not including, `to_token`.

    `reason` is why this model was chosen. `prompt_tokens` (of which `cached_tokens` were in its prefix cache) are this
    model's prompt, `engine_s` the seconds that its engine worked on it. For an adapter, `base` is the model that it is
    on, `adapter` its own revision and `revision` that of the base.
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
    base: str | None = None
    adapter: str | None = None
