"""The honest answer when nobody may, or can, be asked.

A short text that says so, as a completion like any other, so that a person reads a sentence and not an error; its model
is `bondhu-degraded`, so that nobody takes it for one. It is said where only a model outside could answer, and what was
asked may not go there; a program that expects a tool call, JSON, or several choices gets the error then. Who writes of
harming themselves gets another text, one that names help (`agents.safety.reply`), whatever failed and whatever was
expected: nothing here judges whether they meant it.
"""

from collections.abc import Callable, Collection
from typing import Any

import orjson
from starlette.responses import Response

from agents.safety.reply import crisis_reply
from models.chat_chunks import collect
from serving.errors import ApiError
from serving.generation.crisis import is_failure, speaks_of_self_harm
from serving.privacy.detector import SELF_HARM, Detect
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.response import DEGRADED_HEADER, MODEL_HEADER, ResponseWriter
from serving.protocol.sse import DONE

LABEL = "bondhu-degraded"
CRISIS = "unanswered; crisis"
_FOR_PROGRAMS = ("tools", "functions", "structured_outputs", "logprobs", "continue_final_message")


class Degraded:
    """Says that it cannot answer now.

    Args:
        text: what it says.
        crisis_text: what it says instead to who writes of harming themselves, before it names help.
        detect: finds classes of private things in a text.
        now: unix seconds.
        new_id: an id unlike any other.

    """

    def __init__(
        self,
        *,
        text: Callable[[], str],
        crisis_text: Callable[[], str],
        detect: Detect,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._text = text
        self._crisis_text = crisis_text
        self._detect = detect
        self._now = now
        self._new_id = new_id

    async def answer(
        self, call: GenerationRequest, reply: ResponseWriter, entry: RequestRecord, withheld: Collection[str]
    ) -> None:
        """Answer to the end; `withheld` are the classes of what may not leave."""
        text = self._crisis_of(call) if SELF_HARM in withheld else self._text()
        reply.degraded = note(withheld, "unanswered")
        await self._say(call, reply, text)
        entry.end("degraded", error_code="withheld")

    async def comfort(
        self, call: GenerationRequest, reply: ResponseWriter, entry: RequestRecord, error: ApiError
    ) -> bool:
        """In a crisis, say so instead of telling of a failure, also where a stream has begun; else False."""
        if reply.finished or (reply.started and not call.streams) or not await self._is_crisis(call, error):
            return False
        text = self._crisis_of(call)
        reply.degraded = CRISIS
        await self._say(call, reply, f"\n\n{text}" if reply.started else text)
        entry.end("degraded", error_code=error.code)
        return True

    async def comfort_at_the_door(self, call: GenerationRequest, error: ApiError) -> Response | None:
        """The same, as a response, for a request that nothing could begin for; else None."""
        if not await self._is_crisis(call, error):
            return None
        headers = {MODEL_HEADER.decode(): LABEL, DEGRADED_HEADER.decode(): CRISIS}
        chunks = self._chunks(call, self._crisis_of(call))
        if call.streams:
            return Response(_events(chunks), 200, headers, media_type="text/event-stream")
        return Response(_whole(call, chunks), 200, headers, media_type="application/json")

    async def _is_crisis(self, call: GenerationRequest, error: ApiError) -> bool:
        return is_failure(error) and await speaks_of_self_harm(call, self._detect)

    def _crisis_of(self, call: GenerationRequest) -> str:
        return crisis_reply(call.country, text=self._crisis_text())

    async def _say(self, call: GenerationRequest, reply: ResponseWriter, text: str) -> None:
        chunks = self._chunks(call, text)
        if call.streams:
            await reply.event(_events(chunks), LABEL)
            await reply.end()
        else:
            await reply.whole(200, _whole(call, chunks), LABEL)

    def _chunks(self, call: GenerationRequest, text: str) -> list[dict[str, Any]]:
        is_chat = call.path == CHAT
        id_ = f"{'chatcmpl' if is_chat else 'cmpl'}-{self._new_id()}"
        object_ = "chat.completion.chunk" if is_chat else "text_completion"
        head = {"id": id_, "object": object_, "created": int(self._now()), "model": LABEL}
        choices: list[dict[str, Any]] = [{"text": text, "logprobs": None, "finish_reason": "stop"}]
        if is_chat:
            choices = [
                {"delta": {"role": "assistant", "content": ""}, "finish_reason": None},
                {"delta": {"content": text}, "finish_reason": None},
                {"delta": {}, "finish_reason": "stop"},
            ]
        chunks: list[dict[str, Any]] = [{**head, "choices": [{"index": 0, **choice}]} for choice in choices]
        if call.stream_options.get("include_usage") or not call.streams:
            chunks.append({**head, "choices": [], "usage": dict.fromkeys(_COUNTS, 0)})
        return chunks


_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def _events(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + DONE


def _whole(call: GenerationRequest, chunks: list[dict[str, Any]]) -> bytes:
    if call.path == CHAT:
        return orjson.dumps(collect(chunks))
    return orjson.dumps(chunks[0] | {"usage": chunks[-1]["usage"]})


def is_for_a_person(call: GenerationRequest) -> bool:
    """Whether a text is an answer to this request at all."""
    asked = call.parsed
    plain = asked.get("response_format") in (None, {"type": "text"}) and asked.get("n") in (None, 1)
    return call.path == CHAT and plain and not any(asked.get(field) for field in _FOR_PROGRAMS)


def note(withheld: Collection[str], *words: str) -> str:
    """What `x-bondhu-degraded` says."""
    return "; ".join([*words, f"withheld={','.join(sorted(withheld))}"])
