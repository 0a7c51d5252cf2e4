"""Draws a random subset of an evaluation's prompts, for models that run on a slow machine.

    python -m models.companion.subset --prompts prompts.jsonl --out subset.jsonl

The same prompts and seed give the same subset. Scores on a subset are only compared with scores on the same subset.
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
"""Number of prompts of each task; a share in whole percent needs a hundred easy questions."""


def subset(
    prompts: Sequence[Mapping[str, Any]], seed: int = SEED, sizes: Mapping[str, int] = SIZES
) -> list[Mapping[str, Any]]:
    """The subset, in the prompts' order; of a task with fewer prompts than its size, all."""
    chosen: set[int] = set()
    for task, size in sizes.items():
        numbers = [each["id"] for each in prompts if each["task"] == task]
        chosen.update(random.Random(f"{task}-{seed}").sample(numbers, min(size, len(numbers))))
    return [each for each in prompts if each["id"] in chosen]


def main() -> None:
    """Write the subset as the command line says."""
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
