"""Writes docs/capacity.md from a result of `bench.b2s`, and draws it."""

from pathlib import Path
from typing import Any

from bench.markdown import table

Result = dict[str, Any]
TITLES = {"burst": "with CPU credits", "sustained": "without credits"}
COLOURS = {"burst": "#c2410c", "sustained": "#1d4ed8"}


def document(result: Result) -> str:
    """The page."""
    machine, regimes = result["machine"], result["regimes"]
    quotas = "; ".join(
        f"{TITLES[name]}: {', '.join(f'{service} {cores:g}' for service, cores in regime['cores'].items())}"
        for name, regime in regimes.items()
    )
    return f"""# What the small machine holds

<!-- Written by `python -m bench.b2s` from bench/results/b2s.json. Do not edit. -->

The containers of [docker-compose.cpu.yml](../docker-compose.cpu.yml), unchanged in memory, under two CPU quotas. An
Azure B2s has 2 vCPU that live on credits: it may use 20 % of each for ever, and more while credits last. Quotas in
cores: {quotas}.

Requests arrive at random (Poisson), however many are still unanswered, and latency counts from the drawn arrival. A
rate is **held** if at most 1 % of the requests failed and the p95 is within the guide's upper bound. Rates rise until
one is not held. The default model of this machine answers: SmolLM2-135M in 4 bits under llama.cpp, two conversations at
a time.

Measured {result["at"][:10]} at commit {result["commit"][:9]} on {machine["cores"]} cores ({machine["cpu"]}), load
average before {machine["load_average_before"][0]:.1f}; the load generator ran on the same machine. Each rate was kept
up for {8 * result.get("scale", 1):.0f} to {30 * result.get("scale", 1):.0f} s, so a tail is a few requests. Other
work on the machine delays both regimes, and not both alike. An Azure machine was not measured: its cores differ.

{_held(result)}

{_others(result)}

{chr(10).join(result.get("notes", ()))}

What each rate came to:

{_points(result)}

![p95 latency by rate](../bench/results/b2s.png)
"""


def _held(result: Result) -> str:
    rows = []
    for name, kind in _kinds(result).items():
        row = [name, kind["guide"] or "-"]
        for regime in result["regimes"].values():
            if name not in regime["kinds"]:
                row.append("not measured")
                continue
            points = regime["kinds"][name]["points"]
            held = [each for each in points if each["held"]]
            if held:
                row.append(f"{held[-1]['rate_per_s']:g}/s, {_latency(held[-1])}")
            else:
                row.append(f"not {points[0]['rate_per_s']:g}/s ({_latency(points[0])})")
        rows.append(row)
    head = ["", "the guide", *(f"held {TITLES[name]}: rate, p50 / p95" for name in result["regimes"])]
    return table(head, rows)


def _kinds(result: Result) -> Result:
    """Every kind that was measured in one of the regimes."""
    return {name: kind for regime in result["regimes"].values() for name, kind in regime["kinds"].items()}


def _others(result: Result) -> str:
    rows = [
        [
            "jobs a minute, three kinds, each again when done", "5 to 10",
            *(f"{each['jobs_a_minute']:g}" for each in _each(result)),
        ],
        [
            "Redis operations/s, the generator in the same quota", "500 to 1,000",
            *(f"{each['redis_operations_per_s']:,}" for each in _each(result)),
        ],
    ]  # fmt: skip
    return table(["", "the guide", *(TITLES[name] for name in result["regimes"])], rows)


def _points(result: Result) -> str:
    rows = []
    for name, regime in result["regimes"].items():
        for kind, about in regime["kinds"].items():
            for each in about["points"]:
                errors = ", ".join(f"{count} x {what}" for what, count in each["errors"].items())
                rows.append(
                    [kind, TITLES[name], f"{each['rate_per_s']:g}", f"{each['answered']} of {each['sent']}",
                     _latency(each), "yes" if each["held"] else f"no{'; ' + errors if errors else ''}",
                     f"{each['cpu_s']['api'] / max(1, each['answered']) * 1000:.0f}",
                     f"{each['memory_mib']['api']:.0f}"]
                )  # fmt: skip
    head = ["", "", "requests/s", "answered", "p50 / p95 ms", "held", "api: CPU ms a request", "api: MiB"]
    return table(head, rows)


def _each(result: Result) -> list[Result]:
    return list(result["regimes"].values())


def _latency(point: Result) -> str:
    values = point["latency_ms"]
    return " / ".join("-" if values[name] is None else f"{values[name]:.0f}" for name in ("p50", "p95")) + " ms"


def plot(result: Result, path: Path) -> None:
    """p95 by rate, a panel for each kind, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = list(_kinds(result))
    rows = -(-len(names) // 4)
    figure, axes = plt.subplots(rows, 4, figsize=(14, 3 * rows), constrained_layout=True, squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        for regime, found in result["regimes"].items():
            if name not in found["kinds"]:
                continue
            points = [each for each in found["kinds"][name]["points"] if each["latency_ms"]["p95"] is not None]
            axis.plot(
                [each["rate_per_s"] for each in points], [each["latency_ms"]["p95"] for each in points],
                "o-", color=COLOURS[regime], label=TITLES[regime],
            )  # fmt: skip
            axis.axhline(1000 * found["kinds"][name]["bound_s"], color="black", linewidth=0.6, linestyle="--")
        axis.set_title(name, fontsize=9)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.supxlabel("requests/s")
    figure.supylabel("p95, ms (dashed: the bound)")
    figure.savefig(path, dpi=110)
    plt.close(figure)
