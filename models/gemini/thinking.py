"""How much a Gemini model may think, and how many tokens that needs beside the answer's.

Thoughts count against `max_output_tokens`, so room for them is added to the client's maximum. Available controls:
https://ai.google.dev/gemini-api/docs/thinking. Version 2.5 takes a budget in tokens (0: no thoughts, which Pro does not
allow); 3 and later take a level and cannot switch thoughts off; earlier models do not think.
"""

import re
from dataclasses import dataclass
from typing import Any

from models.chat import BadRequest

EFFORTS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576}  # tokens
MAX_OUTPUT_TOKENS = 65_536  # of every model that thinks

_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_LEAST_PRO = 128  # tokens; below it 2.5 Pro answers 400
_LEAST_LITE = 512  # the same for 2.5 Flash-Lite, but for 0
_MAX_BUDGET = 24_576
# A level bounds nothing: the room that thoughts of a level are given. What they do not use costs nothing.
_LEVELS = (("minimal", 512, 2048), ("low", 1024, 4096), ("medium", 8192, 16_384), ("high", _MAX_BUDGET, 32_768))


@dataclass(frozen=True)
class Thinking:
    """The SDK's `thinking_config` (None: the model has none), and the tokens to keep free for thoughts."""

    config: dict[str, Any] | None
    headroom_tokens: int


def budget_of(effort: Any, default_tokens: int) -> int:
    """The thinking budget in tokens for OpenAI's `reasoning_effort`; raises BadRequest for an unknown one."""
    if effort is None:
        return default_tokens
    if not isinstance(effort, str) or effort not in EFFORTS:
        raise BadRequest(f"reasoning_effort: must be one of {', '.join(EFFORTS)}.", field="reasoning_effort")
    return EFFORTS[effort]


def generation(model: str) -> tuple[int, int]:
    """The version in a model's name, as (3, 1); names without one (gemini-flash-latest) count as the newest."""
    if not (name := model.removeprefix("models/")).startswith("gemini-"):
        return (0, 0)
    match = _VERSION.match(name)
    return (int(match[1]), int(match[2] or 0)) if match else (99, 0)


def thinking_for(model: str, budget_tokens: int) -> Thinking:
    """The model's nearest setting to `budget_tokens` of thoughts."""
    version = generation(model)
    if version < (2, 5):
        return Thinking(None, 0)
    if version < (3, 0):
        tokens = min(budget_tokens, _MAX_BUDGET)
        if "pro" in model:
            tokens = max(tokens, _LEAST_PRO)
        elif "lite" in model and tokens:
            tokens = max(tokens, _LEAST_LITE)
        return Thinking({"thinking_budget": tokens}, tokens)
    levels = _LEVELS if "lite" in model else _LEVELS[1:]  # not every other one knows "minimal"
    level, _, headroom = next((entry for entry in levels if budget_tokens <= entry[1]), levels[-1])
    return Thinking({"thinking_level": level}, headroom)
