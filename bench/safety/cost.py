"""What the safety step costs a request, in milliseconds of processor time: before it, and after it on a stream.

Rules alone, without the classifier's embedding, which is the embedder's time. Processor time, so that what else runs on
the machine does not count. `python -m bench.safety.cost`.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence

from agents.safety.step import SafetyStep
from models.chat import ChatMessage
from serving.protocol.sse import Event
from serving.safety.reply_guard import ReplyGuard

TURN = "I went to the market with my sister today and we bought far too many mangoes, what shall I cook with them?"
REPLY = "You could make a chutney, or a lassi with yoghurt and a little salt. Keep some for breakfast. "
TIMES = 50


def main() -> None:
    """Print a line for each case."""
    step = SafetyStep()
    for turns in (1, 4, 12):
        messages = [ChatMessage("user", f"{TURN} {number}") for number in range(turns)]
        print(f"before, {turns} turns of {len(TURN)} characters: {_before(step, messages):.2f} ms")
    for words in (16, 160):
        text = (REPLY * 20).split()[:words]
        print(f"after, a stream of {words} words: {_after(step, text, streams=True):.2f} ms")
        print(f"after, {words} words whole: {_after(step, text, streams=False):.2f} ms")


def _before(step: SafetyStep, messages: Sequence[ChatMessage]) -> float:
    with asyncio.Runner() as runner:  # one event loop: to make one costs more than the step
        return _ms(lambda: runner.run(step.assess(messages, rules_alone=True)))


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
