"""Checks a reply on its way to the client, and adds the text before and after it.

A complete response is checked before any of it is sent; if it is unsafe, a fixed sentence replaces it. A stream is
checked as it passes. Usually its chunks are sent at once, and the stream ends at the unsafe phrase, whose last part is
never sent: what the client already has cannot be taken back. If the person may be in danger, or is a minor, chunks are
held until their sentence ends, and an unsafe sentence is not sent at all.

Nothing is added to tool calls and structured outputs. This module does not know which model replies, nor why a text is
unsafe (`agents.safety.reply_check`).
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from agents.safety.helplines import DIRECTORIES
from agents.safety.risk import ReplyCheck
from serving.protocol.sse import DATA, END, Event, event_of, joined
from serving.protocol.usage import Usage

Json = dict[str, Any]
STOPPED = "content_filter"  # OpenAI's finish_reason for a stopped response
ENDS = frozenset((".", "!", "?", "\n", "\N{DEVANAGARI DANDA}", "\N{HORIZONTAL ELLIPSIS}"))  # characters
CHECK_EVERY = 80  # characters, if no sentence ends before
MAX_HELD = 400  # characters that are held for the end of a sentence
WINDOW = 240  # earlier characters that are checked again with the new ones: a phrase may have begun there


class ReplyStopped(Exception):
    """The reply is unsafe: `closing` are the events that end the stream, `text` is their text."""

    def __init__(self, reasons: Sequence[str], closing: bytes, text: str) -> None:
        super().__init__(", ".join(reasons))
        self.closing = closing
        self.text = text


@dataclass(slots=True)
class _Said:
    """The text of one choice so far, and how many characters of it were checked."""

    text: str = ""
    checked_characters: int = 0


class ReplyGuard:
    """Guards one reply.

    Args:
        check: whether a text is safe; None: nothing is checked.
        prefix: text before the reply.
        suffix: text after the reply, unless the reply names the directory of helplines.
        events: `bondhu.events` of the first chunk.
        by_sentence: whether chunks are held until their sentence ends.

    Attributes:
        has_begun: whether `prefix` and `events` were sent.

    """

    def __init__(
        self,
        *,
        check: Callable[[str], ReplyCheck] | None,
        prefix: str = "",
        suffix: str = "",
        events: Sequence[Json] = (),
        by_sentence: bool = False,
    ) -> None:
        self.has_begun = False
        self._check = check
        self._prefix = prefix
        self._suffix = suffix
        self._events = list(events)
        self._by_sentence = by_sentence
        self._adds = bool(prefix or suffix or events)
        self._said: defaultdict[int, _Said] = defaultdict(_Said)  # by choice
        self._held: list[Event] = []
        self._is_sent = False

    def on_body(self, body: bytes) -> tuple[bytes, bytes]:
        """Return the body to send, and the one to keep, which lacks the prefix and the suffix."""
        response: Json = orjson.loads(body)
        outgoing, is_stopped = body, False
        for choice in response.get("choices") or ():
            is_stopped = self._replaced(choice) or is_stopped
        stored = orjson.dumps(response) if is_stopped else body
        for choice in response.get("choices") or ():
            self._wrap(choice)
        if is_stopped or self.has_begun or self._suffix:
            outgoing = orjson.dumps(response)
        return outgoing, stored

    def on_events(self, events: Sequence[Event]) -> bytes:
        """Return the events to send, which may be none yet; raises ReplyStopped."""
        out = b"".join([self._event(event) for event in events])
        self._is_sent = self._is_sent or bool(out)
        return out

    def release(self) -> bytes:
        """Return the held events."""
        out, self._held = joined(self._held), []
        return out

    def _replaced(self, choice: Json) -> bool:
        holder, key = _holder_of(choice)
        text = holder.get(key)
        if self._check is None or not isinstance(text, str):
            return False
        verdict = self._check(text)
        if verdict.is_safe:
            return False
        holder[key], choice["finish_reason"] = verdict.replacement or "", STOPPED
        return True

    def _wrap(self, choice: Json) -> None:
        holder, key = _holder_of(choice)
        text = holder.get(key)
        if not isinstance(text, str) or choice.get("finish_reason") == "tool_calls":
            return
        if self._prefix or self._events:
            self._begin(holder, is_chat="message" in choice)
        holder[key] = f"{self._prefix}{text}{self._suffix_of(text)}"

    def _begin(self, holder: Json, *, is_chat: bool) -> None:
        self.has_begun = True
        if is_chat and self._events:
            extension: Mapping[str, Any] = holder.get("bondhu") or {}
            holder["bondhu"] = {**extension, "events": [*self._events, *extension.get("events", ())]}

    def _suffix_of(self, text: str) -> str:
        return "" if not self._suffix or DIRECTORIES[0].contact in text else f"\n\n{self._suffix}"

    def _event(self, event: Event) -> bytes:
        chunk = event.chunk
        if chunk is None:
            return self.release() + event.data
        changed, releases = False, not self._held
        for choice in chunk.get("choices") or ():
            said, delta = self._said[choice.get("index", 0)], _text_of(choice)
            said.text += delta
            is_checked = self._check_delta(choice, said, delta, chunk)
            changed = (self._adds and self._wrap_delta(choice, said.text, delta)) or changed
            releases = is_checked or (releases and not delta)
        if changed:
            event.rewrite()
        if not self._by_sentence:
            return event.data
        self._held.append(event)
        return self.release() if releases else b""

    def _check_delta(self, choice: Json, said: _Said, delta: str, chunk: Json) -> bool:
        """Return whether all text of a choice, after this delta, was checked and is safe. Raises ReplyStopped."""
        if self._check is None:
            return True
        text, checked = said.text, said.checked_characters
        is_end = choice.get("finish_reason") is not None or not ENDS.isdisjoint(delta)
        if not is_end and len(text) - checked < (MAX_HELD if self._by_sentence else CHECK_EVERY):
            return False
        upto = len(text) if is_end else max(text.rfind(" "), checked)  # the last word may be incomplete
        verdict = self._check(text[max(checked - WINDOW, 0) : upto])
        if not verdict.is_safe:
            raise self._stop(verdict, chunk)
        said.checked_characters = upto
        return True

    def _wrap_delta(self, choice: Json, text: str, delta: str) -> bool:
        """Add the prefix or the suffix to a delta; return whether the chunk is changed."""
        holder, key = _holder_of(choice)
        is_last = choice.get("finish_reason") not in (None, "tool_calls")
        is_first = len(text) == len(delta) and (bool(delta) or is_last)
        words, begins = delta, is_first and bool(self._prefix or self._events)
        if begins:
            self._begin(holder, is_chat="delta" in choice)
            words = self._prefix + words
        if is_last:
            words += self._suffix_of(text)
        if words != delta:
            holder[key] = words
        return begins or words != delta

    def _stop(self, verdict: ReplyCheck, chunk: Json) -> ReplyStopped:
        """The end of the stream: held events are dropped, and one sentence replaces them."""
        text = (verdict.replacement or "") + self._suffix_of("".join(said.text for said in self._said.values()))
        content = f"\n\n{text}" if self._is_sent else text
        head = {name: chunk[name] for name in ("id", "object", "created", "model") if name in chunk}
        is_chat = "delta" in (chunk.get("choices") or [{}])[0]
        choices: list[Json] = []
        for index in sorted(self._said):
            fields: Json = {"delta": {"role": "assistant", "content": content}} if is_chat else {"text": content}
            choices.append({"index": index, **fields, "logprobs": None, "finish_reason": STOPPED})
        closing = b"".join(event_of({**head, "choices": [choice]}) for choice in choices)
        self._held = []
        return ReplyStopped(verdict.reasons, closing, text)


def usage_event(closing: bytes, usage: Usage) -> bytes:
    """The usage event of a stream that ended with `closing`."""
    chunk: Json = orjson.loads(closing.split(END)[0][len(DATA) :])
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return event_of({**chunk, "choices": [], "usage": counts})


def _holder_of(choice: Json) -> tuple[Json, str]:
    """The object and the key of a choice's text: of a chat's delta or message, or of a completion."""
    for name in ("delta", "message"):
        if isinstance(choice.get(name), dict):
            return choice[name], "content"
    return choice, "text"


def _text_of(choice: Json) -> str:
    holder, key = _holder_of(choice)
    text = holder.get(key)
    return text if isinstance(text, str) else ""
