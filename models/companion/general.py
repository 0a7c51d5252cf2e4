"""General questions with answers in the base model's own words: mixed in, so that training unlearns nothing.

`data/base_answers.jsonl` holds what the base said to the questions of `data/general.txt` (`--ask BASE` asks those that
are missing). An answer to a question with an accepted answer counts only if it holds it; all are cut to their first
sentences.
"""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.companion.topics import DATA, Part, is_held_out

ANSWERS = DATA / "base_answers.jsonl"
LONGEST_WORDS = 70
SHORTER = " Answer in one or two sentences."
"""Said to the base, so that its own answer is short; training leaves it away."""


def questions() -> Iterator[tuple[str, list[str]]]:
    """The questions of `general.txt` with their accepted answers, if they have any."""
    templates: list[str] = []
    for raw in (DATA / "general.txt").read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if line.startswith("* "):
            templates = line[2:].split(" / ")[:2]
        elif line.startswith(", "):
            for value in line[2:].split(", "):
                yield from ((template.replace("{x}", value), []) for template in templates)
        elif line and not line.startswith("#"):
            question, _, accepted = line.partition(" | ")
            yield question, accepted.split(" / ")


def holds(answer: str, accepted: list[str]) -> bool:
    """Whether an answer holds one of the accepted ones as whole words."""
    return any(re.search(rf"(?<!\w){re.escape(each)}(?!\w)", answer, re.IGNORECASE) for each in accepted)


def shortened(answer: str, accepted: list[str]) -> str | None:
    """The first sentences of an answer, up to some length; None where there is nothing whole or right to keep."""
    paragraph = answer.strip().split("\n\n")[0].strip()
    if "\n" in paragraph or re.search(r"\b\d\. |\*\*|^- ", paragraph):
        return None
    whole = re.findall(r"[^.!?]+[.!?]+[\"')]*(?:\s|$)", paragraph)
    kept: list[str] = []
    for sentence in whole[: 1 if accepted else 3]:
        if len(" ".join([*kept, sentence]).split()) > LONGEST_WORDS:
            break
        kept.append(sentence.strip())
    text = " ".join(kept)
    if not len(text.split()) >= 3 or (accepted and not holds(text, accepted)):
        return None
    if re.search(r"\b(SmolLM|Hugging Face|language model|as an AI)\b", text, re.IGNORECASE):
        return None
    return text


def pairs(part: Part) -> list[tuple[str, str]]:
    """Questions and answers of a part; raises ValueError where an evaluation's question is among them."""
    easy = {line.partition(" | ")[0].casefold() for line in (DATA / "easy_questions.txt").read_text().splitlines()}
    found: list[tuple[str, str]] = []
    known_questions = {question for question, _ in questions()}
    for line in ANSWERS.read_text(encoding="utf-8").splitlines():
        each = json.loads(line)
        if each["question"].casefold() in easy:
            raise ValueError(f"a question of the evaluation is in the corpus: {each['question']}")
        answer = shortened(each["answer"], each["accepted"]) if each["question"] in known_questions else None
        if answer is not None and is_held_out(each["question"]) == (part == "held_out"):
            found.append((each["question"], answer))
    return found


def ask(base: Path) -> None:
    """Let the base answer what it has not answered yet, and append that."""
    from models.companion.generate import Subject, device_here, run  # torch, for this only

    there = {json.loads(line)["question"] for line in ANSWERS.read_text(encoding="utf-8").splitlines()}
    left = [(question, accepted) for question, accepted in questions() if question not in there]
    prompts: list[dict[str, Any]] = [
        {
            "id": question,
            "max_tokens": 100,
            "messages": [{"role": "user", "content": question + SHORTER * (not accepted)}],
        }
        for question, accepted in left
    ]
    results = run(Subject(base, None, device_here()), prompts)
    with ANSWERS.open("a", encoding="utf-8") as out:
        for (question, accepted), result in zip(left, results, strict=True):
            kept = {"question": question, "accepted": accepted, "answer": result["texts"][0]}
            out.write(json.dumps(kept, ensure_ascii=False) + "\n")


def main() -> None:
    """Ask the base again, or show what is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ask", type=Path, metavar="BASE", help="folder of the base's checkpoint")
    options = parser.parse_args()
    if options.ask:
        ask(options.ask)
    for part in ("train", "held_out"):
        kept = pairs(part)
        print(f"{part}: {len(kept)} answers, such as {kept[:3]}")


if __name__ == "__main__":
    main()
