"""What a request cost, in whole micro-dollars.

A dollar a million tokens is a micro-dollar a token, and a dollar a second a micro-dollar a microsecond: so every amount
is an integer times a price, exact in decimal arithmetic. The sum over a request's segments is rounded once, half to
even, which favours nobody over many requests. It does not know where prices come from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from serving.config.schema import TokenPrice
from serving.protocol.usage import Segment

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by model id: dollars a second of an engine for local ones, prices of tokens for external ones."""

    engine_second_usd: Mapping[str, Decimal]
    tokens: Mapping[str, TokenPrice]

    def cost_microusd(self, segments: Iterable[Segment]) -> int:
        """What the segments cost together; a model without a price costs nothing.

        Engine seconds are counted whole for every request, also for those that shared them in a batch.
        """
        total = sum(map(self._cost, segments), Decimal(0))
        return int(total.to_integral_value(ROUND_HALF_EVEN))

    def _cost(self, segment: Segment) -> Decimal:
        if price := self.tokens.get(segment.model):
            return _token_cost(price, segment)
        return round(segment.engine_s * MICROSECONDS) * self.engine_second_usd.get(segment.model, Decimal(0))


def _token_cost(price: TokenPrice, segment: Segment) -> Decimal:
    cached_usd = price.cached_input_usd_per_mtok
    if cached_usd is None:
        cached_usd = price.input_usd_per_mtok
    return (
        (segment.prompt_tokens - segment.cached_tokens) * price.input_usd_per_mtok
        + segment.cached_tokens * cached_usd
        + (segment.to_token - segment.from_token) * price.output_usd_per_mtok
    )
