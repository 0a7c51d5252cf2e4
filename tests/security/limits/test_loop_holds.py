"""How long the largest request that is accepted keeps a gateway's event loop from everybody else, route by route.

A hold is there each time, and takes the processor; what a busy machine adds does not. So each is sent several times,
and what counts is the shortest of the waits, or the processor time that the worker took if that was less.
"""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from aiohttp import web

from tests.security.requests.fuzz_cases import bodies
from tests.support.gateway_process import DEADLINE_S, GatewayProcess, wait_for
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.engine import MODEL, EngineServer
from tests.support.timing.pulse import Pulse

EMBEDDER = "all-minilm-l6-v2"
MAX_BODY = 4 * 2**20 - 64 * 1024
ROUNDS = 5
HELD_S = 0.1
NOW = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.slow


class QuickEngine(EngineServer):
    """Answers two words, and embeds anything at once."""

    def add_routes(self, app: web.Application) -> None:
        """Be an embedder."""
        app.router.add_post("/{embedder:embedder-[0-9a-f]+}", self._embed)

    async def _embed(self, request: web.Request) -> web.Response:
        number = len((await request.json())["inputs"])
        return web.Response(body=b"\0\0\x80\x3f" * DIMENSIONS * number, headers={"x-bondhu-tokens": "1"})


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One worker, with a scripted engine and embedder."""
    gateway = GatewayProcess(tmp_path_factory.mktemp("gateway"), BONDHU__EMBEDDER__DIMENSIONS=str(DIMENSIONS))
    with QuickEngine(gateway.ingress_port), gateway:
        wait_for(lambda: gateway.get("/ready").status_code == 200, "the gateway to be ready")
        yield gateway


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    """A client with a key that has no limits."""
    headers = {"authorization": f"Bearer {gateway.make_key('one', tier='admin')}", "cache-control": "no-store"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=DEADLINE_S) as client:
        yield client


def message(number: int, text: str) -> dict[str, Any]:
    """A turn."""
    at = (NOW + timedelta(minutes=number)).isoformat()
    return {"external_id": f"t{number}", "speaker": "Maya", "text": text, "said_at": at}


LONG = "word " * ((MAX_BODY - 500) // 5)
CHAT = {"model": MODEL, "max_tokens": 2}
USER = [{"role": "user", "content": "Hi"}]
LARGE: dict[str, tuple[str, str, Any]] = {
    "a chat of one text": ("POST", "/v1/chat/completions", CHAT | {"messages": [{"role": "user", "content": LONG}]}),
    "a chat of many messages": ("POST", "/v1/chat/completions", CHAT | {"messages": USER * 9_990}),
    "a chat of many parts": (
        "POST",
        "/v1/chat/completions",
        CHAT | {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 9_990}]},
    ),
    "a chat of too many messages": ("POST", "/v1/chat/completions", CHAT | {"messages": USER * 90_000}),
    "a chat with a large schema": (
        "POST",
        "/v1/chat/completions",
        CHAT | {"messages": USER, "tools": [{"type": "function", "function": {"name": "f", "description": LONG}}]},
    ),
    "a chat of marks": (
        "POST",
        "/v1/chat/completions",
        CHAT | {"messages": [{"role": "user", "content": "e\u0301" * 400_000}]},
    ),
    "a chat of wrong fields": ("POST", "/v1/chat/completions", CHAT | {"messages": USER, "stop": list(range(500_000))}),
    "a completion of tokens": ("POST", "/v1/completions", {"model": MODEL, "prompt": [7] * 590_000, "max_tokens": 2}),
    "a response of many items": ("POST", "/v1/responses", {"model": MODEL, "input": USER * 9_990}),
    "a response of many parts": (
        "POST",
        "/v1/responses",
        {"model": MODEL, "input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}] * 9_990}]},
    ),
    "a message of many blocks": (
        "POST",
        "/v1/messages",
        CHAT | {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 9_990}]},
    ),
    "a count of many blocks": (
        "POST",
        "/v1/messages/count_tokens",
        {"model": MODEL, "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 9_990}]},
    ),
    "a text to tokenize": ("POST", "/tokenize", {"model": MODEL, "prompt": LONG}),
    "tokens to detokenize": ("POST", "/detokenize", {"model": MODEL, "tokens": [7] * 590_000}),
    "embeddings of many texts": ("POST", "/v1/embeddings", {"model": EMBEDDER, "input": ["word " * 380] * 2_048}),
    "embeddings of tokens": ("POST", "/v1/embeddings", {"model": EMBEDDER, "input": [[7] * 280] * 2_048}),
    "a conversation": (
        "POST",
        "/api/v1/conversations",
        {"user": "maya", "external_id": "c1", "messages": [message(each, "word " * 700) for each in range(1_000)]},
    ),
    "a memory": ("POST", "/api/v1/memories", {"user": "maya", "text": LONG}),
    "recall": ("POST", "/api/v1/recall", {"user": "maya", "query": LONG}),
    "a profile": ("PUT", "/api/v1/profile?user=maya", {"name": "Maya", "details": {"x": LONG}}),
    "a profile of many": ("PUT", "/api/v1/profile?user=maya", {"details": {f"k{each}": 1 for each in range(19_000)}}),
    "a run": ("POST", "/api/v1/agents/chat/runs", {"messages": [{"role": "user", "content": LONG}], "user": "maya"}),
    "a run of many": ("POST", "/api/v1/agents/chat/runs", {"messages": USER * 4_000, "user": "maya"}),
    "a run of music": ("POST", "/api/v1/agents/music/runs", {"messages": [{"role": "user", "content": LONG}]}),
    "personas": ("PUT", "/api/v1/personas?user=maya", {"persona": "x" * (MAX_BODY - 500)}),
    "a proposal": ("POST", "/api/v1/proposals/x/confirm", {"user": "maya", "conversation": "x" * (MAX_BODY - 500)}),
    "forget": ("POST", "/api/v1/forget", {"user": "x" * (MAX_BODY - 500)}),
    "a job": ("POST", "/api/v1/jobs", {"kind": "nothing", "params": {"x": LONG}, "user": "maya"}),
    "answers": ("POST", "/api/v1/personality/answers?user=maya", {"answers": {f"{each}": 3 for each in range(19_000)}}),
    "a correction": ("PUT", "/api/v1/personality?user=maya", {"scores": {f"t{each}": 3 for each in range(19_000)}}),
    "inbox settings": ("PUT", "/api/v1/inbox/settings?user=maya", {"quiet_from": LONG}),
    "moods": ("PUT", "/api/v1/stats/moods?user=maya", {"allowed": LONG}),
    "a link": ("POST", "/api/v1/services/x/link", {"account": LONG, "user": "maya"}),
    "an export": ("GET", "/api/v1/export?user=bibi", None),
    "usage": ("GET", "/api/v1/usage?group_by=app,user,model,day&limit=10000", None),
}


def test_every_route_with_a_body_is_measured(gateway: GatewayProcess) -> None:
    """But those that are known to take a small one, and imports, which are read in a process of their own."""
    small = {"PUT /api/v1/users/{user}/consent", "POST /api/v1/import", "PATCH /api/v1/memories/{id}"}
    small |= {"POST /api/v1/proposals/{proposal}/undo"}  # as confirm
    seen = {f"{method} {path.partition('?')[0]}" for method, path, _ in LARGE.values()}
    for route in set(bodies(MODEL, EMBEDDER)) - small:
        assert any(re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", route), each) for each in seen), route


def test_no_request_holds_the_loop(
    gateway: GatewayProcess, client: httpx.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everybody else is answered within 100 ms, whatever is sent."""
    for part in range(2):
        turns = [
            message(each, f"Turn {each} of many, told at some length. " * 2) | {"id": f"{part}-{each}"}
            for each in range(20_000)
        ]
        document = {"schema_version": 2, "conversations": [{"external_id": f"c{part}", "messages": turns}]}
        assert client.post("/api/v1/import?user=bibi", json=document).status_code == 200
    held: dict[str, float] = {}
    worker = psutil.Process(gateway.pid)
    with Pulse(gateway.url, tmp_path / "pulse") as pulse:
        for name, (method, path, body) in LARGE.items():
            content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
            rounds = []
            for _ in range(ROUNDS):
                began, used = time.monotonic(), worker.cpu_times()
                answer = client.request(method, path, content=content)
                wait_s, now = pulse.longest(began, time.monotonic()), worker.cpu_times()
                rounds.append(min(wait_s, now.user + now.system - used.user - used.system))
                assert answer.status_code < 500, f"{name}: {answer.text[:300]}"
            held[name] = min(rounds)
            with capsys.disabled():
                size = 0 if content is None else len(content)
                line = f"{name} ({size / 2**20:.1f} MiB, {answer.status_code}): {max(0.0, 1000 * held[name]):.0f} ms"
                print(f"\n{line}", end="")  # noqa: T201 - what it is run for
    assert not {name: took for name, took in held.items() if took > HELD_S}
