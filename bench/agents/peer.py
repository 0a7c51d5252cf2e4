"""pydantic-ai's agent with the tools of the agents for music and video, on the same model through the same gateway.

It is given each agent's own tools, under their names, descriptions and schemas, with its instructions, and decides by
itself what to call, as its documentation has it. `bench/agents/peer.txt` is installed below var/; nothing of it is a
dependency. In this process there is no HTTP between agent and client, so its times lack what the gateway adds once.
"""

import importlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.base import RunContext
from agents.budget import RunBudget, RunLimits
from agents.music.catalogue import read_tracks
from agents.music.chooser import Chooser
from agents.music.tools import MusicTools
from agents.tool import Tool
from agents.video.channels import read_channels
from agents.video.finder import Finder
from agents.video.tools import VideoTools
from bench.agents.measure import HEADERS, MAX_TOKENS
from bench.agents.messages import MESSAGES, Message
from bench.stack import Target
from storage.media.videos import MemoryVideos

PINNED = Path(__file__).with_name("peer.txt")
INSTALLED = Path(__file__).parents[2] / "var" / "bench" / "pydantic-ai"
INSTRUCTIONS = "You are a friend who recommends {what}. Use a tool to find some, and name only what it returns."
REQUESTS = 4  # of a run


class PeerAway(RuntimeError):
    """It is not there and cannot be installed."""


async def ask_all(target: Target, rounds: int) -> list[dict[str, Any]]:
    """Every message for music and video; raises PeerAway."""
    install()
    ai = importlib.import_module("pydantic_ai")
    openai_model = importlib.import_module("pydantic_ai.models.openai")
    providers = importlib.import_module("pydantic_ai.providers.openai")
    usage = importlib.import_module("pydantic_ai.usage")
    provider = providers.OpenAIProvider(base_url=f"{target.url}/v1", api_key=target.key)
    model = openai_model.OpenAIChatModel(target.model, provider=provider)
    settings = {"max_tokens": MAX_TOKENS, "extra_headers": HEADERS}
    videos = VideoTools(Finder(read_channels(), MemoryVideos(_now), None, None)).tools
    tools = {"music": MusicTools(Chooser(read_tracks()), None).tools, "video": videos}
    answers = []
    for _ in range(rounds):
        for message in MESSAGES:
            if message.agent not in tools:
                continue
            called: list[tuple[str, bool]] = []
            made = [_as_peer(ai, tool, called) for tool in tools[message.agent]]
            what = "songs" if message.agent == "music" else "videos"
            agent = ai.Agent(model, instructions=INSTRUCTIONS.format(what=what), tools=made, model_settings=settings)
            answers.append(await _ask(agent, message, usage.UsageLimits(request_limit=REQUESTS), called))
    return answers


async def _ask(agent: Any, message: Message, limits: Any, called: list[tuple[str, bool]]) -> dict[str, Any]:
    began = time.perf_counter()
    failure = ""
    try:
        text = str((await agent.run(message.text, usage_limits=limits)).output)
    except Exception as problem:  # noqa: BLE001 - whatever ends its run is counted by its name
        text, failure = "", type(problem).__name__
    return {
        "message": message.text,
        "agent": message.agent,
        "whole_s": time.perf_counter() - began,
        "failure": failure,
        "called": [name for name, _ in called],
        "found": any(ok and name.startswith("find_") for name, ok in called),
        "characters": len(text),
    }


def _as_peer(ai: Any, tool: Tool[Any], called: list[tuple[str, bool]]) -> Any:
    async def run(**arguments: Any) -> str:
        called.append((tool.name, False))
        result = await tool.run(tool.params.model_validate(arguments), _context())
        called[-1] = (tool.name, True)
        return result.facts or result.plain

    schema: Mapping[str, Any] = tool.params.model_json_schema()
    return ai.Tool.from_schema(run, tool.name, tool.description, schema)


def _context() -> RunContext:
    rng = random.Random(1)
    budget = RunBudget(RunLimits(), time.monotonic)
    return RunContext(owner=None, conversation="", budget=budget, now=_now, rng=rng, new_id=lambda: "id")


def _now() -> datetime:
    return datetime.now(UTC)


def install() -> None:
    """Install what `peer.txt` pins, unless it is there; raises PeerAway."""
    if not INSTALLED.exists():
        uv = shutil.which("uv")
        pip = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
        command = [*pip, "--no-deps", "--target", str(INSTALLED), "-r", str(PINNED)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(INSTALLED, ignore_errors=True)
            raise PeerAway(done.stderr[-500:])
    if str(INSTALLED) not in sys.path:
        sys.path.append(str(INSTALLED))
