"""A local server that speaks the Gemini API's REST protocol, for tests of whatever talks to it.

Answers deterministically (it repeats what the user said), checks requests as `gemini_rules` says, and goes wrong as a
script tells it to, one script a request. Runs in a thread of its own, so that any test can use it:

    with GeminiServer() as server:
        server.script(quota_daily())
        ...  # a client of server.url with server.key
        assert server.requests[0].body["contents"]
"""

import asyncio
import json
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.servers.gemini_rules import MODELS, SIGNING_MODELS, Json, complaint, error, normal
from tests.support.servers.threaded import ThreadedServer

HOLD = "hold"  # wait until `GeminiServer.release`, or for ever
CUT = "cut"  # break the connection
DROP = "drop"  # the same before the answer's head
KEY = "AIza-test-key-which-must-not-leak"
SIGNATURE = "c2lnbmVkIGJ5IHRoZSBtb2RlbA=="
PROMPT_FEEDBACK = "promptFeedback"


@dataclass(frozen=True)
class Script:
    """The course of one request: an error, or steps: events (objects), raw bytes, HOLD, CUT and DROP."""

    steps: tuple[Json | bytes | str, ...] = ()
    status: int = 200
    body: Json | bytes = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """A request that came in."""

    path: str
    key: str | None
    body: Json


def event(text: str | None = None, *parts: Json, finish: str | None = None, **usage: int) -> Json:
    """One response of a stream; `usage` with Google's names without TokenCount: prompt, candidates, thoughts."""
    candidate: Json = {"index": 0}
    if text is not None or parts:
        texts = [{"text": text}] if text is not None else []
        candidate["content"] = {"role": "model", "parts": [*texts, *parts]}
    if finish:
        candidate["finishReason"] = finish
    counts = {"prompt": 7, **usage}
    metadata = {f"{name}TokenCount": count for name, count in counts.items()}
    total = sum(counts.values()) - counts.get("cachedContent", 0)
    return {"candidates": [candidate], "usageMetadata": {**metadata, "totalTokenCount": total}, "responseId": "r-1"}


def text_script(*texts: str, finish: str = "STOP", **usage: int) -> Script:
    """A plain answer in these pieces, a token for each word."""
    words, events = 0, []
    for index, text in enumerate(texts):
        words += len(text.split())
        last = index == len(texts) - 1
        events.append(event(text, finish=finish if last else None, **{"candidates": words, **usage}))
    return Script(tuple(events))


def call(name: str, *, call_id: str | None = None, signature: str | None = None, **args: Any) -> Json:
    """A part with a tool call, which like Google's has no index, and here no id unless given."""
    part: Json = {"functionCall": {"name": name, "args": args, **({"id": call_id} if call_id else {})}}
    return {**part, "thoughtSignature": signature} if signature else part


