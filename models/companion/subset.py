"""A seeded part of an evaluation's prompts, for a model that a slow machine asks: so many of each task, not by hand.

    python -m models.companion.subset --prompts prompts.jsonl --out subset.jsonl

Same prompts and seed, same part. Scores of a part stand beside the other models' scores on that part only.
"""

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SEED = 11
SIZES = {"easy": 100, "easy_persona": 20, "reply": 40, "recall": 40, "unknown": 40, "route": 40, "call": 8}
SIZES |= {"fields": 12, "memories": 6, "summary": 6, "title": 6, "dialogue": 3}
"""Of each task; a hundred easy questions is what a share to the percent needs."""


def subset(
    prompts: Sequence[Mapping[str, Any]], seed: int = SEED, sizes: Mapping[str, int] = SIZES
) -> list[Mapping[str, Any]]:
    """The part, in the prompts' order; a task with fewer prompts than its size is taken whole."""
    chosen: set[int] = set()
    for task, size in sizes.items():
        numbers = [each["id"] for each in prompts if each["task"] == task]
        chosen.update(random.Random(f"{task}-{seed}").sample(numbers, min(size, len(numbers))))
    return [each for each in prompts if each["id"] in chosen]


def main() -> None:
    """Write the part as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    prompts = [json.loads(line) for line in options.prompts.read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps(each, ensure_ascii=False) for each in subset(prompts, options.seed)]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
