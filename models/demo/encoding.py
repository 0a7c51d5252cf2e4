"""Converts dialogues to rows of tokens: ids, loss weights, and the positions of copied words.

It uses the tokenizer's own chat template, so that training and serving have the same format.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.demo.corpus import Dialogue
from models.demo.tokenizer import ASSISTANT, END

USER_WEIGHT = 0.1
"""Loss weight of all tokens that are not the assistant's."""


POOL = 24
"""Dialogues to choose from while packing."""


@dataclass
class Encoded:
    """One dialogue: token ids, and per token its loss weight and the number of the copied span (0: none)."""

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]
    spans: NDArray[np.int64]


def encode(dialogue: Dialogue, tokenizer: Any) -> Encoded:
    """Render and tokenise a dialogue."""
    text = tokenizer.apply_chat_template(dialogue.messages, tools=dialogue.tools, tokenize=False)
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=bool(dialogue.copied))
    ids = np.array(coded["input_ids"])
    weights = np.full(len(ids), USER_WEIGHT, dtype=np.float32)
    assistant, end = tokenizer.convert_tokens_to_ids([ASSISTANT, END])
    ends = np.flatnonzero(ids == end)
    for start in np.flatnonzero(ids == assistant):
        weights[start + 1 : ends[np.searchsorted(ends, start)] + 1] = 1.0
    spans = np.zeros(len(ids), dtype=np.int64)
    if dialogue.copied:
        for number, (start, stop) in enumerate(copied_spans(dialogue, text), 1):
            inside = [a < stop and b > start for a, b in coded["offset_mapping"]]
            spans[np.array(inside)] = number
    return Encoded(ids, weights, spans)


def copied_spans(dialogue: Dialogue, text: str) -> Iterator[tuple[int, int]]:
    """Yield the (start, stop) characters in the rendered text of every proper noun that a reply reuses."""
    starts, at = [], 0
    for message in dialogue.messages:
        at = text.index(message["content"], at)
        starts.append(at)
        at += len(message["content"])
    for index, value in dialogue.copied:
        start = text.index(value, starts[index])
        yield start, start + len(value)


@dataclass
class Rows:
    """Packed dialogues, each array (rows, length)."""

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]
    spans: NDArray[np.int64]


def pack(encoded: Iterator[Encoded], rows: int, length: int, pad: int) -> Rows:
    """Fill `rows` rows of `length` tokens with whole dialogues, the largest that fits first."""
    packed = Rows(
        np.full((rows, length), pad, dtype=np.int64),
        np.zeros((rows, length), dtype=np.float32),
        np.zeros((rows, length), dtype=np.int64),
    )
    pool: list[Encoded] = []
    for row in range(rows):
        at, number = 0, 0
        while True:
            while len(pool) < POOL:
                pool.append(next(encoded))
            fitting = [index for index, each in enumerate(pool) if len(each.ids) <= length - at]
            if not fitting:
                break
            # The first one is taken without regard to its size, so that long and short dialogues keep their shares.
            best = pool.pop(fitting[0] if at == 0 else max(fitting, key=lambda index: len(pool[index].ids)))
            stop = at + len(best.ids)
            packed.ids[row, at:stop] = best.ids
            packed.weights[row, at:stop] = best.weights
            packed.spans[row, at:stop] = np.where(best.spans > 0, best.spans + number, 0)
            at, number = stop, number + int(best.spans.max(initial=0))
        pool = [each for each in pool if len(each.ids) <= length]
    return packed
