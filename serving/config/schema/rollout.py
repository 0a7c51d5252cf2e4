"""What a new engine must pass before it answers anybody: `checks` and `canary` in a file of configs/models/."""

import re
from contextlib import suppress
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from serving.config.frozen import Frozen


class CheckSpec(Frozen):
    """A golden prompt: what must hold of the answer of a new engine before it gets traffic. Sampling is greedy."""

    prompt: str = Field(min_length=1, description="the user's message")
    system: str = Field(default="", description="the system message; none by default")
    model: str | None = Field(default=None, description="which id of this file answers; none: the one that people get")
    max_tokens: int = Field(default=64, ge=1, description="maximum tokens of the answer")
    contains: tuple[str, ...] = Field(default=(), description="texts that the answer must have, in any letter case")
    matches: str | None = Field(default=None, description="regular expression that must be found in the answer")
    json_schema: dict[str, Any] | None = Field(
        default=None, description="JSON schema that the answer, made under it, must conform to"
    )
    greedy_equal: bool = Field(default=False, description="it must be what the engine that serves now answers")
    max_slowdown: float | None = Field(
        default=None,
        gt=0,
        description="a token may take at most so many times as long as on the engine that serves now",
    )

    @field_validator("matches")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as problem:
                raise ValueError(f"is no regular expression: {problem}") from None
        return pattern

    @model_validator(mode="after")
    def _demands_something(self) -> Self:
        demands = (self.contains, self.matches, self.json_schema, self.greedy_equal, self.max_slowdown)
        if not any(demands):
            raise ValueError("demands nothing: set contains, matches, json_schema, greedy_equal or max_slowdown")
        return self


class CanarySpec(Frozen):
    """A new engine gets a part of the requests first, and none again if it does worse than the old one."""

    share: float = Field(gt=0, lt=1, description="share of the requests, such as 5% or 0.05")
    minutes: float = Field(gt=0, description="how long")
    max_errors: float = Field(
        default=0.05, ge=0, le=1, description="how much more of its requests may fail, as a share"
    )
    max_ttft_ratio: float = Field(
        default=2.0,
        gt=0,
        description="its time to first token may be at most so many times the old engine's, on average",
    )
    min_requests: int = Field(default=10, ge=1, description="requests from which errors and times are compared")

    @field_validator("share", mode="before")
    @classmethod
    def _reads_percent(cls, share: Any) -> Any:
        if isinstance(share, str) and share.rstrip().endswith("%"):
            with suppress(ValueError):
                return float(share.rstrip().removesuffix("%")) / 100
        return share
