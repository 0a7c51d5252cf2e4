"""The rules that decide which answers of an evaluation are right, the same for each model.

It does not know models; answers come from `models.companion.generate`.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models.companion.general import holds

NOT_KNOWN = re.compile(
    r"\b(don't know|do not know|don't have|do not have|don't remember|haven't|have not|not sure|no idea|unsure|"
    r"can't know|cannot know|can't recall|unless you tell|didn't tell|never told|not know|what is it\?|tell me)",
    re.IGNORECASE,
)
"""An answer to a question about an unknown fact must contain one of these; otherwise it counts as an invention."""
SAME_SENTENCE_WORDS = 4

Answers = Sequence[Mapping[str, Any]]


def share(right: Iterable[bool]) -> dict[str, Any]:
    """The number and the share of right ones."""
    each = list(right)
    return {"right": sum(each), "of": len(each), "share": round(sum(each) / len(each), 3) if each else None}


def figures_of(prompts: Sequence[Mapping[str, Any]], answers: Answers) -> dict[str, Any]:
    """All figures of one model; the share of a task without prompts is None."""
    by_task: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for prompt, answer in zip(prompts, answers, strict=True):
        by_task.setdefault(prompt["task"], []).append((prompt, answer))

    def texts(task: str) -> list[tuple[Mapping[str, Any], str]]:
        return [(prompt["expect"], answer["texts"][0]) for prompt, answer in by_task.get(task, ())]

    return {
        "held_out": held_out(by_task.get("reply", ())),
        "copied": share(expect["holds"].lower() in text.lower() for expect, text in texts("recall")),
        "invented": share(not NOT_KNOWN.search(text.replace("\u2019", "'")) for _, text in texts("unknown")),
        "repetition": repetition([answer["texts"] for _, answer in by_task.get("dialogue", ())]),
        "easy_questions": share(holds(text, expect["accepted"]) for expect, text in texts("easy")),
        "easy_questions_under_persona": share(holds(t, expect["accepted"]) for expect, t in texts("easy_persona")),
        "route": share(parsed(text) == {expect["key"]: expect["route"]} for expect, text in texts("route")),
        "route_by_guessing": guessing([expect["routes"] for expect, _ in texts("route")]),
        "call": share(called_right(text, expect) for expect, text in texts("call")),
        "fields": share(parsed(text) == expect["fields"] for expect, text in texts("fields")),
        "valid_json": share(
            parsed(text) is not None for task in ("route", "fields", "memories") for _, text in texts(task)
        ),
        "memories": memories(texts("memories")),
        "summary_two_sentences": share(len(re.findall(r"[.!?](?:\s|$)", text)) == 2 for _, text in texts("summary")),
        "title_at_most_six_words": share(0 < len(text.split()) <= 6 and "\n" not in text for _, text in texts("title")),
    }


def guessing(choices: Sequence[Sequence[str]]) -> float | None:
    """The expected share of right routes if they are chosen at random."""
    return round(sum(1 / len(each) for each in choices) / len(choices), 3) if choices else None


def changed(prompts: Sequence[Mapping[str, Any]], before: Answers, after: Answers) -> dict[str, int]:
    """The number of easy questions whose answer changed from right to wrong (lost), and from wrong to right (won)."""
    counts = {"lost": 0, "won": 0}
    for prompt, old, new in zip(prompts, before, after, strict=True):
        if prompt["task"] == "easy":
            was, now = (holds(each["texts"][0], prompt["expect"]["accepted"]) for each in (old, new))
            counts["lost"] += was and not now
            counts["won"] += now and not was
    return counts


def denied(prompts: Sequence[Mapping[str, Any]], answers: Answers) -> int:
    """The number of wrong answers to a question about a given value that say that it is not known."""
    pairs = [
        (each, answer["texts"][0]) for each, answer in zip(prompts, answers, strict=True) if each["task"] == "recall"
    ]
    wrong = [text for prompt, text in pairs if prompt["expect"]["holds"].lower() not in text.lower()]
    return sum(bool(NOT_KNOWN.search(text.replace("\u2019", "'"))) for text in wrong)


def held_out(replies: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any]:
    """Perplexity per token, and bits per byte, which are comparable between models with different vocabularies."""
    loss = sum(answer["loss"] for _, answer in replies)
    tokens = sum(answer["tokens"] for _, answer in replies)
    size = sum(len(prompt["reply"].encode()) for prompt, _ in replies)
    return {
        "replies": len(replies),
        "perplexity": round(math.exp(loss / tokens), 2) if tokens else None,
        "bits_per_byte": round(loss / math.log(2) / size, 3) if size else None,
    }


def sentences(text: str) -> list[str]:
    """The sentences of a text, in lower case."""
    return [each.strip().lower() for each in re.split(r"(?<=[.!?])\s+|\n+", text) if each.strip()]


def repetition(talks: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The share of replies with a longer sentence that occurred before in the same dialogue."""
    again: list[bool] = []
    for talk in talks:
        seen: set[str] = set()
        for text in talk:
            long = [each for each in sentences(text) if len(each.split()) >= SAME_SENTENCE_WORDS]
            again.append(any(each in seen for each in long) or len(set(long)) < len(long))
            seen |= set(long)
    return share(again)


