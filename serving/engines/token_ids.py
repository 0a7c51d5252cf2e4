"""Refuses token ids of another tokenizer in an embeddings request.

LangChain's `OpenAIEmbeddings` sends ids of OpenAI's tokenizer by default. Most of them are also valid for the model's
tokenizer, but for other words, so the vector would be wrong without an error. The output of the model's own tokenizer
is recognised by its special tokens at the beginning and the end (such as `[CLS]` and `[SEP]`).
"""

from collections.abc import Sequence

REMEDY = (
    "send texts instead (LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False)), or the ids of this model's "
    "own tokenizer, with its special tokens"
)


def problem_of(ids: Sequence[int], frame: Sequence[int], size: int) -> str | None:
    """Why the ids are not the model's own; None if they are.

    Args:
        ids: the token ids.
        frame: the ids of an empty text: the special tokens before and after every text.
        size: of the tokenizer's vocabulary.

    """
    if any(token >= size for token in ids):
        return f"has a token id outside 0..{size - 1}: {REMEDY}"
    if not frame:
        return f"has token ids, and their tokenizer is unknown: {REMEDY}"
    is_framed = ids[0] == frame[0] and ids[-1] == frame[-1]
    if len(frame) == 1:  # it stands before the text or after it
        is_framed = frame[0] in (ids[0], ids[-1])
    if is_framed and len(ids) >= len(frame):
        return None
    return f"has token ids of another tokenizer (an empty text of this model's has {list(frame)}): {REMEDY}"
