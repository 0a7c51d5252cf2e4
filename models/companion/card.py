"""Writes the tables and dialogues of the model card from figures.json, so that no figure is typed by hand.

    python -m models.companion.card

It replaces the text between the card's markers, and leaves the rest unchanged.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CARD, FIGURES = HERE / "README.md", HERE / "figures.json"
SHARES = {
    "copied": "copy accuracy: the answer holds the value that was given",
    "invented": "invention rate (lower is better)",
    "repetition": "repetition in dialogues (lower is better)",
    "easy_questions": "easy general questions, asked alone",
    "easy_questions_under_persona": "easy general questions, under the persona",
    "route": "route accuracy, as exact JSON",
    "call": "tool called right, or none where none is of use",
    "fields": "fields extracted right, all of a message's",
    "valid_json": "valid JSON without a grammar",
    "summary_two_sentences": "summary has two sentences",
    "title_at_most_six_words": "title has at most six words",
}
LABELS = (
    "held-out perplexity, by the model's own tokens",
    "held-out bits per byte",
    *SHARES.values(),
    "memories extracted: precision",
    "memories extracted: recall",
    "for comparison: routes drawn blindly",
)
COLUMNS = (
    ("same_prompts", "base", "base"),
    ("same_prompts", "companion", "companion"),
    ("same_prompts", "demo", "demo model"),
    ("all_answered", "companion", "companion, all prompts"),
)

Figures = Mapping[str, Any]


def percent(part: int, whole: int) -> str:
    """A share with its counts; "none" if there is nothing to count."""
    return f"{100 * part / whole:.0f} % ({part}/{whole})" if whole else "none"


def cells(model: Figures | None) -> list[str]:
    """The cells of a model's column, from top to bottom."""
    if model is None:
        return ["not asked"] * (len(SHARES) + 5)
    held, memories = model["held_out"], model["memories"]
    texts = [
        f"{held['perplexity']} ({held['replies']} replies)" if held["replies"] else "none",
        f"{held['bits_per_byte']}" if held["replies"] else "none",
    ]
    texts += [percent(model[name]["right"], model[name]["of"]) for name in SHARES]
    texts += [percent(memories["right"], memories["made"]), percent(memories["right"], memories["wanted"])]
    guess = model["route_by_guessing"]
    return [*texts, "none" if guess is None else f"{100 * guess:.0f} %"]


def table(figures: Figures) -> str:
    """The table of all figures, before and after training."""
    columns = [cells(figures[part].get(name)) for part, name, _ in COLUMNS]
    lines = ["| | " + " | ".join(title for *_, title in COLUMNS) + " |", "| --- " * (len(COLUMNS) + 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in zip(LABELS, *columns, strict=True)]
    change = figures["easy_questions_changed"]
    lines += [
        "",
        f"Of the easy questions asked alone of both, the companion answers {change['lost']} wrong that the base",
    ]
    lines += [f"answers right, and {change['won']} right that the base answers wrong."]
    return "\n".join(lines)


def unseen(figures: Figures) -> str:
    """The table of the figures on topics and templates that no corpus has, beside those on the held-out part."""
    found = figures["unseen"]
    models = {name: found.get(name) for name in ("base", "companion", "demo")}
    if found["not_answered"]:
        models["companion, all that it answered"] = found["all_answered"]["companion"]
    models["companion, held-out part"] = figures["all_answered"]["companion"]
    columns = [cells(each) for each in models.values()]
    lines = ["| | " + " | ".join(models) + " |", "| --- " * (len(models) + 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in zip(LABELS, *columns, strict=True)]
    copied, denied = found["companion"]["copied"], found["companion"]["denied"]
    change = found["easy_questions_changed"]
    asked, left = sum(found["prompts"].values()), found["not_answered"]
    lines += [
        "",
        f"The first three columns are the {asked} of the {asked + left} prompts of this set that all three answered.",
        f"Of the companion's {copied['of'] - copied['right']} answers there without the given value, {denied} say",
        f"that it does not know. Of the easy questions asked alone it answers {change['lost']} wrong that the base",
        f"answers right, and {change['won']} right that the base answers wrong.",
    ]
    return "\n".join(lines)


def training(figures: Figures) -> str:
    """The table of the training run."""
    run = figures["training"]
    options, (before, *_, after) = run["options"], run["held_out"]
    rows = {
        "hardware": f"one {run['device']}, torch {run['versions']['torch']}",
        "time": f"{run['seconds']} s, as `--budget-s {options['budget_s']:.0f}` allowed",
        "read": f"{run['tokens']:,} tokens in {run['steps']} steps, seed {options['seed']}",
        "adapter": f"rank {options['rank']}, alpha {options['alpha']}, {run['adapter_parameters']:,} parameters",
        "learning rate": f"{options['lr']} at its peak, half a cosine to zero",
        "held-out perplexity": f"{before['perplexity']:.2f} before, {after['perplexity']:.2f} after",
    }
    return "| | |\n| --- | --- |\n" + "\n".join(f"| {name} | {text} |" for name, text in rows.items())


def dialogues(figures: Figures) -> str:
    """All dialogues, unedited, with their system prompts."""
    speakers = {"system": "prompt", "user": "you", "assistant": "companion"}
    texts = []
    for number, talk in enumerate(figures["dialogues"], 1):
        lines = []
        for message in talk:
            first, *rest = message["content"].splitlines() or [""]
            lines += [f"    {speakers[message['role']]:>9}: {first}", *(f"{' ' * 15}{line}" for line in rest)]
        texts.append(f"{number}.\n\n" + "\n".join(line.rstrip() for line in lines))
    return "\n\n".join(texts)


def filled(card: str, figures: Figures) -> str:
    """The card with tables and dialogues from `figures`; raises ValueError if a marker is missing."""
    parts = {"training": training(figures), "table": table(figures), "dialogues": dialogues(figures)}
    if figures.get("unseen"):
        parts["unseen"] = unseen(figures)
    for name, text in parts.items():
        between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.DOTALL)
        if not between.search(card):
            raise ValueError(f"the card has no markers for its {name}")
        card = between.sub(lambda _, text=text: f"\n{text}\n\n", card)  # type: ignore[misc]
    return card


if __name__ == "__main__":
    CARD.write_text(
        filled(CARD.read_text(encoding="utf-8"), json.loads(FIGURES.read_text(encoding="utf-8"))), encoding="utf-8"
    )
