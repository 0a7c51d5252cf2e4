"""Continues a broken stream with another model, so that the client sees one stream.

The text that was sent becomes the beginning of the assistant's message, which vLLM continues
(`continue_final_message`), or the end of a completion's prompt. `max_tokens` is reduced by what was generated; a seed
is changed, because the same random numbers would be drawn again. Frequency and presence penalties only count what an
engine generates itself, so `logit_bias` subtracts what the penalties would have at the splice. vLLM holds back text
that may be the beginning of a stop string, so no stop string crosses the splice.

Not continued: several choices, tool calls, structured outputs (a grammar would start over), echoes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.sse import Event, events_of
from serving.protocol.usage import Segment

_WHOLE = ("tools", "functions", "structured_outputs", "echo", "continue_final_message", "prompt_embeds")


@dataclass(frozen=True, slots=True)
class PartialAnswer:
    """The part of a response that a client has received; `finished`: all but the stream's last event."""

    id: str
    created: int
    text: str
    completion_tokens: int
    prompt_tokens: int
    finished: bool


def can_be_continued(request: GenerationRequest) -> bool:
    """Whether another model could continue the response to a request."""
    parsed = request.parsed
    if not request.streams or parsed.get("n") not in (None, 1) or parsed.get("use_beam_search"):
        return False
    if request.path != CHAT and not isinstance(parsed.get("prompt"), str):
        return False
    plain = parsed.get("response_format") in (None, {"type": "text"})
    return plain and not any(parsed.get(field) for field in _WHOLE)


def read_back(sent: Iterable[bytes], *, completion_tokens: int, prompt_tokens: int) -> PartialAnswer | None:
    """The partial answer in the events that were sent; None if it cannot be continued."""
    head: dict[str, Any] = {}
    texts = []
    finished = False
    for event in events_of(sent):
        head = head or event
        for choice in event.get("choices") or ():
            delta = choice.get("delta")
            if delta is not None and (delta.get("tool_calls") or delta.get("reasoning") or delta.get("refusal")):
                return None
            texts.append((choice.get("text") if delta is None else delta.get("content")) or "")
            finished = finished or choice.get("finish_reason") is not None
    if not head:
        return None
    return PartialAnswer(head["id"], head["created"], "".join(texts), completion_tokens, prompt_tokens, finished)


def what_is_left(request: GenerationRequest, beginning: PartialAnswer) -> dict[str, Any]:
    """The body with its token limits reduced by what was generated, and another seed."""
    body = dict(request.parsed)
    for field in ("max_tokens", "max_completion_tokens"):
        if isinstance(body.get(field), int):
            body[field] = max(1, body[field] - beginning.completion_tokens)
    if isinstance(body.get("min_tokens"), int):
        body["min_tokens"] = max(0, body["min_tokens"] - beginning.completion_tokens)
    if isinstance(body.get("seed"), int):
        body["seed"] = (body["seed"] + beginning.completion_tokens + 2**63) % 2**64 - 2**63  # within 64 bits
    return body


def rest_of(request: GenerationRequest, beginning: PartialAnswer, sent_tokens: Sequence[int]) -> dict[str, Any]:
    """The body of the request for the rest; `sent_tokens` are the token ids of the text, if penalties need them."""
    body = what_is_left(request, beginning)
    if sent_tokens:
        body["logit_bias"] = _charge(body, sent_tokens)
    if request.path == CHAT:
        body["messages"] = [*body["messages"], {"role": "assistant", "content": beginning.text}]
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    else:
        body["prompt"] += beginning.text
    return body


def has_penalties(parsed: Mapping[str, Any]) -> bool:
    """Whether `rest_of` needs the token ids of the text that was sent."""
    return bool(parsed.get("frequency_penalty") or parsed.get("presence_penalty"))


def is_spent(request: GenerationRequest, beginning: PartialAnswer) -> bool:
    """Whether the request's token limit has been reached, so that nothing is left to generate."""
    limits = [request.parsed.get(field) for field in ("max_completion_tokens", "max_tokens")]
    limit = next((value for value in limits if isinstance(value, int)), None)
    return limit is not None and beginning.completion_tokens >= limit


def _charge(parsed: Mapping[str, Any], sent_tokens: Sequence[int]) -> dict[str, float]:
    frequency, presence = parsed.get("frequency_penalty") or 0.0, parsed.get("presence_penalty") or 0.0
    bias = {str(token): float(value) for token, value in (parsed.get("logit_bias") or {}).items()}
    for token, times in Counter(sent_tokens).items():
        charged = bias.get(str(token), 0.0) - frequency * times - presence
        bias[str(token)] = max(-100.0, min(100.0, charged))  # the field's range
    return bias


class StreamSplicer:
    """Rewrites the chunks of a second stream so that they continue the first.

    Args:
        beginning: what the first stream sent.
        request: the client's request.

    """

    def __init__(self, beginning: PartialAnswer, request: GenerationRequest) -> None:
        self._beginning = beginning
        self._is_chat = request.path == CHAT
        self._wants_usage = bool(request.stream_options.get("include_usage"))

    def chunk(self, chunk: Mapping[str, Any]) -> dict[str, Any] | None:
        """The chunk to send to the client; None to drop it."""
        one = {**chunk, "id": self._beginning.id, "created": self._beginning.created}
        if not chunk.get("choices"):
            return self._counted(one) if self._wants_usage else None
        choice = chunk["choices"][0]
        delta = choice.get("delta")
        if delta is not None and choice.get("finish_reason") is None and not delta.get("content"):
            return None  # the role, which the client has received
        return one

    def provenance(self, segments: Iterable[Segment]) -> Event:
        """The event before the end of a spliced stream: which model generated which tokens, and why."""
        made = [asdict(segment) for segment in segments]
        one = {
            "id": self._beginning.id,
            "object": "chat.completion.chunk" if self._is_chat else "text_completion",
            "created": self._beginning.created,
            "model": made[-1]["model"],
            "choices": [],
            "bondhu": {"segments": made},
        }
        return Event.of(one)

    def _counted(self, one: dict[str, Any]) -> dict[str, Any]:
        completion_tokens = self._beginning.completion_tokens + (one.get("usage") or {}).get("completion_tokens", 0)
        prompt_tokens = self._beginning.prompt_tokens
        one["usage"] = {
            **(one.get("usage") or {}),
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }
        return one
