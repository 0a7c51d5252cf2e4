"""The honest answer when only a model outside could answer, and what was asked may not go there.

A short text that says so, as a completion like any other, so that a person reads a sentence and not an error; its model
is `bondhu-degraded`, so that nobody takes it for one. Who writes of harming themselves gets another text than everybody
else, one that names help: nothing here judges whether they meant it. A program that expects a tool call, JSON, or
several choices gets the error.
"""

from collections.abc import Callable, Collection
from typing import Any

import orjson

from models.collect import collect
from serving.call import CHAT, Call
from serving.entry import Entry
from serving.reply import DONE, Reply
from serving.sensitive import SELF_HARM

LABEL = "bondhu-degraded"
_FOR_PROGRAMS = ("tools", "functions", "structured_outputs", "logprobs", "continue_final_message")


class Degraded:
    """Says that it cannot answer now.

    Args:
        text: what it says.
        crisis_text: what it says instead to who writes of harming themselves.
        now: unix seconds.
        new_id: an id unlike any other.

    """

    def __init__(
        self,
        *,
        text: Callable[[], str],
        crisis_text: Callable[[], str],
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._text = text
        self._crisis_text = crisis_text
        self._now = now
        self._new_id = new_id

    async def answer(self, call: Call, reply: Reply, entry: Entry, withheld: Collection[str]) -> None:
        """Answer to the end; `withheld` are the classes of what may not leave."""
        text = self._crisis_text() if SELF_HARM in withheld else self._text()
        chunks = self._chunks(text, wants_usage=bool(call.stream_options.get("include_usage")) or not call.streams)
        reply.degraded = note(withheld, "unanswered")
        if call.streams:
            await reply.event(b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + DONE, LABEL)
            await reply.end()
        else:
            await reply.whole(200, orjson.dumps(collect(chunks)), LABEL)
        entry.end("degraded", error_code="withheld")

    def _chunks(self, text: str, *, wants_usage: bool) -> list[dict[str, Any]]:
        head = {"id": f"chatcmpl-{self._new_id()}", "object": "chat.completion.chunk", "created": int(self._now())}
        said: list[tuple[dict[str, str], str | None]] = [
            ({"role": "assistant", "content": ""}, None),
            ({"content": text}, None),
            ({}, "stop"),
        ]
        choices: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} for delta, finish in said
        ]
        if wants_usage:
            choices.append({"choices": [], "usage": dict.fromkeys(_COUNTS, 0)})
        return [{**head, "model": LABEL, **choice} for choice in choices]


_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def is_for_a_person(call: Call) -> bool:
    """Whether a text is an answer to this request at all."""
    asked = call.parsed
    plain = asked.get("response_format") in (None, {"type": "text"}) and asked.get("n") in (None, 1)
    return call.path == CHAT and plain and not any(asked.get(field) for field in _FOR_PROGRAMS)


def note(withheld: Collection[str], *words: str) -> str:
    """What `x-bondhu-degraded` says."""
    return "; ".join([*words, f"withheld={','.join(sorted(withheld))}"])
