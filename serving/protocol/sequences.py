"""How many sequences a request makes an engine generate, and whether a key's tier lets it.

What engines work on is sequences: each prompt with each of its choices is one. Limits, admission and reservations count
them, or one request could ask for a thousand times what it is counted for.
"""

from collections.abc import Mapping
from typing import Any

from serving.config.schema import TierSpec
from serving.errors import InvalidRequest


def sequences_of(parsed: Mapping[str, Any]) -> int:
    """Prompts x choices of a request that has been checked; at least 1."""
    prompt = parsed.get("prompt")
    prompts = len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1
    return prompts * max(parsed.get("n") or 1, parsed.get("best_of") or 1)


def check_tier(parsed: Mapping[str, Any], tier: TierSpec) -> None:
    """Refuse what the tier does not allow; raises InvalidRequest. The request has been checked for types."""
    sequences = sequences_of(parsed)
    if sequences > tier.max_sequences:
        choices = max(parsed.get("n") or 1, parsed.get("best_of") or 1)
        param = "prompt" if choices == 1 else "n" if (parsed.get("n") or 1) == choices else "best_of"
        raise InvalidRequest(
            f"{param}: this request is for {sequences} answers (prompts x n); this key's tier allows "
            f"{tier.max_sequences} in one request.",
            param=param,
        )
    for param, what in (
        ("best_of", (parsed.get("best_of") or 1) > (parsed.get("n") or 1) and "best_of"),
        ("use_beam_search", parsed.get("use_beam_search") and "use_beam_search"),
        ("prompt_logprobs", parsed.get("prompt_logprobs") is not None and "prompt_logprobs"),
        ("echo", parsed.get("echo") and _wants_logprobs(parsed) and "echo_logprobs"),
    ):
        if what and what not in tier.allow:
            raise InvalidRequest(f"{param}: this key's tier does not allow it (`tiers`, `allow`: {what}).", param=param)


def _wants_logprobs(parsed: Mapping[str, Any]) -> bool:
    logprobs = parsed.get("logprobs")
    return logprobs is not None and logprobs is not False  # 0 is a number of them, and the prompt's own come along
