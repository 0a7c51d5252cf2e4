"""Counts the sequences of a request and checks them against the key's tier.

An engine generates one sequence for each choice of each prompt. Limits, admission and reservations count sequences;
otherwise one request could cost as much as a thousand.
"""

from collections.abc import Mapping
from typing import Any

from serving.config.schema import TierSpec
from serving.errors import InvalidRequest


def sequences_of(parsed: Mapping[str, Any]) -> int:
    """Prompts x choices of a validated request; at least 1."""
    prompt = parsed.get("prompt")
    prompts = len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1
    return prompts * max(parsed.get("n") or 1, parsed.get("best_of") or 1)


def check_tier(parsed: Mapping[str, Any], tier: TierSpec) -> None:
    """Raise InvalidRequest for what the tier does not allow; the request's types have been validated."""
    sequences = sequences_of(parsed)
    if sequences > tier.max_sequences:
        choices = max(parsed.get("n") or 1, parsed.get("best_of") or 1)
        param = "prompt" if choices == 1 else "n" if (parsed.get("n") or 1) == choices else "best_of"
        raise InvalidRequest(
            f"{param}: this request asks for {sequences} answers (prompts x n); the tier of this key allows at most "
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
            raise InvalidRequest(
                f"{param}: not allowed for the tier of this key; an operator can allow it (`allow: [{what}]` under "
                "`tiers`).",
                param=param,
            )


def _wants_logprobs(parsed: Mapping[str, Any]) -> bool:
    logprobs = parsed.get("logprobs")
    return logprobs is not None and logprobs is not False  # 0 also returns the logprobs of the prompt's tokens
