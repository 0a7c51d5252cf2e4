"""Measure the companion beside its base and the demonstration model, and write figures.json.

    python -m models.companion.evaluate --base BASE                 # ask all three, and score
    python -m models.companion.evaluate --prompts-to prompts.jsonl  # only write what is asked
    python -m models.companion.evaluate --score-only --results DIR  # DIR/{base,companion,demo}.jsonl are there

Everything is asked greedily and from the held-out part; `models.companion.scores` says what counts as right. The
asking may be done elsewhere, as on a GPU (`models.companion.generate`).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from models.companion.prompts import COUNTS, Prompt, all_prompts
from models.companion.scores import figures_of, talks_of

HERE = Path(__file__).parent
DEMO = HERE.parent / "demo" / "checkpoint"
FIGURES = HERE / "figures.json"


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def ask(prompts: Path, results: Path, base: Path, adapter: Path) -> None:
    """Let each of the three answer, in a process of its own; what is there already stays."""
    subjects = {
        "base": ["--base", str(base)],
        "companion": ["--base", str(base), "--adapter", str(adapter)],
        "demo": ["--base", str(DEMO)],
    }
    for name, which in subjects.items():
        out = results / f"{name}.jsonl"
        if not out.exists():
            print(f"asking {name}", flush=True)
            command = [sys.executable, "-m", "models.companion.generate", *which, "--prompts", str(prompts)]
            subprocess.run([*command, "--out", str(out)], check=True)


def score(prompts: list[Prompt], results: Path) -> dict[str, Any]:
    """The figures of all that were asked, and the companion's dialogues as they were."""
    figures: dict[str, Any] = {"counts": COUNTS}
    for name in ("base", "companion", "demo"):
        path = results / f"{name}.jsonl"
        if path.exists():
            answers = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            figures[name] = figures_of(prompts, answers)
            if name == "companion":
                figures["dialogues"] = talks_of(prompts, answers)
    return figures


def main() -> None:
    """Evaluate as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=Path("var/models/smollm2-135m-instruct"))
    parser.add_argument("--adapter", type=Path, default=HERE / "adapter")
    parser.add_argument("--results", type=Path, default=HERE / "runs/results")
    parser.add_argument("--out", type=Path, default=FIGURES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompts-to", type=Path)
    parser.add_argument("--score-only", action="store_true")
    options = parser.parse_args()
    prompts = all_prompts(options.seed)
    if options.prompts_to:
        write_lines(options.prompts_to, prompts)
        return
    asked = options.results / "prompts.jsonl"
    write_lines(asked, prompts)
    if not options.score_only:
        ask(asked, options.results, options.base, options.adapter)
    text = json.dumps(score(prompts, options.results), indent=1, ensure_ascii=False)
    options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
