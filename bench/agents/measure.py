"""Sends messages to agents through the gateway, streamed, and reads from the ledger what the model took of it.

Each message is a conversation of its own, of a person of its own, without cache and memory. The model's part is the
seconds that its engine worked (`engine_s` of the ledger's segments); a run without a model has none.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx
import orjson

from bench.agents.messages import MESSAGES, Message
from bench.stack import Target

AGENTS = ("chat", "music", "video", "games")
MAX_TOKENS = 160  # as agents narrate at most
LEDGER_TRIES, LEDGER_WAIT_S = 40, 0.25
HEADERS = {"x-bondhu-cache": "off", "cache-control": "no-store", "x-bondhu-allow-external": "false"}


@dataclass(slots=True)
class Answer:
    """One answer: seconds to its first words and to its end, and what became of it."""

    side: str
    message: Message
    first_s: float | None = None
    whole_s: float = 0.0
    engine_s: float = 0.0
    text: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    status: int = 0

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The steps of tools."""
        return [event for event in self.events if event["type"] == "tool_step"]

    @property
    def routed_to(self) -> str:
        """The agent that `auto` chose, and how."""
        return next((step["detail"] for step in self.steps if step["name"] == "agent"), "")

    @property
    def is_repaired(self) -> bool:
        """Whether the model's parameters had to be asked for again."""
        return any(step["state"] == "repaired" for step in self.steps)


async def ask_all(target: Target, rounds: int, messages: Sequence[Message] = MESSAGES) -> list[Answer]:
    """All messages, one after the other; sides take turns, message by message."""
    answers = []
    limits = httpx.Limits(max_connections=1)
    headers = {"authorization": f"Bearer {target.key}", **HEADERS}
    async with httpx.AsyncClient(base_url=target.url, headers=headers, timeout=300, limits=limits) as client:
        for number in range(rounds):
            for position, message in enumerate(messages):
                sides = {"plain chat": target.model, message.agent: f"bondhu/{message.agent}", "auto": "bondhu/auto"}
                for side, model in sides.items():
                    who = f"bench-{number}-{position}-{side.replace(' ', '-')}"
                    answers.append(await _ask(client, side, model, message, who))
    return answers


async def _ask(client: httpx.AsyncClient, side: str, model: str, message: Message, who: str) -> Answer:
    answer = Answer(side, message)
    body = {
        "model": model,
        "user": who,
        "stream": True,
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": message.text}],
    }
    if model.startswith("bondhu/"):
        del body["max_tokens"]  # agents have limits of their own
    began = time.perf_counter()
    headers = {"x-bondhu-conversation": who, "x-bondhu-notices": "event"}
    async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
        answer.status = response.status_code
        id_ = response.headers.get("x-request-id", "")
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            for choice in orjson.loads(line[6:]).get("choices", ()):
                delta = choice.get("delta", {})
                answer.events += delta.get("bondhu", {}).get("events", ())
                if delta.get("content"):
                    answer.first_s = answer.first_s or time.perf_counter() - began
                    answer.text += delta["content"]
    answer.whole_s = time.perf_counter() - began
    answer.engine_s = await _engine_s(client, id_)
    return answer


async def _engine_s(client: httpx.AsyncClient, id_: str) -> float:
    for _ in range(LEDGER_TRIES):  # the row is written after the answer
        row = await client.get(f"/v1/usage/{id_}")
        if row.status_code == 200 and row.json().get("outcome") not in (None, "started"):
            return float(sum(segment.get("engine_s") or 0.0 for segment in row.json()["segments"]))
        await asyncio.sleep(LEDGER_WAIT_S)
    return 0.0


def as_dict(answer: Answer) -> dict[str, Any]:
    """For the result, without the words."""
    return {
        "side": answer.side,
        "message": asdict(answer.message),
        "first_s": answer.first_s,
        "whole_s": answer.whole_s,
        "engine_s": answer.engine_s,
        "characters": len(answer.text),
        "routed_to": answer.routed_to,
        "is_repaired": answer.is_repaired,
        "status": answer.status,
    }
