"""Answers to questions that mean the same: which chats may have one, and which kept question is near enough.

A question is compared only within its scope: same owner, model and body but for the question itself (so also the same
system prompt), and same pivots (`memory.contrast_terms`). A scope is a row of records of one size, the newest first:
the digest under which the answer is kept, the order of the question's words, and its embedding as float32 of unit
length. Only a conversation's first question is compared: what follows an answer belongs to it, and would never hit.
It does not know where rows are kept, nor who embeds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy

from memory.contrast_terms import ORDER_BYTES, is_reordered, word_order
from serving.cache.key import DIGEST_BYTES, INDIFFERENT
from serving.cache.personal import is_personal
from serving.errors import ApiError
from serving.protocol.request import CHAT, GenerationRequest

MAX_CHARACTERS = 400  # of a question; the embedder's window is longer
_HEAD_BYTES = DIGEST_BYTES + ORDER_BYTES
_PLAIN = (
    INDIFFERENT
    | {  # of any other field it is not known that similar questions may share an answer: tools, formats
        "frequency_penalty",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "min_p",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "stop",
        "stream_options",
        "temperature",
        "top_k",
        "top_p",
    }
)


def question_of(call: GenerationRequest, *, even_personal: bool) -> str | None:
    """The question that `call` asks, if another's answer may do for it; None otherwise."""
    messages = call.parsed.get("messages")
    if call.path != CHAT or not call.parsed.keys() <= _PLAIN or not isinstance(messages, list) or not messages:
        return None
    *before, last = messages
    if not _is_text(last, "user") or not all(_is_text(message, "system", "developer") for message in before):
        return None
    text = str(last["content"])
    if not 0 < len(text) <= MAX_CHARACTERS or (is_personal(text) and not even_personal):
        return None
    return text


def without_question(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """The body but for the text of its last message."""
    *before, last = parsed["messages"]
    return {**parsed, "messages": [*before, {**last, "content": None}]}


def _is_text(message: Any, *roles: str) -> bool:
    return (
        isinstance(message, dict)
        and message.keys() <= {"role", "content", "name"}
        and message.get("role") in roles
        and isinstance(message.get("content"), str)
    )


@dataclass(frozen=True, slots=True)
class ComparedQuestion:
    """A question as it is compared."""

    order: bytes
    vector: bytes

    def record(self, digest: bytes) -> bytes:
        """What a row has of it; `digest` is its answer's."""
        return digest + self.order + self.vector


class SemanticCache:
    """Compares questions.

    Args:
        embed: texts to float32 rows of unit length, and a number of tokens; raises ApiError.
        embedder: names the embedder's model: another one's vectors cannot be compared.
        dimensions: of a vector.
        threshold: the least cosine of two questions that are taken for one.
        timeout_s: for an embedding.
        most: questions in a row.

    """

    def __init__(
        self,
        embed: Callable[[list[str]], Awaitable[tuple[bytes, int]]],
        *,
        embedder: str,
        dimensions: int,
        threshold: float,
        timeout_s: float,
        most: int,
    ) -> None:
        self.embedder = embedder
        self._embed = embed
        self._vector_bytes = 4 * dimensions
        self._threshold = threshold
        self._timeout_s = timeout_s
        self.row_bytes = most * (_HEAD_BYTES + self._vector_bytes)

    async def read(self, text: str) -> ComparedQuestion | None:
        """Embed it; None when the embedder does not answer in time, or cannot."""
        try:
            async with asyncio.timeout(self._timeout_s):
                vector, _ = await self._embed([text])
        except (ApiError, TimeoutError):
            return None
        return ComparedQuestion(word_order(text), vector) if len(vector) == self._vector_bytes else None

    def nearest(self, row: bytes, asked: ComparedQuestion) -> bytes | None:
        """The digest of the kept question that is taken for the same; None when there is none."""
        layout = numpy.dtype(
            [("digest", "V", DIGEST_BYTES), ("order", "V", ORDER_BYTES), ("vector", "<f4", self._vector_bytes // 4)]
        )
        kept = numpy.frombuffer(row, layout, count=len(row) // layout.itemsize)
        cosines = kept["vector"] @ numpy.frombuffer(asked.vector, "<f4")
        for index in numpy.argsort(-cosines, kind="stable"):
            if cosines[index] < self._threshold:
                break
            if not is_reordered(kept["order"][index].tobytes(), asked.order):
                return bytes(kept["digest"][index].tobytes())
        return None