def parsed(text: str) -> Any:
    """Parse a text as JSON; None if it is invalid."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def called_right(text: str, expect: Mapping[str, Any]) -> bool:
    """Whether the right tool is called with the right arguments, or none if none is expected."""
    found = re.findall(r"<tool_call>\s*(.*?)\s*</tool_call>", text, re.DOTALL)
    if expect["name"] is None:
        return "<tool_call>" not in text and bool(text)
    call = parsed(found[0]) if len(found) == 1 else None
    if not isinstance(call, dict) or call.get("name") != expect["name"]:
        return False
    return bool(plain(call.get("arguments")) == plain(expect["arguments"]))


def plain(arguments: Any) -> Any:
    """Arguments in lower case, because people type as they like."""
    if not isinstance(arguments, dict):
        return arguments
    return {name: str(value).lower().strip(" .!?") for name, value in arguments.items()}


def memories(cases: Sequence[tuple[Mapping[str, Any], str]]) -> dict[str, Any]:
    """Precision and recall of operations. One is right if its turn, its operation and enough of its quote match.

    `verbatim` is the share of quotes that occur word for word in their turn.
    """
    made, total, right, verbatim, texts = 0, 0, 0, 0, 0
    for expect, text in cases:
        answer = parsed(text)
        listed = answer.get("operations") if isinstance(answer, dict) else None
        operations = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        left = list(expect["operations"])
        total += len(left)
        made += len(operations)
        for each in operations:
            quote = str(each.get("quote", ""))
            stands = bool(quote.strip()) and quote in expect["turns"].get(str(each.get("turn")), "")
            verbatim += stands
            found = next((one for one in left if matches(each, one)), None) if stands else None
            if found is not None:
                left.remove(found)
                right += 1
                texts += str(each.get("text", "")).lower() == found["text"].lower()
    return {
        "precision": round(right / made, 3) if made else None,
        "recall": round(right / total, 3) if total else None,
        "verbatim": round(verbatim / made, 3) if made else None,
        "same_text": round(texts / right, 3) if right else None,
        "wanted": total,
        "made": made,
        "right": right,
    }


def matches(made: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether two operations have the same turn and the same operation, and share half of the quoted words."""
    words, other = set(str(made.get("quote")).lower().split()), set(expected["quote"].lower().split())
    same = len(words & other) / len(words | other) >= 0.5
    return same and (made.get("turn"), made.get("op")) == (expected["turn"], expected["op"])


def talks_of(prompts: Sequence[Mapping[str, Any]], answers: Answers) -> list[list[dict[str, str]]]:
    """The dialogues, unedited."""
    talks: list[list[dict[str, str]]] = []
    for prompt, answer in zip(prompts, answers, strict=True):
        if prompt["task"] != "dialogue":
            continue
        messages = list(prompt["messages"])
        for text, user_text in zip(answer["texts"], [*prompt["turns"], None], strict=True):
            messages.append({"role": "assistant", "content": text})
            messages += [{"role": "user", "content": user_text}] if user_text is not None else []
        talks.append(messages)
    return talks
