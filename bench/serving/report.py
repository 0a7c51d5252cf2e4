"""Reports a result of `bench.serving`: Markdown tables and a plot."""

from pathlib import Path
from typing import Any

from bench.markdown import table

Result = dict[str, Any]

COLOURS = {"gateway": "#c2410c", "bare": "#1d4ed8", "control": "#93c5fd", "alone": "#6b7280"}
NAMES = {
    "gateway": "gateway",
    "bare": "engine directly",
    "control": "engine directly, again",
    "alone": "vLLM alone (no Bondhu, no Ray)",
}


def markdown(result: Result) -> str:
    """The tables of docs/benchmarks.md."""
    parts = [_throughput(result), _ratios(result), _latency(result), _cost(result), _start(result)]
    return "\n\n".join(parts) + "\n"


def plot(result: Result, path: Path) -> None:
    """Requests/s by concurrency, and each round's ratio, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), constrained_layout=True)
    for column, stream in enumerate((False, True)):
        conditions = [each for each in result["conditions"] if each["stream"] == stream]
        _draw_throughput(axes[0][column], conditions, "streamed" if stream else "not streamed")
        _draw_ratios(axes[1][column], conditions)
    axes[0][0].legend(frameon=False, fontsize=8)
    axes[1][0].legend(frameon=False, fontsize=8)
    machine = result["machine"]
    figure.suptitle(
        f"{result['model']['id']}, {result['plan']['output_tokens']} tokens a request, closed loop; "
        f"{machine['cores']} cores ({machine['cpu']}); commit {result['commit'][:9]}",
        fontsize=10,
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_throughput(axis: Any, conditions: list[Result], title: str) -> None:
    width = 0.2
    for place, side in enumerate(COLOURS):
        at = [index + (place - 1.5) * width for index in range(len(conditions))]
        heights = [each["sides"][side]["requests_per_s"] for each in conditions]
        axis.bar(at, heights, width * 0.9, color=COLOURS[side], label=NAMES[side])
        for x, each in zip(at, conditions, strict=True):
            rounds = each["sides"][side]["requests_per_s_rounds"]
            axis.plot([x, x], [min(rounds), max(rounds)], color="black", linewidth=0.8)
    axis.set_xticks(range(len(conditions)), [str(each["concurrency"]) for each in conditions])
    axis.set_xlabel("requests at a time")
    axis.set_ylabel("requests/s (median; line: all rounds)")
    axis.set_title(title)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_ratios(axis: Any, conditions: list[Result]) -> None:
    pairs = {"gateway/bare": "gateway", "control/bare": "control", "gateway/alone": "alone"}
    for place, (pair, side) in enumerate(pairs.items()):
        for index, each in enumerate(conditions):
            rounds = each["requests_per_s_ratios"][pair]["rounds"]
            x = index + (place - 1) * 0.22
            axis.plot([x] * len(rounds), rounds, "o", color=COLOURS[side], alpha=0.6, markersize=4)
            label = pair if index == 0 else None
            axis.plot([x - 0.08, x + 0.08], [each["requests_per_s_ratios"][pair]["median"]] * 2, color=COLOURS[side],
                      linewidth=2.5, label=label)  # fmt: skip
    axis.axhline(1.0, color="black", linewidth=0.6)
    axis.axhline(0.8, color="black", linewidth=0.6, linestyle="--")
    axis.set_xticks(range(len(conditions)), [str(each["concurrency"]) for each in conditions])
    axis.set_xlabel("requests at a time")
    axis.set_ylabel("ratio of requests/s, a dot a round")
    axis.spines[["top", "right"]].set_visible(False)


def _throughput(result: Result) -> str:
    rows = []
    for each in result["conditions"]:
        throughputs = [f"{each['sides'][side]['requests_per_s']:.1f}" for side in COLOURS]
        rows.append([_what(each), *throughputs, f"{each['sides']['gateway']['output_tokens_per_s']:.0f}"])
    return "Requests/s (median of the rounds):\n\n" + table(
        ["", *(NAMES[side] for side in COLOURS), "output tokens/s, gateway"], rows
    )


def _ratios(result: Result) -> str:
    pairs = ("gateway/bare", "control/bare", "gateway/alone", "bare/alone")
    rows = []
    for each in result["conditions"]:
        ratios = [each["requests_per_s_ratios"][pair] for pair in pairs]
        rows.append([_what(each), *(f"{it['median']:.2f} ({it['low']:.2f}-{it['high']:.2f})" for it in ratios)])
    return "Ratio of requests/s within a round, median (least-greatest):\n\n" + table(["", *pairs], rows)


def _latency(result: Result) -> str:
    rows = []
    for each in result["conditions"]:
        for side in ("gateway", "bare", "alone"):
            numbers = each["sides"][side]
            rows.append(
                [_what(each), NAMES[side]]
                + [_triple(numbers[name]) for name in ("e2e_ms", "ttft_ms", "inter_token_ms")]
            )
    return "Latency in ms, p50 / p95 / p99 over all rounds:\n\n" + table(
        ["", "", "whole request", "time to first token", "between tokens"], rows
    )


def _cost(result: Result) -> str:
    roles = ("gateway", "vLLM API server", "vLLM EngineCore", "vLLM worker")
    rows = []
    for each in result["conditions"]:
        spent = each["sides"]["gateway"]["cpu_ms_a_request"]
        others = sum(ms for role, ms in spent.items() if role not in roles)
        share = each["sides"]["gateway"]["load_generator_cpu_share"]
        rows.append([_what(each), *(f"{spent.get(role, 0):.2f}" for role in roles), f"{others:.2f}", f"{share:.0%}"])
    title = "Processor time in ms a request through the gateway (EngineCore and worker spin while they wait):"
    head = ["", *roles, "all else of the stack", "load generator, of one core"]
    return f"{title}\n\n{table(head, rows)}"


def _start(result: Result) -> str:
    memory = result["memory"]
    rows = [[role, str(each["processes"]), f"{each['pss_mb']:.0f}"] for role, each in memory.items()]
    total = sum(each["pss_mb"] for each in memory.values())
    rows.append(["**total**", str(sum(each["processes"] for each in memory.values())), f"**{total:.0f}**"])
    return (
        f"`bondhu up` to the first token: {result['first_token_s']:.1f} s. Memory afterwards, before the load "
        "(PSS in MB):\n\n" + table(["role", "processes", "PSS"], rows)
    )


def _what(condition: Result) -> str:
    return f"{'streamed' if condition['stream'] else 'plain'}, {condition['concurrency']}"


def _triple(values: dict[str, float | None]) -> str:
    return " / ".join("-" if value is None else f"{value:.1f}" for value in values.values())
