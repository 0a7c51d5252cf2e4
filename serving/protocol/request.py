"""A request for a generation, as the gateway understood it: who asks, for what, and what may be done with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.protocol.sequences import sequences_of
from storage.tables import RequestClass

CHAT = "/v1/chat/completions"
COMPLETION = "/v1/completions"
GREEDY_BELOW = 1e-5  # a temperature that vLLM takes for zero (vllm/sampling_params.py, _SAMPLING_EPS)


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One request.

    `parsed` is the body in OpenAI's field names, `model` the id that its `model` resolved to, `path` one of CHAT and
    COMPLETION. `allow_external` says whether its key lets it leave for a model outside, `allow_sensitive` whether with
    what is private in it; its end user has a say as well (`serving.privacy.consent`). `country` is
    where the person is, by two letters, if that is known: in a crisis they are told of the help that is there.
    `conversation` is where it is remembered, None where it is not; `agent_conversation` is where an agent keeps its
    games and proposals, whether or not anything is remembered.
    """

    path: str
    parsed: Mapping[str, Any]
    model: str
    request_id: str
    app: str
    user: str | None
    class_: RequestClass
    allow_external: bool
    allow_sensitive: bool = False
    conversation: str | None = None
    country: str | None = None
    agent_conversation: str = ""

    @property
    def streams(self) -> bool:
        """Whether the client wants events."""
        return bool(self.parsed.get("stream"))

    @property
    def sequences(self) -> int:
        """How many answers it is for: prompts x choices. Limits and admission count them."""
        return sequences_of(self.parsed)

    @property
    def stream_options(self) -> Mapping[str, Any]:
        """The request's own, {} without any."""
        return self.parsed.get("stream_options") or {}


def is_deterministic(parsed: Mapping[str, Any]) -> bool:
    """Whether the engine answers the same request the same again: greedy, one candidate a token, or with a seed."""
    temperature, top_k, seed = parsed.get("temperature"), parsed.get("top_k"), parsed.get("seed")
    greedy = isinstance(temperature, int | float) and temperature < GREEDY_BELOW
    return greedy or (type(top_k) is int and top_k == 1) or type(seed) is int
