"""Gemini's streamed responses as OpenAI's chat-completion chunks.

It handles Gemini's differences: blocked answers come as HTTP 200 with no candidates or no parts, tool calls have no
index and often no id, thoughts are counted separately from the same budget, and the finish reason may be missing.
Nothing is emitted before the first text or tool call, so that until then another model can take over unnoticed.
Formats: https://ai.google.dev/api/generate-content and https://platform.openai.com/docs/api-reference/chat-streaming.
This module does not know where responses come from.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from models.chat import CutStream
from models.gemini.errors import Empty, Filtered, ThoughtsOnly
from models.gemini.messages import Json
from models.gemini.resume import TextSplicer

if TYPE_CHECKING:  # the SDK is heavy, and only the client loads it
    from google.genai.types import FunctionCall, GenerateContentResponse, Part

_FINISHED = {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length"}
_FILTERED = frozenset(
    {"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "ESCALATION", "MODEL_ARMOR"}
    | {"PUP_LIMITED_DISABLED", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"}
)


class Answer:
    """One answer in progress: `take` each response, then `end`.

    Args:
        head: the fields that every chunk has: id, object, created, model.
        new_call_id: makes an id for a tool call that has none.
        visible_tokens: the maximum tokens of the answer, without thoughts; None: no limit.
        single_tool_call: send only the first tool call.
        continues: the text that the client already has.

    """

    def __init__(
        self,
        *,
        head: Json,
        new_call_id: Callable[[], str],
        visible_tokens: int | None,
        single_tool_call: bool,
        continues: str,
    ) -> None:
        self._head = head
        self._new_call_id = new_call_id
        self._visible_tokens = visible_tokens
        self._single_tool_call = single_tool_call
        self._splicer = TextSplicer(continues)
        self._reason: str | None = None  # Google's finish reason
        self._blocked: str | None = None  # Google's reason for a block
        self._cut = False
        self._candidates = False
        self._calls = 0
        self._raw_chars = self._sent_chars = 0
        self._prompt_tokens = self._cached_tokens = self._answer_tokens = self._thought_tokens = 0
        self.started = False  # something is out

    @property
    def complete(self) -> bool:
        """Whether the end of the answer is known, though a token count may still follow."""
        return self._cut or self._blocked is not None or self._reason is not None

    @property
    def cut(self) -> bool:
        """Whether the answer has reached the requested number of tokens; the rest need not be read."""
        return self._cut

    def take(self, response: GenerateContentResponse) -> Iterator[Json]:
        """The chunks that a response gives."""
        self._count(response)
        feedback = response.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            self._blocked = feedback.block_reason.value
        for candidate in (response.candidates or ())[:1]:
            self._candidates = True
            if candidate.finish_reason is not None:
                self._reason = candidate.finish_reason.value
                self._blocked = self._reason if self._reason in _FILTERED else self._blocked
            for part in (candidate.content.parts if candidate.content else None) or ():
                yield from self._part(part)

    def end(self) -> Iterator[Json]:
        """The last chunks: held-back text, the finish reason, the usage.

        Raises:
            Filtered, ThoughtsOnly, Empty: there is no answer, and nothing was sent. (An answer that is blocked later
                ends with OpenAI's finish reason `content_filter`.)
            CutStream: the answer is incomplete.

        """
        if not self.complete:
            raise CutStream("Gemini's stream ended without a finish reason.") if self._candidates else self._nothing()
        if not self._cut:
            yield from self._text(self._splicer.flush())
        if not self._raw_chars and not self._calls:
            raise self._nothing()
        finish_reason = self._finish_reason()
        yield from self._start()  # of a continuation that only repeated: the text was whole
        yield self._chunk({}, finish_reason=finish_reason)
        yield {**self._head, "choices": [], "usage": self._usage()}

    def _nothing(self) -> Exception:
        if self._blocked is not None:
            return Filtered(self._blocked)
        if self._reason == "MAX_TOKENS":
            return ThoughtsOnly(self._reason)
        return Empty(self._reason or "no candidates")

    def _finish_reason(self) -> str:
        if self._cut:
            return "length"
        if self._blocked is not None:
            return "content_filter"
        if self._reason not in _FINISHED:
            raise CutStream(f"Gemini broke off its answer: {self._reason}.")
        finished = _FINISHED[self._reason]
        return "tool_calls" if self._calls and finished == "stop" else finished

    def _part(self, part: Part) -> Iterator[Json]:
        if part.thought or self._cut:
            return
        if part.function_call is not None:
            yield from self._call(part.function_call, part.thought_signature)
        elif part.text:
            self._raw_chars += len(part.text)
            yield from self._text(self._splicer.add(part.text))

    def _text(self, text: str) -> Iterator[Json]:
        limit = self._visible_tokens
        if limit is not None and self._answer_tokens > limit and not self._calls:
            # Gemini counts tokens, not which characters they are: its average tells where the limit lies.
            room = self._raw_chars * limit // self._answer_tokens - self._sent_chars
            if room < len(text):
                text, self._cut = text[: max(room, 0)], True
        if text:
            self._sent_chars += len(text)
            yield from self._start()
            yield self._chunk({"content": text})

    def _call(self, call: FunctionCall, signature: bytes | None) -> Iterator[Json]:
        if self._single_tool_call and self._calls:
            return
        yield from self._text(self._splicer.flush())
        delta: Json = {
            "index": self._calls,
            "id": call.id or self._new_call_id(),
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.args or {}, ensure_ascii=False)},
        }
        if signature:
            encoded = base64.b64encode(signature).decode()
            delta["extra_content"] = {"google": {"thought_signature": encoded}}
        self._calls += 1
        yield from self._start()
        yield self._chunk({"tool_calls": [delta]})

    def _start(self) -> Iterator[Json]:
        if not self.started:
            self.started = True
            yield self._chunk({"role": "assistant", "content": ""})

    def _chunk(self, delta: Json, *, finish_reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        # The counts so far, as vLLM tells them on request (`continuous_usage_stats`): an answer may be broken off.
        return {**self._head, "choices": [choice], "usage": self._usage()}

    def _count(self, response: GenerateContentResponse) -> None:
        """Read the counts, which are totals so far; a response without one keeps the last."""
        if (usage := response.usage_metadata) is not None:
            prompt = (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0)
            self._prompt_tokens = prompt or self._prompt_tokens
            self._cached_tokens = usage.cached_content_token_count or self._cached_tokens
            self._answer_tokens = usage.candidates_token_count or self._answer_tokens
            self._thought_tokens = usage.thoughts_token_count or self._thought_tokens

    def _usage(self) -> Json:
        visible = self._answer_tokens
        if self._cut and self._visible_tokens is not None:
            visible = min(visible, self._visible_tokens)
        completion = visible + self._thought_tokens
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self._prompt_tokens + completion,
            "prompt_tokens_details": {"cached_tokens": self._cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self._thought_tokens},
        }
