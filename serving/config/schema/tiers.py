"""The section `tiers`: the limits of API keys."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from serving.config.frozen import Frozen

TierName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Costly = Literal["best_of", "use_beam_search", "prompt_logprobs", "echo_logprobs"]


class StructuredOutputsSpec(Frozen):
    """Bounds of a request's regular expressions, grammars, JSON schemas and tools (protocol/structured_outputs.py)."""

    max_bytes: int = Field(default=32_768, ge=0, description="maximum size of all constraints, bytes; 0: none allowed")
    max_depth: int = Field(default=16, ge=1, le=30, description="maximum nesting of groups, or of schemas")
    max_values: int = Field(default=1000, ge=1, description="maximum values of an enum or choice, or properties")
    max_repetition: int = Field(
        default=10_000, ge=1, description="maximum bounded repetition; nested ones are multiplied"
    )


class TierSpec(Frozen):
    """Limits of the keys of a tier; none is no limit. A request with m prompts and n choices counts as m x n."""

    requests_per_minute: int | None = Field(
        default=None, ge=1, description="requests of an app in any 60 s; m prompts with n choices count as m x n"
    )
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="prompt and completion tokens of an app in any 60 s"
    )
    tokens_per_day: int | None = Field(default=None, ge=1, description="tokens of an app per day (UTC)")
    user_requests_per_minute: int | None = Field(default=None, ge=1, description="requests of one end user in any 60 s")
    user_tokens_per_minute: int | None = Field(default=None, ge=1, description="tokens of one end user in any 60 s")
    user_tokens_per_day: int | None = Field(default=None, ge=1, description="tokens of one end user per day (UTC)")
    max_sequences: int = Field(
        default=16, ge=1, le=2048, description="maximum sequences of one request: prompts x n; above: 400"
    )
    allow: tuple[Costly, ...] = Field(
        default=(),
        description="expensive features to allow: best_of above n, use_beam_search, prompt_logprobs, echo_logprobs "
        "(echo together with logprobs)",
    )
    structured_outputs: StructuredOutputsSpec = StructuredOutputsSpec()
    own_safety: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        pattern=r"\S",
        description="the reason why requests of this tier do without the safety step here, as keys made with "
        "--own-safety; none: they have it",
    )


DEFAULT_TIERS = {
    "free": TierSpec(requests_per_minute=50, tokens_per_minute=100_000, tokens_per_day=2_000_000, max_sequences=8),
    "standard": TierSpec(requests_per_minute=100, tokens_per_minute=400_000, tokens_per_day=20_000_000),
    "premium": TierSpec(
        requests_per_minute=200, tokens_per_minute=2_000_000, tokens_per_day=200_000_000, max_sequences=32
    ),
    "admin": TierSpec(max_sequences=128, allow=get_args(Costly)),
}
