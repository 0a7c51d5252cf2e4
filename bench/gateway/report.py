"""Reports a result of `bench.gateway`: Markdown tables and a plot."""

from pathlib import Path
from typing import Any

from bench.gateway.summary import AGAIN, DIRECT, LITELLM, OFF, ON
from bench.markdown import table

Result = dict[str, Any]

COLOURS = {DIRECT: "#1d4ed8", AGAIN: "#93c5fd", ON: "#c2410c", OFF: "#fdba74", LITELLM: "#6b7280"}
PERCENTILES = ("p50", "p99")


def markdown(result: Result) -> str:
    """The tables of docs/benchmarks.md."""
    return "\n\n".join([_added(result), _saturation(result), _ratios(result), _memory(result)]) + "\n"


def plot(result: Result, path: Path) -> None:
    """Added latency by rate (logarithmic), and requests by processor second at saturation, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), constrained_layout=True)
    for column, stream in enumerate((False, True)):
        mine = [each for each in result["conditions"] if each["stream"] == stream]
        _draw_added(axes[0][column], [each for each in mine if each["rate_per_s"]], stream)
        _draw_cost(axes[1][column], [each for each in mine if not each["rate_per_s"]])
    axes[0][0].legend(frameon=False, fontsize=8)
    machine = result["machine"]
    figure.suptitle(
        f"Before {result['upstream']['kind']}, {result['plan']['output_tokens']} tokens a request; "
        f"{machine['cores']} cores ({machine['cpu']}); commit {result['commit'][:9]}",
        fontsize=10,
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_added(axis: Any, conditions: list[Result], stream: bool) -> None:
    for row, side in enumerate((ON, OFF, LITELLM)):
        for index, each in enumerate(conditions):
            figures = each["added_ms"].get(side)
            at = index + (row - 1) * 0.25
            if figures is None:
                if side in each["sides"]:
                    axis.text(
                        at, 0.02, "does not\nkeep up", transform=axis.get_xaxis_transform(), fontsize=6, ha="center"
                    )
                continue
            for share, height in zip(PERCENTILES, (1.0, 0.35), strict=True):
                value = figures[f"e2e_{share}"]
                if value["value"] is not None and value["value"] > 0:
                    label = f"{side}, {share}" if index == 0 else None
                    axis.bar(at, value["value"], 0.22, color=COLOURS[side], alpha=height, label=label)
    axis.set_xlim(-0.6, len(conditions) - 0.4)
    axis.set_yscale("log")
    axis.set_xticks(range(len(conditions)), [f"{each['rate_per_s']:g}/s" for each in conditions])
    axis.set_ylabel("added to a whole request, ms (log)")
    axis.set_title("streamed" if stream else "not streamed")
    axis.spines[["top", "right"]].set_visible(False)


def _draw_cost(axis: Any, conditions: list[Result]) -> None:
    for each in conditions:
        sides = [side for side in (ON, OFF, LITELLM) if side in each["sides"]]
        heights = [_per_cpu_second(each["sides"][side]) for side in sides]
        bars = axis.bar(range(len(sides)), heights, 0.6, color=[COLOURS[side] for side in sides])
        axis.bar_label(bars, [f"{height:.0f}" for height in heights], fontsize=8)
        axis.set_xticks(range(len(sides)), sides)
    axis.set_ylabel("requests a processor second, saturated")
    axis.spines[["top", "right"]].set_visible(False)


def _per_cpu_second(side: Result) -> float:
    spent = sum(ms for role, ms in side["cpu_ms_a_request"].items() if role not in ("stub", "engine"))
    return 1000 / spent if spent else 0.0


def _added(result: Result) -> str:
    rows = []
    for each in result["conditions"]:
        if not each["rate_per_s"]:
            continue
        direct = each["sides"][DIRECT]
        base = f"{_both(direct['e2e_ms'])}{'; ' + _both(direct['ttft_ms']) if each['stream'] else ''}"
        rows.append([each["name"], DIRECT, f"({base})", ""])
        for side, numbers in each["sides"].items():
            if side == DIRECT:
                continue
            added = each["added_ms"].get(side)
            if added is None:
                rows.append([each["name"], side, f"does not keep up: {numbers['e2e_ms']['p50']:.0f} ms at p50", ""])
                continue
            whole, first = (
                " / ".join(_value(added.get(f"{kind}_{p}")) for p in PERCENTILES) for kind in ("e2e", "ttft")
            )
            rows.append([each["name"], side, whole, first if each["stream"] else ""])
    return (
        "Added ms, p50 / p99 (95 % interval over rounds); of the upstream itself, in brackets, the latency "
        "(whole; first token):\n\n" + table(["", "", "whole request", "first token"], rows)
    )


def _saturation(result: Result) -> str:
    rows = []
    for each in result["conditions"]:
        if each["rate_per_s"]:
            continue
        for side, numbers in each["sides"].items():
            costs = ", ".join(f"{role} {ms:.2f}" for role, ms in numbers["cpu_ms_a_request"].items())
            per_core = _per_cpu_second(numbers)
            low, high = min(numbers["requests_per_s_rounds"]), max(numbers["requests_per_s_rounds"])
            rate = f"{numbers['requests_per_s']:.0f} ({low:.0f}-{high:.0f})"
            rows.append([each["name"], side, rate, f"{per_core:.0f}" if per_core else "", costs])
    head = ["", "", "requests/s", "requests a processor second", "processor ms a request"]
    return "At saturation, median (least-greatest) of the rounds:\n\n" + table(head, rows)


def _ratios(result: Result) -> str:
    rows = [
        [each["name"], side, ", ".join(f"{what.replace('_', ' ')} {_value(ratio)}" for what, ratio in ratios.items())]
        for each in result["conditions"]
        for side, ratios in each.get("of_litellm", {}).items()
    ]
    return "As multiples of LiteLLM's:\n\n" + table(["", "", "ratio (95 % interval)"], rows)


def _memory(result: Result) -> str:
    rows = [
        [side, ", ".join(f"{role} {usage['pss_mb']:.0f}" for role, usage in roles.items())]
        + [f"{sum(usage['pss_mb'] for usage in result[when][side].values()):.0f}" for when in WHEN]
        for side, roles in result["memory_after"].items()
    ]
    return "PSS in MB:\n\n" + table(["", "by role, after the load", "before", "after"], rows)


WHEN = ("memory_before", "memory_after")


def _both(values: Result) -> str:
    return " / ".join("-" if values[share] is None else f"{values[share]:.2f}" for share in PERCENTILES)


def _value(figures: Result | None) -> str:
    if figures is None or figures["value"] is None:
        return "-"
    return f"{figures['value']:.2f} ({figures['low']:.2f} to {figures['high']:.2f})"
