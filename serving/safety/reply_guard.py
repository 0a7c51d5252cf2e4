"""A reply on its way to the client: read for what must not be said, with what stands before and after its words.

A whole reply is read before any of it is sent; where it may not be shown, a sentence of ours stands in its place. A
stream is read as it passes. Usually its words go out as they come, and the stream ends at the phrase that may not be
said, whose last part is never sent: what a client has already cannot be taken back. Where the person may be in danger,
or is a minor, words wait for the end of their sentence, and a sentence that may not be said is not sent at all.

Calls of a client's tools and structured answers have nothing put around them. It does not know who speaks, nor why
something may not be said (`agents.safety.reply_check`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from agents.safety.helplines import DIRECTORIES
from agents.safety.risk import ReplyCheck
from serving.protocol.usage import Usage

Json = dict[str, Any]
STOPPED = "content_filter"  # OpenAI's word for an answer that was ended like this
ENDS = (".", "!", "?", "\n", "\N{DEVANAGARI DANDA}", "\N{HORIZONTAL ELLIPSIS}")
CHECK_EVERY = 80  # characters without an end of a sentence
MAX_HELD = 400  # characters that wait for one
WINDOW = 240  # characters that are read again with what is new: a phrase may have begun there
_DATA, _END = b"data: ", b"\n\n"


class ReplyStopped(Exception):
    """The reply may not go on: `closing` are the events that end the stream, `text` is what they say."""

    def __init__(self, reasons: Sequence[str], closing: bytes, text: str) -> None:
        super().__init__(", ".join(reasons))
        self.closing = closing
        self.text = text


class ReplyGuard:
    """One reply's.

    Args:
        check: whether a text may be shown; None: nothing is read.
        before: what is said first.
        after: what is said last, unless a directory of helplines is named already.
        events: what goes along as `bondhu.events`, with the first words.
        by_sentence: whether words wait for the end of their sentence.

    Attributes:
        has_begun: whether `before` and `events` were sent.

    """

    def __init__(
        self,
        *,
        check: Callable[[str], ReplyCheck] | None,
        before: str = "",
        after: str = "",
        events: Sequence[Json] = (),
        by_sentence: bool = False,
    ) -> None:
        self.has_begun = False
        self._check = check
        self._before = before
        self._after = after
        self._events = list(events)
        self._by_sentence = by_sentence
        self._texts: dict[int, str] = {}
        self._checked: dict[int, int] = {}
        self._held: list[bytes] = []
        self._is_sent = False

    def whole(self, body: bytes) -> tuple[bytes, bytes]:
        """What is sent of a whole reply, and what is kept of it, which has nothing put around it."""
        answer: Json = orjson.loads(body)
        sent, is_stopped = body, False
        for choice in answer.get("choices") or ():
            is_stopped = self._replaced(choice) or is_stopped
        kept = orjson.dumps(answer) if is_stopped else body
        for choice in answer.get("choices") or ():
            self._dress(choice)
        if is_stopped or self.has_begun or self._after:
            sent = orjson.dumps(answer)
        return sent, kept

    def events(self, block: bytes) -> bytes:
        """What is sent of these events of a stream, maybe nothing yet; raises ReplyStopped."""
        passed = [self._event(event) for event in block.split(_END) if event]
        out = b"".join(passed)
        self._is_sent = self._is_sent or bool(out)
        return out

    def release(self) -> bytes:
        """What still waits; nothing of it was found to be wrong."""
        out, self._held = b"".join(self._held), []
        return out

    def _replaced(self, choice: Json) -> bool:
        place, key = _place(choice)
        text = place.get(key)
        if self._check is None or not isinstance(text, str):
            return False
        verdict = self._check(text)
        if verdict.is_safe:
            return False
        place[key], choice["finish_reason"] = verdict.replacement or "", STOPPED
        return True

    def _dress(self, choice: Json) -> None:
        place, key = _place(choice)
        text = place.get(key)
        if not isinstance(text, str) or choice.get("finish_reason") == "tool_calls":
            return
        if self._before or self._events:
            self._begin(place, is_chat="message" in choice)
        place[key] = f"{self._before}{text}{self._after_of(text)}"

    def _begin(self, place: Json, *, is_chat: bool) -> None:
        self.has_begun = True
        if is_chat and self._events:
            known: Mapping[str, Any] = place.get("bondhu") or {}
            place["bondhu"] = {**known, "events": [*self._events, *known.get("events", ())]}

    def _after_of(self, text: str) -> str:
        return "" if not self._after or DIRECTORIES[0].contact in text else f"\n\n{self._after}"

    def _event(self, event: bytes) -> bytes:
        if not event.startswith(b"data: {"):
            return self.release() + event + _END
        chunk: Json = orjson.loads(event[len(_DATA) :])
        changed, is_due = False, not self._held
        for choice in chunk.get("choices") or ():
            piece = _words(choice)
            is_read = self._look(choice, piece, chunk)
            changed = self._put_around(choice, piece) or changed
            is_due = is_read or (is_due and not piece)
        told = (_DATA + orjson.dumps(chunk) if changed else event) + _END
        if not self._by_sentence:
            return told
        self._held.append(told)
        return self.release() if is_due else b""

    def _look(self, choice: Json, piece: str, chunk: Json) -> bool:
        """Take a piece in; whether all that came of this choice was read and may be said. Raises ReplyStopped."""
        index = choice.get("index", 0)
        text = self._texts[index] = self._texts.get(index, "") + piece
        if self._check is None:
            return True
        checked = self._checked.get(index, 0)
        is_end = choice.get("finish_reason") is not None or any(end in piece for end in ENDS)
        if not is_end and len(text) - checked < (MAX_HELD if self._by_sentence else CHECK_EVERY):
            return False
        upto = len(text) if is_end else max(text.rfind(" "), checked)  # a word may go on
        verdict = self._check(text[max(checked - WINDOW, 0) : upto])
        if not verdict.is_safe:
            raise self._stop(verdict, chunk)
        self._checked[index] = upto
        return True

    def _put_around(self, choice: Json, piece: str) -> bool:
        """Put before and after the words what belongs there; whether the chunk is changed."""
        place, key = _place(choice)
        text = self._texts[choice.get("index", 0)]
        is_last = choice.get("finish_reason") not in (None, "tool_calls")
        is_first = len(text) == len(piece) and (bool(piece) or is_last)
        words, begins = piece, is_first and bool(self._before or self._events)
        if begins:
            self._begin(place, is_chat="delta" in choice)
            words = self._before + words
        if is_last:
            words += self._after_of(text)
        if words != piece:
            place[key] = words
        return begins or words != piece

    def _stop(self, verdict: ReplyCheck, chunk: Json) -> ReplyStopped:
        """The end of the stream: what was held is gone, and one sentence says that it does not go on."""
        text = (verdict.replacement or "") + self._after_of("".join(self._texts.values()))
        said = f"\n\n{text}" if self._is_sent else text
        head = {name: chunk[name] for name in ("id", "object", "created", "model") if name in chunk}
        is_chat = "delta" in (chunk.get("choices") or [{}])[0]
        choices: list[Json] = []
        for index in sorted(self._texts):
            words: Json = {"delta": {"role": "assistant", "content": said}} if is_chat else {"text": said}
            choices.append({"index": index, **words, "logprobs": None, "finish_reason": STOPPED})
        closing = b"".join(_DATA + orjson.dumps({**head, "choices": [each]}) + _END for each in choices)
        self._held = []
        return ReplyStopped(verdict.reasons, closing, text)


def counts_event(closing: bytes, usage: Usage) -> bytes:
    """The event with the counts of a stream that ended with `closing`."""
    chunk: Json = orjson.loads(closing.split(_END)[0][len(_DATA) :])
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    told = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return _DATA + orjson.dumps({**chunk, "choices": [], "usage": told}) + _END


def _place(choice: Json) -> tuple[Json, str]:
    """Where a choice has its words: a chat's, whole or in pieces, or a completion's."""
    for name in ("delta", "message"):
        if isinstance(choice.get(name), dict):
            return choice[name], "content"
    return choice, "text"


def _words(choice: Json) -> str:
    place, key = _place(choice)
    text = place.get(key)
    return text if isinstance(text, str) else ""
