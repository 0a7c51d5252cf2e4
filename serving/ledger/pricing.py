"""The cost of a request in whole micro-dollars.

A dollar per million tokens is a micro-dollar per token, and a dollar per second is a micro-dollar per microsecond. So
every amount is an integer times a price and exact in decimal arithmetic. The sum over a request's segments is rounded
once, half to even, which has no bias over many requests. This module does not know where prices come from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from serving.config.schema import TokenPrice
from serving.protocol.usage import Segment

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by model id: USD per engine second for local models, token prices for external ones."""

    engine_second_usd: Mapping[str, Decimal]
    tokens: Mapping[str, TokenPrice]

    def cost_microusd(self, segments: Iterable[Segment]) -> int:
        """The cost of all segments; a model without a price is free.

        Engine seconds count in full for each request, also for requests that shared a batch.
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
