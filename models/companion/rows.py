"""Examples as token ids, in batches; the tokens of replies, over which the loss is taken, are marked.

The text of an example is made by the same chat template that serves the base model, so that training and serving agree.
Rows are padded on the right, where causal attention never looks, so a batch needs no attention mask. This module
imports nothing else of the project: a machine with a GPU needs only the token files.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPENING, END = "<|im_start|>assistant\n", "<|im_end|>"
SERVED_WITH = Path(__file__).resolve().parents[2] / "configs/templates/smollm2.jinja"
LONGEST = 1536
"""Tokens of an example; longer ones are left out."""


@dataclass
class Rows:
    """Concatenated examples: `ids` and `is_reply` by token; `starts` has the start of each example and the last end."""

    ids: NDArray[np.uint16]
    is_reply: NDArray[np.bool_]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each example."""
        return np.diff(self.starts)

    def save(self, path: Path) -> None:
        """Write a compressed file; if interrupted, the previous file stays."""
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, ids=self.ids, is_reply=np.packbits(self.is_reply), starts=self.starts)
        part.rename(path)


def load_rows(path: Path) -> Rows:
    """Read what `Rows.save` wrote."""
    held = np.load(path)
    return Rows(held["ids"], np.unpackbits(held["is_reply"], count=len(held["ids"])).astype(bool), held["starts"])


def read_tokenizer(checkpoint: Path, **options: Any) -> Any:
    """A checkpoint's tokenizer; the base model's gets the service's template, as its own does not support tools."""
    from transformers import AutoTokenizer  # slow to import, and not always needed

    tokenizer = AutoTokenizer.from_pretrained(checkpoint, **options)
    if OPENING.partition("assistant")[0] in tokenizer.get_vocab():
        tokenizer.chat_template = SERVED_WITH.read_text(encoding="utf-8")
    return tokenizer


def encode(messages: Sequence[Mapping[str, Any]], tools: Any, tokenizer: Any) -> tuple[list[int], list[bool]]:
    """The tokens of an example, and which of them belong to a reply, its end token included."""
    text: str = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    marks = np.zeros(len(text) + 1, dtype=bool)
    at = text.find(OPENING)
    while at >= 0:
        stop = text.index(END, at) + len(END)
        marks[at + len(OPENING) : stop] = True
        at = text.find(OPENING, stop)
    return list(coded["input_ids"]), [bool(marks[start]) and stop > start for start, stop in coded["offset_mapping"]]


def gather(encoded: Iterable[tuple[list[int], list[bool]]], tokens: int) -> Rows:
    """Collect examples until they have about `tokens` tokens."""
    ids: list[int] = []
    replies: list[bool] = []
    starts = [0]
    for some, marks in encoded:
        if len(some) > LONGEST:
            continue
        ids += some
        replies += marks
        starts.append(len(ids))
        if len(ids) >= tokens:
            break
    return Rows(np.array(ids, dtype=np.uint16), np.array(replies, dtype=bool), np.array(starts, dtype=np.int64))


def joined(pieces: Sequence[Rows]) -> Rows:
    """Concatenate several."""
    ends = np.cumsum([0, *(len(each.ids) for each in pieces)])
    starts = [each.starts[:-1] + end for each, end in zip(pieces, ends, strict=False)]
    ids, marks = [each.ids for each in pieces], [each.is_reply for each in pieces]
    return Rows(np.concatenate(ids), np.concatenate(marks), np.concatenate([*starts, ends[-1:]]))


def batches(rows: Rows, tokens: int, seed: str, *, longest: int = LONGEST) -> list[list[int]]:
    """Batches of about `tokens` tokens, padding included, with each example once; similar lengths are together."""
    rng = random.Random(seed)
    lengths = rows.lengths()
    order = [each for each in rng.sample(range(len(rows)), len(rows)) if lengths[each] <= longest]
    made: list[list[int]] = []
    for chunk in range(0, len(order), 2048):
        batch: list[int] = []
        for each in sorted(order[chunk : chunk + 2048], key=lambda one: int(lengths[one])):
            if batch and (len(batch) + 1) * int(lengths[each]) > tokens:
                made.append(batch)
                batch = []
            batch.append(each)
        made.append(batch)
    rng.shuffle(made)
    return made


def padded(rows: Rows, batch: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A batch's ids and marks, each (examples, longest), padded on the right with 0."""
    width = int(rows.lengths()[list(batch)].max())
    ids = np.zeros((len(batch), width), dtype=np.int64)
    marks = np.zeros((len(batch), width), dtype=bool)
    for row, each in enumerate(batch):
        start, stop = rows.starts[each], rows.starts[each + 1]
        ids[row, : stop - start] = rows.ids[start:stop]
        marks[row, : stop - start] = rows.is_reply[start:stop]
    return ids, marks


def steps(rows: Rows, tokens: int, epochs: int, seed: int) -> Iterator[list[int]]:
    """All batches of all epochs, in an order that depends only on the seed."""
    for epoch in range(epochs):
        yield from batches(rows, tokens, f"{seed}-{epoch}")
