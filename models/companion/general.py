"""General questions with the base model's own answers, mixed into the corpus so that training keeps its knowledge.

`data/base_answers.jsonl` has the base model's answers to the questions of `data/general.txt`; `--ask BASE` generates
missing ones. If a question has accepted answers, the base model's answer is used only if it contains one of them. All
answers are truncated to their first sentences.
"""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.companion.topics import DATA, Part, folder_of, is_held_out

ANSWERS = DATA / "base_answers.jsonl"
MAX_WORDS = 70
SHORTER = " Answer in one or two sentences."
"""Added to the question for a short answer; not in the training examples."""


def questions() -> Iterator[tuple[str, list[str]]]:
    """Yield the questions of `general.txt` with their accepted answers, if any."""
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


def easy_questions(part: Part = "held_out") -> list[tuple[str, list[str]]]:
    """The evaluation's easy questions with their accepted answers, which no corpus has."""
    lines = (folder_of(part) / "easy_questions.txt").read_text(encoding="utf-8").splitlines()
    split = [line.split(" | ") for line in lines if line and not line.startswith("#")]
    return [(question, accepted.split(" / ")) for question, accepted in split]


def holds(answer: str, accepted: list[str]) -> bool:
    """Whether an answer contains one of the accepted answers as whole words."""
    return any(re.search(rf"(?<!\w){re.escape(each)}(?!\w)", answer, re.IGNORECASE) for each in accepted)


def shortened(answer: str, accepted: list[str]) -> str | None:
    """The first sentences of an answer, at most MAX_WORDS; None if nothing usable is left."""
    paragraph = answer.strip().split("\n\n")[0].strip()
    if "\n" in paragraph or re.search(r"\b\d\. |\*\*|^- ", paragraph):
        return None
    sentences = re.findall(r"[^.!?]+[.!?]+[\"')]*(?:\s|$)", paragraph)
    kept: list[str] = []
    for sentence in sentences[: 1 if accepted else 3]:
        if len(" ".join([*kept, sentence]).split()) > MAX_WORDS:
            break
        kept.append(sentence.strip())
    text = " ".join(kept)
    if not len(text.split()) >= 3 or (accepted and not holds(text, accepted)):
        return None
    if re.search(r"\b(SmolLM|Hugging Face|language model|as an AI)\b", text, re.IGNORECASE):
        return None
    return text


def pairs(part: Part) -> list[tuple[str, str]]:
    """Questions and answers of a part; raises ValueError if one is a question of the evaluation.

    The unseen part has no answers of the base: its questions come with what is accepted, and are only asked.
    """
    if part == "unseen":
        return [(question, accepted[0]) for question, accepted in easy_questions(part)]
    easy = {question.casefold() for question, _ in easy_questions()}
    examples: list[tuple[str, str]] = []
    known_questions = {question for question, _ in questions()}
    for line in ANSWERS.read_text(encoding="utf-8").splitlines():
        each = json.loads(line)
        if each["question"].casefold() in easy:
            raise ValueError(f"a question of the evaluation is in the corpus: {each['question']}")
        answer = shortened(each["answer"], each["accepted"]) if each["question"] in known_questions else None
        if answer is not None and is_held_out(each["question"]) == (part != "train"):
            examples.append((each["question"], answer))
    return examples


def ask(base: Path) -> None:
    """Generate the missing answers with the base model, and append them."""
    from models.companion.generate import Subject, device_here, run  # imports torch, needed only here

    answered = {json.loads(line)["question"] for line in ANSWERS.read_text(encoding="utf-8").splitlines()}
    missing = [(question, accepted) for question, accepted in questions() if question not in answered]
    prompts: list[dict[str, Any]] = [
        {
            "id": question,
            "max_tokens": 100,
            "messages": [{"role": "user", "content": question + SHORTER * (not accepted)}],
        }
        for question, accepted in missing
    ]
    results = run(Subject(base, None, device_here()), prompts)
    with ANSWERS.open("a", encoding="utf-8") as out:
        for (question, accepted), result in zip(missing, results, strict=True):
            kept = {"question": question, "accepted": accepted, "answer": result["texts"][0]}
            out.write(json.dumps(kept, ensure_ascii=False) + "\n")


def main() -> None:
    """Generate missing answers, or show some examples."""
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