def empty_candidates() -> Script:
    """HTTP 200 without a candidate."""
    return Script(({"usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7}},))


def prompt_block(reason: str = "PROHIBITED_CONTENT") -> Script:
    """The prompt is blocked, with HTTP 200."""
    return Script(({PROMPT_FEEDBACK: {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 7}},))


def stop_without_parts() -> Script:
    """STOP, and no parts."""
    return Script((event(finish="STOP"),))


def thoughts_ate_the_budget(thoughts: int = 100) -> Script:
    """MAX_TOKENS without text."""
    return Script((event(finish="MAX_TOKENS", thoughts=thoughts),))


def safety_mid_stream(text: str) -> Script:
    """The filter stops an answer that has begun."""
    return Script((event(text, candidates=3), event(finish="SAFETY", candidates=3)))


def cut_stream(*texts: str, cleanly: bool = False) -> Script:
    """An answer that breaks off: the connection is cut, or the stream just ends."""
    events = tuple(event(text, candidates=index + 1) for index, text in enumerate(texts))
    return Script(events if cleanly else (*events, CUT))


def slow_first_byte() -> Script:
    """Nothing, not even a status line's chunk, until released."""
    return Script((HOLD, *text_script("late").steps))


def stall(text: str) -> Script:
    """An answer that stops coming."""
    return Script((event(text, candidates=2), HOLD, *text_script("late").steps))


def malformed(*texts: str, chunk: bytes = b'{"candidates": [{"content": {"parts"') -> Script:
    """An answer with a chunk that cannot be read."""
    return Script((*(event(text, candidates=1) for text in texts), b"data: " + chunk + b"\r\n\r\n"))


def quota_minute(delay: str = "34.07s") -> Script:
    """The requests of a minute are used up."""
    return _quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", delay)


def quota_daily(delay: str = "22s") -> Script:
    """The requests of a day are used up; RetryInfo speaks of seconds all the same."""
    return _quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", delay)


def _quota(quota_id: str, delay: str) -> Script:
    message = f"You exceeded your current quota. Please retry in {delay}."
    violation = {"quotaMetric": "generativelanguage.googleapis.com/requests", "quotaId": quota_id, "quotaValue": "50"}
    details: list[Json] = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]},
        {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"description": "Learn more"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    return Script(status=429, body=error(429, "RESOURCE_EXHAUSTED", message, *details))


def broken(status: int = 503) -> Script:
    """Gemini's own failure."""
    name = {500: "INTERNAL", 503: "UNAVAILABLE"}.get(status, "UNKNOWN")
    return Script(status=status, body=error(status, name, "The model is overloaded. Please try again later."))


class GeminiServer(ThreadedServer):
    """The server; a context manager.

    Attributes:
        url: where it listens; the SDK's base URL.
        key: the key that it accepts.
        requests: what came in, in order.
        left: set when a client goes away before its answer is complete.

    """

    def __init__(self, *, key: str = KEY) -> None:
        super().__init__()
        self.key = key
        self.requests: list[Recorded] = []
        self.left = threading.Event()
        self._scripts: deque[Script] = deque()
        self._released = asyncio.Event()

    def script(self, *scripts: Script) -> None:
        """Set the course of the next requests; requests without a script get plain answers."""
        self._scripts.extend(scripts)

    def release(self) -> None:
        """Let all that HOLD now go on."""
        self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    def _serve(self, app: web.Application) -> None:
        app.router.add_post("/v1beta/models/{model}:{method}", self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        model, method = request.match_info["model"], request.match_info["method"]
        key = request.headers.get("x-goog-api-key")
        body = normal(await request.json())
        self.requests.append(Recorded(request.path_qs, key, body))
        if refusal := self._refusal(model, method, key, body):
            return web.json_response(refusal, status=refusal["error"]["code"])
        script = self._scripts.popleft() if self._scripts else plain_answer(model, body)
        if script.status != 200:
            if isinstance(script.body, bytes):
                return web.Response(body=script.body, status=script.status, content_type="text/html")
            return web.json_response(script.body, status=script.status)
        if method == "generateContent":
            return web.json_response(unary(script))
        return await self._stream(request, script)

    def _refusal(self, model: str, method: str, key: str | None, body: Json) -> Json | None:
        if key is None:
            return error(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
        if key != self.key:
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
            return error(400, "INVALID_ARGUMENT", f"API key not valid. Please pass a valid API key. ({key})", info)
        if model not in (*MODELS, *SIGNING_MODELS):
            return error(404, "NOT_FOUND", f"models/{model} is not found for API version v1beta.")
        if method not in ("generateContent", "streamGenerateContent"):
            return error(404, "NOT_FOUND", "Method not found.")
        return complaint(model, body, {SIGNATURE})

    async def _stream(self, request: web.Request, script: Script) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        steps = deque(script.steps)
        try:
            if steps and steps[0] == HOLD:
                await self._released.wait()
                steps.popleft()
            if steps and steps[0] == DROP:
                return self._break(request, response)
            await response.prepare(request)
            while steps:
                step = steps.popleft()
                if step == HOLD:
                    await self._released.wait()
                elif step == CUT:
                    return self._break(request, response)
                else:
                    await response.write(step if isinstance(step, bytes) else sse(step))
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        return response

    @staticmethod
    def _break(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return response


def sse(data: Json | str) -> bytes:
    """One server-sent event with Google's line ends."""
    return b"data: " + json.dumps(data).encode() + b"\r\n\r\n"


def unary(script: Script) -> Json:
    """The stream's events as the one answer of generateContent."""
    events = [step for step in script.steps if isinstance(step, dict)]
    parts = [part for each in events for part in each["candidates"][0].get("content", {}).get("parts", ())]
    whole: Json = dict(events[-1])
    whole["candidates"] = [{**events[-1]["candidates"][0], "content": {"role": "model", "parts": parts}}]
    return whole


def plain_answer(model: str, body: Json) -> Script:
    """Repeat the user's last message, one word per event, within the limits of the request."""
    config = body.get("generationConfig", {})
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    prompt = len(json.dumps(body["contents"]).split())
    if calling.get("mode") == "ANY":
        allowed = calling.get("allowedFunctionNames") or [body["tools"][0]["functionDeclarations"][0]["name"]]
        signature = SIGNATURE if model in SIGNING_MODELS else None
        return Script((event(None, call(allowed[0], signature=signature), finish="STOP", prompt=prompt, candidates=4),))
    user_text = " ".join(part["text"] for part in body["contents"][-1]["parts"] if "text" in part) or "nothing"
    text = json.dumps({"said": user_text}) if config.get("responseMimeType") else f"You said: {user_text}"
    for stop in config.get("stopSequences", ()):
        text = text.partition(stop)[0]
    thoughts = 0 if model not in SIGNING_MODELS else 5
    words = text.split(" ")
    room = config.get("maxOutputTokens", 1000) - thoughts
    kept = [word if index == 0 else f" {word}" for index, word in enumerate(words)][: max(room, 0)]
    finish = "STOP" if len(kept) == len(words) else "MAX_TOKENS"
    usage = {"prompt": prompt, **({"thoughts": thoughts} if thoughts else {})}
    if not kept:
        return thoughts_ate_the_budget(thoughts)
    return text_script(*kept, finish=finish, **usage)
