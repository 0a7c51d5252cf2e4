"""Going on with a stream that broke, so that it looks like one.

The text that was sent becomes the beginning of the assistant's message, which vLLM continues
(`continue_final_message`), or the end of a completion's prompt. `max_tokens` loses what was generated; a seed is moved
on, or the same random numbers would be drawn again. Frequency and presence penalties count only what an engine
generates itself, so what was sent is charged by `logit_bias`: exactly what the penalties would have subtracted at the
splice. vLLM holds back text that may be the beginning of a stop string, so no stop string lies across the splice.

Not continued: more than one choice, tool calls, guided output (a grammar would start over), echoes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.sse import events_of
from serving.protocol.usage import Segment

_WHOLE = ("tools", "functions", "structured_outputs", "echo", "continue_final_message", "prompt_embeds")


@dataclass(frozen=True, slots=True)
class PartialAnswer:
    """What a client has of an answer. `finished`: all of it, but for the stream's end."""

    id: str
    created: int
    text: str
    completion_tokens: int
    prompt_tokens: int
    finished: bool


def can_be_continued(call: GenerationRequest) -> bool:
    """Whether the answer to `call`, if it breaks off, could be gone on with by another model."""
    parsed = call.parsed
    if not call.streams or parsed.get("n") not in (None, 1) or parsed.get("use_beam_search"):
        return False
    if call.path != CHAT and not isinstance(parsed.get("prompt"), str):
        return False
    plain = parsed.get("response_format") in (None, {"type": "text"})
    return plain and not any(parsed.get(field) for field in _WHOLE)


def read_back(sent: Iterable[bytes], *, completion_tokens: int, prompt_tokens: int) -> PartialAnswer | None:
    """What the events that were sent amount to; None when they cannot be continued."""
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


def what_is_left(call: GenerationRequest, beginning: PartialAnswer) -> dict[str, Any]:
    """The request with what was generated taken off its bounds, and its seed moved on."""
    body = dict(call.parsed)
    for field in ("max_tokens", "max_completion_tokens"):
        if isinstance(body.get(field), int):
            body[field] = max(1, body[field] - beginning.completion_tokens)
    if isinstance(body.get("min_tokens"), int):
        body["min_tokens"] = max(0, body["min_tokens"] - beginning.completion_tokens)
    if isinstance(body.get("seed"), int):
        body["seed"] = (body["seed"] + beginning.completion_tokens + 2**63) % 2**64 - 2**63  # within 64 bits
    return body


def rest_of(call: GenerationRequest, beginning: PartialAnswer, sent_tokens: Sequence[int]) -> dict[str, Any]:
    """The body that asks an engine for what follows; `sent_tokens` are the text's ids, where penalties need them."""
    body = what_is_left(call, beginning)
    if sent_tokens:
        body["logit_bias"] = _charge(body, sent_tokens)
    if call.path == CHAT:
        body["messages"] = [*body["messages"], {"role": "assistant", "content": beginning.text}]
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    else:
        body["prompt"] += beginning.text
    return body


def has_penalties(parsed: Mapping[str, Any]) -> bool:
    """Whether `rest_of` needs the ids of the tokens that were sent."""
    return bool(parsed.get("frequency_penalty") or parsed.get("presence_penalty"))


def is_spent(call: GenerationRequest, beginning: PartialAnswer) -> bool:
    """Whether all the tokens that the client asked for were generated, so that nothing follows."""
    asked = [call.parsed.get(field) for field in ("max_completion_tokens", "max_tokens")]
    limit = next((each for each in asked if isinstance(each, int)), None)
    return limit is not None and beginning.completion_tokens >= limit


def _charge(parsed: Mapping[str, Any], sent_tokens: Sequence[int]) -> dict[str, float]:
    frequency, presence = parsed.get("frequency_penalty") or 0.0, parsed.get("presence_penalty") or 0.0
    bias = {str(token): float(value) for token, value in (parsed.get("logit_bias") or {}).items()}
    for token, times in Counter(sent_tokens).items():
        charged = bias.get(str(token), 0.0) - frequency * times - presence
        bias[str(token)] = max(-100.0, min(100.0, charged))  # the range that the field has
    return bias


class StreamSplicer:
    """Makes a second stream's chunks those of the first.

    Args:
        beginning: what the first one sent.
        call: what the client asked for.

    """

    def __init__(self, beginning: PartialAnswer, call: GenerationRequest) -> None:
        self._beginning = beginning
        self._is_chat = call.path == CHAT
        self._wants_usage = bool(call.stream_options.get("include_usage"))

    def chunk(self, chunk: Mapping[str, Any]) -> dict[str, Any] | None:
        """The chunk as the client should see it; None when it should not."""
        one = {**chunk, "id": self._beginning.id, "created": self._beginning.created}
        if not chunk.get("choices"):
            return self._counted(one) if self._wants_usage else None
        choice = chunk["choices"][0]
        delta = choice.get("delta")
        if delta is not None and choice.get("finish_reason") is None and not delta.get("content"):
            return None  # the role, which the client has
        return one

    def provenance(self, segments: Iterable[Segment]) -> bytes:
        """The event before a spliced stream's end: who made which tokens, and why."""
        made = [asdict(segment) for segment in segments]
        one = {
            "id": self._beginning.id,
            "object": "chat.completion.chunk" if self._is_chat else "text_completion",
            "created": self._beginning.created,
            "model": made[-1]["model"],
            "choices": [],
            "bondhu": {"segments": made},
        }
        return b"data: " + orjson.dumps(one) + b"\n\n"

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
