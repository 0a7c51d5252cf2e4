"""The tables and the picture of a result of `bench.agents`."""

from pathlib import Path
from typing import Any

from bench.markdown import table


def markdown(result: dict[str, Any]) -> str:
    """All of it in words."""
    load = ", ".join(f"{each:.1f}" for each in result["machine"]["load_average_before"])
    head = (
        f"Commit {result['commit']}, {result['at']}, model `{result['model']}`, {result['machine']['cores']} cores of "
        f"{result['machine']['cpu']}, load average before: {load}. "
        f"Each message {result['rounds']} times, one at a time."
    )
    latency = table(
        ["side", "answers", "first words p50 / p95, s", "whole p50 / p95, s", "the model's part", "runs with a model"],
        [
            [
                side,
                str(each["answers"]),
                _two(each["first_s"]),
                _two(each["whole_s"]),
                "-" if each["model_share"] is None else f"{each['model_share']:.0%}",
                str(each["with_model"]),
            ]
            for side, each in result["latency"].items()
        ],
    )
    routes = table(
        ["messages", "sent to the right agent"],
        [[name, _share(each)] for name, each in result["routes"].items() if name != "wrong"],
    )
    peer = table(
        [
            "agent",
            "ours: whole p50 / p95, s",
            "pydantic-ai: whole p50 / p95, s",
            "it found something",
            "its run failed",
        ],
        [
            [
                agent,
                _two(result["latency"][agent]["whole_s"]),
                _two(each["whole_s"]),
                _share(each["found"]),
                _share(each["failed"]),
            ]
            for agent, each in result["peer"].items()
        ],
    )
    repaired = table(
        ["agent", "runs with a repair"], [[name, _share(each)] for name, each in result["repaired"].items()]
    )
    wrong = [f"* {each}" for each in result["routes"]["wrong"]]
    parts = ["# Agents", head, latency, "## Routes", routes, *(["Wrong:", "\n".join(wrong)] if wrong else [])]
    parts += ["## Repairs", repaired, "## pydantic-ai's agent with the same tools on the same model", peer]
    return "\n\n".join(parts) + "\n"


def _two(value: dict[str, float | None]) -> str:
    return "-" if value["p50"] is None else f"{value['p50']:.2f} / {value['p95']:.2f}"


def _share(value: dict[str, Any]) -> str:
    return f"{value['hits']} of {value['of']} ({value['ci95'][0]:.0%}-{value['ci95'][1]:.0%})"


def plot(result: dict[str, Any], file: Path) -> None:
    """Median and p95 of first words and of the whole, by side."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sides = list(result["latency"])
    figure, axes = plt.subplots(figsize=(8, 4))
    for offset, (name, label) in zip((-0.2, 0.2), (("first_s", "first words"), ("whole_s", "whole")), strict=True):
        values = [result["latency"][side][name] for side in sides]
        medians = [each["p50"] or 0.0 for each in values]
        longest = [(each["p95"] or 0.0) - median for each, median in zip(values, medians, strict=True)]
        places = [number + offset for number in range(len(sides))]
        axes.bar(places, medians, 0.38, label=f"{label}, p50 with p95", yerr=[[0.0] * len(sides), longest], capsize=3)
    axes.set_xticks(range(len(sides)), sides)
    axes.set_ylabel("seconds")
    axes.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=150)
