"""The sections `external` and `prices`: models outside this installation."""

from decimal import Decimal

from pydantic import Field, field_validator

from models.providers import PROVIDERS
from serving.config.frozen import Frozen


class ExternalSpec(Frozen):
    """An external model, for `fallback` in model files; off until its provider's key is in the environment."""

    provider: str = Field(
        default="gemini", description=f"the provider, which sets the protocol: {', '.join(PROVIDERS)}"
    )
    model: str = Field(min_length=1, description="the provider's name of the model")
    base_url: str | None = Field(default=None, description="URL of another server with the same protocol")
    thinking_tokens: int = Field(default=0, ge=0, description="thinking budget of a request that sets none, tokens")
    ttft_timeout_s: float = Field(default=15, gt=0, description="timeout for the first text, s")
    stall_timeout_s: float = Field(default=15, gt=0, description="timeout between two chunks, s")
    timeout_s: float = Field(default=120, gt=0, description="timeout of a whole response, s")

    @field_validator("provider")
    @classmethod
    def _is_registered(cls, name: str) -> str:
        if name not in PROVIDERS:
            raise ValueError(f"no provider `{name}`; there are: {', '.join(sorted(PROVIDERS))}")
        return name


class TokenPrice(Frozen):
    """What an external model costs."""

    input_usd_per_mtok: Decimal = Field(ge=0, description="price of a million prompt tokens, USD")
    output_usd_per_mtok: Decimal = Field(ge=0, description="price of a million completion tokens, USD")
    cached_input_usd_per_mtok: Decimal | None = Field(
        default=None, ge=0, description="price of a million cached prompt tokens, USD; none: same as other input"
    )
