"""The semantic cache: which chats are eligible, and which stored question is similar enough.

A question is only compared within its scope: same owner, model, body except the question itself (so the same system
prompt), and contrast terms (`memory.contrast_terms`). A scope is a row of fixed-size records, newest first: the digest
under which the response is stored, the order of the question's words, and its embedding as unit-length float32. Only a
conversation's first question is compared: later ones depend on the answers before them and would never hit. This module
does not know where rows are stored or how texts are embedded.
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

MAX_CHARACTERS = 400  # of a question; the embedder's context is longer
_HEAD_BYTES = DIGEST_BYTES + ORDER_BYTES
_PLAIN = INDIFFERENT | {  # with any other field (such as tools or formats) similar questions may need different answers
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


def question_of(request: GenerationRequest, *, even_personal: bool) -> str | None:
    """The question of a request that is eligible for the semantic cache; None for any other."""
    messages = request.parsed.get("messages")
    if request.path != CHAT or not request.parsed.keys() <= _PLAIN or not isinstance(messages, list) or not messages:
        return None
    *before, last = messages
    if not _is_text(last, "user") or not all(_is_text(message, "system", "developer") for message in before):
        return None
    text = str(last["content"])
    if not 0 < len(text) <= MAX_CHARACTERS or (is_personal(text) and not even_personal):
        return None
    return text


def without_question(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """The body without the text of its last message."""
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
    """A question's word order and embedding."""

    order: bytes
    vector: bytes

    def record(self, digest: bytes) -> bytes:
        """Its record for a row; `digest` is the key of its response."""
        return digest + self.order + self.vector


class SemanticCache:
    """Compares questions.

    Args:
        embed: converts texts to unit-length float32 rows and a number of tokens; raises ApiError.
        embedder: name of the embedder's model; vectors of different models cannot be compared.
        dimensions: dimensions of a vector.
        threshold: minimum cosine similarity for a hit.
        timeout_s: timeout of an embedding.
        max_questions: maximum questions in a row.

    """

    def __init__(
        self,
        embed: Callable[[list[str]], Awaitable[tuple[bytes, int]]],
        *,
        embedder: str,
        dimensions: int,
        threshold: float,
        timeout_s: float,
        max_questions: int,
    ) -> None:
        self.embedder = embedder
        self._embed = embed
        self._vector_bytes = 4 * dimensions
        self._threshold = threshold
        self._timeout_s = timeout_s
        self.row_bytes = max_questions * (_HEAD_BYTES + self._vector_bytes)

    async def read(self, text: str) -> ComparedQuestion | None:
        """Embed a question; None if the embedder fails or times out."""
        try:
            async with asyncio.timeout(self._timeout_s):
                vector, _ = await self._embed([text])
        except (ApiError, TimeoutError):
            return None
        return ComparedQuestion(word_order(text), vector) if len(vector) == self._vector_bytes else None

    def nearest(self, row: bytes, question: ComparedQuestion) -> bytes | None:
        """The digest of the most similar stored question above the threshold; None if there is none."""
        layout = numpy.dtype(
            [("digest", "V", DIGEST_BYTES), ("order", "V", ORDER_BYTES), ("vector", "<f4", self._vector_bytes // 4)]
        )
        kept = numpy.frombuffer(row, layout, count=len(row) // layout.itemsize)
        cosines = kept["vector"] @ numpy.frombuffer(question.vector, "<f4")
        for index in numpy.argsort(-cosines, kind="stable"):
            if cosines[index] < self._threshold:
                break
            if not is_reordered(kept["order"][index].tobytes(), question.order):
                return bytes(kept["digest"][index].tobytes())
        return None
