"""What the safety step costs a request, in microseconds of processor time: before the model, and after it.

With rules alone; with the classifier, in the gateway's process; and with the embedding that it reads, which is the
embedder's process' time in a real stack. Processor time, so that what else runs on the machine counts little.
`python -m bench.safety.cost` writes JSON and Markdown.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Any

from agents.safety.step import SafetyStep
from bench.environment import commit, machine, versions, write_result
from models.chat import ChatMessage
from models.embedding.text_model import PACKAGE
from models.embedding.text_model import load as load_model
from serving.protocol.sse import Event
from serving.safety.reply_guard import ReplyGuard

TURN = "I went to the market with my sister today and we bought far too many mangoes, what shall I cook with them?"
REPLY = "You could make a chutney, or a lassi with yoghurt and a little salt. Keep some for breakfast. "
TIMES = 50
ROUNDS = 7


def main() -> None:
    """Measure, write the result, print it."""
    load = os.getloadavg()
    rules, model = SafetyStep(), load_model(PACKAGE, runtime="auto", threads=1)
    vector = model.embed([TURN])[0]

    async def ready(texts: Sequence[str]) -> list[Any]:
        return [vector] * len(texts)

    async def embedded(texts: Sequence[str]) -> list[Any]:
        return list(model.embed(texts))

    steps = {
        "rules": (rules, False),
        "rules and classifier, as the gateway pays": (SafetyStep(embed=ready), True),
        "rules and classifier, and the embedder's part": (SafetyStep(embed=embedded, max_wait_s=60), True),
    }
    before: dict[str, dict[str, Any]] = {}
    for turns in (1, 4, 12):
        messages = [ChatMessage("user", f"{TURN} {number}") for number in range(turns)]
        ways = {name: partial(_before, step, messages, classifies=both) for name, (step, both) in steps.items()}
        before[f"{turns} turns"] = _interleaved(ways)
    after: dict[str, dict[str, Any]] = {}
    for words in (16, 160):
        text = (REPLY * 20).split()[:words]
        ways = {
            "a stream": partial(_after, rules, text, streams=True),
            "a whole reply": partial(_after, rules, text, streams=False),
        }
        after[f"{words} words"] = _interleaved(ways)
    result = {
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine() | {"load_average_before": load},
        "versions": versions(),
        "rounds": ROUNDS,
        "characters_a_turn": len(TURN),
        "before_us": before,
        "after_us": after,
    }
    write_result("safety-cost", result, markdown(result))
    print(markdown(result))


def markdown(result: dict[str, Any]) -> str:
    """The tables."""
    lines = [
        f"Commit {result['commit']}, {result['machine']['cpu']}, load {result['machine']['load_average_before']}.",
        "",
        "Microseconds of processor time that the safety step adds to a request, median (least to greatest) of "
        f"{result['rounds']} interleaved rounds of {TIMES}; switched off, it adds none.",
    ]
    for title, table in (("before the model", result["before_us"]), ("after it", result["after_us"])):
        names = list(next(iter(table.values())))
        lines += ["", f"| {title} | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
        for case, ways in table.items():
            cells = [f"{each['median']:.0f} ({each['least']:.0f} to {each['greatest']:.0f})" for each in ways.values()]
            lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _interleaved(ways: Mapping[str, Callable[[], float]]) -> dict[str, dict[str, float]]:
    """Microseconds of each, in turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            found[name].append(1000 * way())
    return {
        name: {"median": round(median(each), 1), "least": round(min(each), 1), "greatest": round(max(each), 1)}
        for name, each in found.items()
    }


def _before(step: SafetyStep, messages: Sequence[ChatMessage], *, classifies: bool) -> float:
    with asyncio.Runner() as runner:  # one event loop: to make one costs more than the step
        return _ms(lambda: runner.run(step.assess(messages, classifies=classifies)))


def _after(step: SafetyStep, words: Sequence[str], *, streams: bool) -> float:
    events = [_event({"content": f" {word}"}, None) for word in words] + [_event({}, "stop")]
    choice = {"index": 0, "message": {"content": " ".join(words)}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice]}).encode()

    def read() -> None:
        guard = ReplyGuard(check=lambda text: step.check_reply(text, is_companion=False))
        if not streams:
            guard.on_body(body)
            return
        for event in events:
            guard.on_events([Event(event)])

    return _ms(read)


def _event(delta: dict[str, str], finish: str | None) -> bytes:
    chunk = {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _ms(work: Callable[[], object]) -> float:
    work()
    began = time.process_time()
    for _ in range(TIMES):
        work()
    return (time.process_time() - began) / TIMES * 1000


if __name__ == "__main__":
    main()
