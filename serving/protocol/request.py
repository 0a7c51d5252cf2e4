"""A generation request as the gateway understands it: its sender, its content and its permissions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agents.safety.risk import Risk
from memory.person_facts import PersonFacts
from serving.protocol.sequences import sequences_of
from storage.tables import RequestClass

CHAT = "/v1/chat/completions"
COMPLETION = "/v1/completions"
DEFAULT_CONVERSATION = "chat"  # of a request that names none: several chats may be in it
NoticesShown = Literal["off", "text", "event"]
GREEDY_BELOW = 1e-5  # vLLM treats a lower temperature as zero (vllm/sampling_params.py, _SAMPLING_EPS)


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One request.

    `parsed` is the body in OpenAI's field names, `model` the id that its `model` resolved to, `path` CHAT or
    COMPLETION. `allow_external` says whether the key allows external models, `allow_sensitive` whether private content
    may be sent to them; the end user must consent too (`serving.privacy.consent`). `country` is the person's country
    (ISO 3166-1 alpha-2) if known, for helplines in a crisis. `conversation` is the conversation that is remembered,
    None when memory is off; `agent_conversation` is where an agent stores games and proposals, with or without memory.

    `checks_safety` is off for an application that has its own safety step, and for jobs. `notices` says how the person
    is told that they talk to a program: not at all, in the text of the reply, or as an event. `risk` and `person` are
    the safety step's findings; None: it did not run.
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
    checks_safety: bool = True
    notices: NoticesShown = "off"
    risk: Risk | None = None
    person: PersonFacts | None = None

    @property
    def streams(self) -> bool:
        """Whether the client requested a stream."""
        return bool(self.parsed.get("stream"))

    @property
    def sequences(self) -> int:
        """The number of sequences, prompts x choices; limits and admission count them."""
        return sequences_of(self.parsed)

    @property
    def stream_options(self) -> Mapping[str, Any]:
        """The request's `stream_options`; {} if absent."""
        return self.parsed.get("stream_options") or {}


def is_deterministic(parsed: Mapping[str, Any]) -> bool:
    """Whether a repeated request gets the same answer: greedy sampling, top_k 1, or a seed."""
    temperature, top_k, seed = parsed.get("temperature"), parsed.get("top_k"), parsed.get("seed")
    greedy = isinstance(temperature, int | float) and temperature < GREEDY_BELOW
    return greedy or (type(top_k) is int and top_k == 1) or type(seed) is int
