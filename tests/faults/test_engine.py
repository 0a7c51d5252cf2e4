"""The engine is killed, or hangs, while requests are in every state: queued, before their first token, in mid-stream.

Two applications' worth of clients ask: some may be answered outside, by Gemini's stand-in, some may not.
"""

import contextlib
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import psutil

from tests.support.faults.aftermath import App, engine_after
from tests.support.faults.matrix import Matrix
from tests.support.faults.seen import HELLO, Asking, Seen
from tests.support.local_stack import ENGINE_CORE, LocalStack
from tests.support.polling import eventually
from tests.support.servers.gemini import GeminiServer

SLOTS = 64  # of the demonstration model: requests that its engine is given at once
QUEUED = 4
TOLD = ("engine_error", "engine_timeout", "model_not_ready", "queue_timeout")  # the last: a busy machine sees it late
MANY_WORDS = {
    "type": "json_schema",
    "json_schema": {
        "name": "x",
        "schema": {
            "type": "object",
            "properties": {"words": {"type": "array", "minItems": 400, "items": {"type": "string"}}},
        },
    },
}
FREE_WITHIN_S = 30.0
COMPILED_WITHIN_S = 180.0
MOMENT_S, SEEN_WITHIN_S, ENDED_WITHIN_S = 0.02, 0.2, 1.0  # of the engine; until its client sees a begin, and an end
MET_WITHIN_S = 120.0


@contextlib.contextmanager
def frozen(
    stack: LocalStack, ask: Callable[[], Sequence[Asking]]
) -> Iterator[tuple[Sequence[Asking], Sequence[Asking]]]:
    """Within it, no engine goes on (SIGSTOP): connections stay open, nothing comes.

    Gives those of what `ask` asks that are stopped in mid-stream, at least one, and those that had ended before. It
    goes on by moments until then, and is asked again if need be: answers are short, and a busy machine is late to
    notice that one has begun.
    """
    cores = stack.processes(ENGINE_CORE)
    met: list[Asking] = []
    ended: list[Asking] = []

    def go_on(streams: Sequence[Asking]) -> bool:
        _signal(cores, signal.SIGCONT)
        time.sleep(MOMENT_S)
        _signal(cores, signal.SIGSTOP)
        return all(stream.begun.wait(SEEN_WITHIN_S) for stream in streams)

    def meet() -> bool:
        streams = ask()
        eventually(lambda: go_on(streams), FREE_WITHIN_S, "the answers to begin")
        time.sleep(ENDED_WITHIN_S)
        for stream in streams:
            (ended if stream.is_over else met).append(stream)
        return bool(met)

    _signal(cores, signal.SIGSTOP)
    try:
        eventually(meet, MET_WITHIN_S, "an answer in mid-stream")
        yield met, ended
    finally:
        _signal(cores, signal.SIGCONT)


def _signal(cores: Sequence[psutil.Process], number: int) -> None:
    for core in cores:
        with contextlib.suppress(psutil.NoSuchProcess):  # a test has killed it
            core.send_signal(number)


def outgoing(app: App, number: int, **body: Any) -> list[Asking]:
    """So many requests that may be answered outside: with nothing that only vLLM understands."""
    return [Asking(app.url, app.outgoing_key, **{"max_tokens": 1500, **body}) for _ in range(number)]


def kept(app: App, number: int) -> list[Asking]:
    """So many that may not, and take long."""
    return [Asking(app.url, app.key, max_tokens=1500, ignore_eos=True) for _ in range(number)]


def check(outgoing: Sequence[Asking], kept: Sequence[Asking]) -> list[Seen]:
    """Those with consent were answered in full; those without were told an error. Returns what all saw."""
    for each in outgoing:
        assert each.done().is_whole, each.seen
        assert each.seen.models[-1] == "gemini"
    for each in kept:
        assert each.done().code in TOLD, each.seen
    return [each.seen for each in (*outgoing, *kept)]


