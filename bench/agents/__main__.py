"""Agents on the CPU, through the gateway, on the default model: `python -m bench.agents`; JSON, Markdown and a picture.

Starts and stops a Bondhu of its own. Per agent: the time to the first words and to the end, and the part of it that the
model's engine took; beside a plain chat of the same messages, and beside pydantic-ai's agent with the same tools on the
same model (`bench.agents.peer`). Where `auto` sends each message, and how many runs needed a repair.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.agents import measure, peer
from bench.agents.measure import AGENTS, Answer
from bench.agents.messages import FRESH, SEEN
from bench.agents.report import markdown, plot
from bench.environment import RESULTS, commit, machine, versions, write_result
from bench.percentiles import percentiles
from bench.safety.__main__ import share
from bench.stack import Bondhu, StartFailed

console = Console(stderr=True)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Times that each message is sent.")] = 3,
    model: Annotated[str, typer.Option(help="A file of configs/models; the active one by default.")] = "",
) -> None:
    """Measure the agents."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that everything is stopped
    load = os.getloadavg()
    overrides = {"BONDHU__MODELS__ACTIVE": model} if model else {}
    with tempfile.TemporaryDirectory(prefix="bondhu-bench-") as directory:
        bondhu = Bondhu(Path(directory), overrides)
        try:
            bondhu.start()
            target = bondhu.gateway()
            asyncio.run(measure.ask_all(target, 1, SEEN[::5]))  # so that nothing is done for the first time
            before = os.getloadavg()
            answers = asyncio.run(measure.ask_all(target, rounds))
            try:
                by_peer = asyncio.run(peer.ask_all(target, rounds))
            except peer.PeerAway as problem:
                console.print(f"no peer: {problem}", markup=False)
                by_peer = []
        except StartFailed as problem:
            console.print(f"error: {problem}", style="red", markup=False, highlight=False)
            raise typer.Exit(1) from None
        finally:
            bondhu.stop()
    result = {
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine() | {"load_average_at_start": load, "load_average_before": before},
        "versions": versions(),
        "model": target.model,
        "rounds": rounds,
        **summary(answers, by_peer),
        "answers": [measure.as_dict(each) for each in answers],
        "by_peer": by_peer,
    }
    write_result("agents", result, markdown(result))
    plot(result, RESULTS / "agents.png")
    typer.echo(markdown(result))


def summary(answers: Sequence[Answer], by_peer: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What answers say: latency by side, routes, repairs, the peer."""
    return {
        "latency": {side: _latency([each for each in answers if each.side == side]) for side in _sides()},
        "routes": _routes(answers),
        "repaired": {
            agent: share(sum(each.is_repaired for each in answers if each.side == agent), _count(answers, agent))
            for agent in AGENTS
        },
        "peer": _peer(by_peer),
    }


def _sides() -> tuple[str, ...]:
    return ("plain chat", *AGENTS, "auto")


def _count(answers: Sequence[Answer], side: str) -> int:
    return sum(each.side == side for each in answers)


def _latency(answers: Sequence[Answer]) -> dict[str, Any]:
    whole = sum(each.whole_s for each in answers)
    return {
        "answers": len(answers),
        "without_words": sum(not each.text for each in answers),
        "first_s": percentiles([each.first_s for each in answers if each.first_s is not None]),
        "whole_s": percentiles([each.whole_s for each in answers]),
        "model_share": round(sum(each.engine_s for each in answers) / whole, 3) if whole else None,
        "with_model": sum(each.engine_s > 0 for each in answers),
    }


def _routes(answers: Sequence[Answer]) -> dict[str, Any]:
    routed = [each for each in answers if each.side == "auto"]
    found: dict[str, Any] = {}
    for name, some in {
        "all": routed,
        "by which rules were mended": [each for each in routed if each.message not in FRESH],
        "by which they were not": [each for each in routed if each.message in FRESH],
        "without a word of its kind": [each for each in routed if each.message.is_plain],
    }.items():
        found[name] = share(sum(each.routed_to.split(" ")[0] == each.message.agent for each in some), len(some))
    found["wrong"] = sorted(
        {
            f"{each.message.text}: {each.routed_to}"
            for each in routed
            if each.routed_to.split(" ")[0] != each.message.agent
        }
    )
    return found


def _peer(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for agent in ("music", "video"):
        some = [each for each in answers if each["agent"] == agent]
        if some:
            found[agent] = {
                "whole_s": percentiles([each["whole_s"] for each in some]),
                "found": share(sum(each["found"] for each in some), len(some)),
                "failed": share(sum(bool(each["failure"]) for each in some), len(some)),
                "failures": sorted({each["failure"] for each in some if each["failure"]}),
            }
    return found


if __name__ == "__main__":
    typer.run(main)
