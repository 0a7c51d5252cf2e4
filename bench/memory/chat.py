"""Measures the effect of a prompt's order: the share of prompt tokens that vLLM found in its prefix cache.

    python -m bench.memory.chat [--people 4] [--turns 6]

People with similar pasts chat in turns, so that each one's next message comes after everybody else's. Each layout of
the same content has people of its own: the gateway's layout, in a real chat with memory, where each person has a
separate part of the cache; the least stable part first; and the recalled part next to the last message. The last two
run without the gateway's memory, so they share the application's part of the cache.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import httpx
import typer

from bench.environment import commit, machine, versions, write_result
from bench.stack import Bondhu
from serving.chat_memory.prompt import INTRODUCTION

PERSONA = (
    "You are Bondhu, a friend who listens. You are warm, patient and honest. You ask one question at a time, and "
    "you never pretend to have done what you cannot do. You speak plainly, in short sentences, without lists. When "
    "somebody is sad you do not hurry to cheer them up; you say what you heard, and you stay. When somebody is glad "
    "you are glad with them. You do not give medical or legal advice, and you say who could. You remember what "
    "matters to people, their names for things, and what they asked you not to bring up. You never tell one person "
    "about another. "
)
AMOUNTS = ("something", "nothing", "much", "little", "everything")
SYLLABLES = ("ka", "mi", "ro", "sun", "tal", "ve", "lor", "ni", "ba", "quo", "dre", "shi")
THINGS = (
    "parrot",
    "garden",
    "sister",
    "bicycle",
    "job",
    "guitar",
    "exam",
    "flat",
    "neighbour",
    "recipe",
    "trip",
    "team",
)
QUESTIONS = [f"Do you remember what I told you about my {thing}?" for thing in THINGS]
Message = dict[str, Any]


@dataclass
class Layout:
    """One way, and what came of it."""

    name: str
    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For the result."""
        return {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "hit_ratio": round(self.cached_tokens / self.prompt_tokens, 3),
        }


def _word(names: random.Random) -> str:
    return "".join(names.choices(SYLLABLES, k=3)).title()


def changing_first(profile: str, recalled: str, turns: Sequence[Message]) -> list[Message]:
    """What was recalled, then the profile, then the persona."""
    return [{"role": "system", "content": "\n".join([INTRODUCTION, recalled, profile, PERSONA])}, *turns]


def beside_the_question(profile: str, recalled: str, turns: Sequence[Message]) -> list[Message]:
    """What was recalled stands in the last message, so that all turns before it stay where they are."""
    last = {**turns[-1], "content": f"{recalled}\n\n{turns[-1]['content']}"}
    return [{"role": "system", "content": "\n".join([PERSONA, INTRODUCTION, profile])}, *turns[:-1], last]


class Chats:
    """The stack, asked as one application."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=300)

    def seed(self, user: str) -> str:
        """Give a person a past of their own; returns their profile as a prompt tells it."""
        at, names = datetime.now(UTC) - timedelta(days=60), random.Random(user)
        usage = ((thing, each, _word(names), _word(names)) for thing in THINGS for each in AMOUNTS)
        statements = [f"My {thing} has {each} to do with {one} and {other}." for thing, each, one, other in usage]
        messages = [
            {"external_id": str(n), "speaker": "user", "text": text, "said_at": (at + timedelta(days=n)).isoformat()}
            for n, text in enumerate(statements)
        ]
        profile = {"city": _word(names), "pet": _word(names)}
        self._ask("PUT", "/api/v1/profile", user, {"details": profile})
        self._ask("POST", "/api/v1/conversations", user, {"external_id": "before", "messages": messages})
        return "\n".join(f"{name}: {value}" for name, value in profile.items())

    def recalled(self, user: str, question: str) -> str:
        """Return the lines that a chat would be given."""
        body = {"query": question, "limit": 12, "budget_tokens": 512}
        found = self._ask("POST", "/api/v1/recall", user, body).json()["data"]
        return "\n".join(f"- {each['item']['text']}" for each in found)

    def answer(self, layout: Layout, user: str, messages: Sequence[Message], memory: str) -> str:
        """Ask, and add up what it took."""
        body = {"model": "bondhu", "messages": messages, "max_tokens": 8, "temperature": 0}
        headers = {"x-bondhu-memory": memory, "x-bondhu-cache": "off"}
        answer = self._ask("POST", "/v1/chat/completions", user, body, headers)
        usage = answer.json()
        layout.prompt_tokens += usage["usage"]["prompt_tokens"]
        layout.cached_tokens += (usage["usage"]["prompt_tokens_details"] or {}).get("cached_tokens") or 0
        layout.requests += 1
        return str(usage["choices"][0]["message"]["content"])

    def _ask(
        self, method: str, path: str, user: str, body: Any, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        answer = self._client.request(method, path, json=body, headers={"x-bondhu-user": user} | (headers or {}))
        answer.raise_for_status()
        return answer


def measure(chats: Chats, people: int, turns: int) -> list[Layout]:
    """Let everybody chat, a message each in turn."""
    own: dict[str, Callable[[str, str, Sequence[Message]], list[Message]]] = {
        "changing first": changing_first,
        "beside the question": beside_the_question,
    }
    layouts = [Layout("stable first"), *map(Layout, own)]
    for layout in layouts:
        users = [f"{layout.name} {number}" for number in range(people)]
        profiles = {user: chats.seed(user) for user in users}
        statements: dict[str, list[Message]] = {user: [] for user in users}
        for turn in range(turns):
            for number, user in enumerate(users):
                question = QUESTIONS[(turn + number) % len(QUESTIONS)]
                so_far = [*statements[user], {"role": "user", "content": question}]
                if layout.name in own:
                    recalled = chats.recalled(user, question)
                    messages, memory = own[layout.name](profiles[user], recalled, so_far), "off"
                else:
                    messages, memory = [{"role": "system", "content": PERSONA}, *so_far], "on"
                reply = chats.answer(layout, user, messages, memory)
                statements[user] = [*so_far, {"role": "assistant", "content": reply}]
        typer.echo(f"{layout.name}: {layout.as_dict()}")
    return layouts


def markdown(result: dict[str, Any]) -> str:
    """A table."""
    lines = ["| layout | prompt tokens | in the cache | hit ratio |", "| --- | --: | --: | --: |"]
    for name, row in result["layouts"].items():
        lines.append(f"| {name} | {row['prompt_tokens']} | {row['cached_tokens']} | {row['hit_ratio']} |")
    return "\n".join(lines)


def main(
    people: Annotated[int, typer.Option(help="People who chat in turns.")] = 4,
    turns: Annotated[int, typer.Option(help="Messages of each.")] = 6,
) -> None:
    """Measure, and write it down."""
    result: dict[str, Any] = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    result |= {"machine": machine(), "versions": versions(), "people": people, "turns": turns}
    with TemporaryDirectory() as directory:
        bondhu = Bondhu(Path(directory), {})
        try:
            bondhu.start()
            target = bondhu.gateway()
            layouts = measure(Chats(target.url, target.key), people, turns)
        finally:
            bondhu.stop()
    result["layouts"] = {layout.name: layout.as_dict() for layout in layouts}
    write_result("chat-memory", result, markdown(result) + "\n")
    typer.echo(markdown(result))


if __name__ == "__main__":
    typer.run(main)