def test_engine_killed(stack: LocalStack, app: App, gemini: GeminiServer, matrix: Matrix) -> None:
    """An engine that dies takes nothing along that may be answered elsewhere, and nothing hangs, queued or begun."""
    requests_before = len(gemini.requests)
    begun_kept = kept(app, SLOTS - 6)
    for stream in begun_kept:
        stream.until_begun()
    with frozen(stack, lambda: outgoing(app, 4)) as (begun_outgoing, ended):
        waiting = outgoing(app, 3), kept(app, 3)  # two of them in the engine, before their first token
        eventually(lambda: queue_depth(stack) == QUEUED, FREE_WITHIN_S, "a queue in front of the engine")
        stack.kill(ENGINE_CORE)
        begun = check(begun_outgoing, begun_kept)
        not_begun = check(*waiting)
    assert len(gemini.requests) == requests_before + len(begun_outgoing) + 3
    engine = engine_after(stack)
    (after,) = outgoing(app, 1, max_tokens=4)
    fault = f"engine killed: {len(begun)} in mid-stream, 2 before their first token, {QUEUED} queued; one after"
    rows = app.conclude(matrix, fault, [*begun, *not_begun, after.done(), *(each.done() for each in ended)], engine)
    assert after.seen.models == ["bondhu-demo"]
    counted = {row["request_id"]: row["completion_tokens"] for row in rows}
    assert all(counted[each.request_id] > 0 for each in begun)


def test_engine_frozen(stack: LocalStack, app: App, gemini: GeminiServer, matrix: Matrix) -> None:
    """An engine that hangs is noticed by what it does not send, before the first token and after it."""
    eventually(lambda: knows_schema(stack), COMPILED_WITHIN_S, "the engine to know the schema")
    requests_before = len(gemini.requests)
    begun_kept = kept(app, 1)
    (guided,) = outgoing(app, 1, response_format=MANY_WORDS)
    for stream in (*begun_kept, guided):
        stream.until_begun()
    with frozen(stack, lambda: outgoing(app, 1, stream_options={"include_usage": True})) as (begun_outgoing, ended):
        waiting = outgoing(app, 1), kept(app, 1)
        begun = check(begun_outgoing, begun_kept)
        not_begun = check(*waiting)
        half = guided.done()
    assert half.status == 200
    assert not half.is_whole, "half a JSON document is not gone on with by another model"
    assert half.code
    engine = engine_after(stack)
    fault = "engine frozen (SIGSTOP): 2 in mid-stream, 1 with a JSON schema, 2 before their first token"
    rows = app.conclude(matrix, fault, [*begun, half, *not_begun, *(each.done() for each in ended)], engine)
    check_provenance(begun[0], next(row for row in rows if row["request_id"] == begun[0].request_id))
    sent_out = [request.body["contents"] for request in gemini.requests[requests_before:]]
    assert len(sent_out) == 2
    answers = [
        "".join(part["text"] for part in content["parts"])
        for all_ in sent_out
        for content in all_
        if is_answer(content)
    ]
    assert [begun[0].text.startswith(text) for text in answers] == [True], "it goes on from the text"


def knows_schema(stack: LocalStack) -> bool:
    """Whether it answers with the schema in time; compiling it takes a busy machine longer than the first token may."""
    body = {"model": "bondhu", "messages": HELLO, "response_format": MANY_WORDS, "max_tokens": 1}
    headers = {"authorization": f"Bearer {stack.api_key}", "cache-control": "no-store"}
    answer = httpx.post(f"{stack.url}/v1/chat/completions", json=body, headers=headers, timeout=COMPILED_WITHIN_S)
    return answer.status_code == 200 and bool(answer.json()["model"] == "bondhu-demo")


def is_answer(content: dict[str, Any]) -> bool:
    """Whether a turn of Gemini's conversation is the model's."""
    return bool(content["role"] == "model")


def check_provenance(seen: Seen, row: dict[str, Any]) -> None:
    """One stream with one id; who made which of its tokens, and why, told alike to the client and in the ledger."""
    assert len(seen.ids) == 1
    first, second = seen.segments
    assert (first["reason"], second["model"], second["reason"]) == ("asked", "gemini", "stalled")
    assert (first["from_token"], first["to_token"]) == (0, second["from_token"])
    assert second["to_token"] == row["completion_tokens"]
    assert [each | {"engine_s": 0} for each in seen.segments] == [each | {"engine_s": 0} for each in row["segments"]]


def queue_depth(stack: LocalStack) -> int:
    """How many requests wait in front of the engine, by the gateway's metrics."""
    token = stack.secret("secrets.env", "BONDHU_SCRAPE_TOKEN")
    answer = httpx.get(f"{stack.url}/metrics", headers={"authorization": f"Bearer {token}"}, timeout=10)
    depths = re.findall(r"^bondhu_queue_depth\{[^}]*\} (\S+)$", answer.text, re.M)
    return int(sum(map(float, depths)))
