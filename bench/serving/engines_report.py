"""Reports a result of `bench.serving.engines`: a Markdown table and a plot."""

from pathlib import Path
from statistics import median
from typing import Any

from bench.markdown import table

Result = dict[str, Any]
LABELS = {"base": "the model", "companion": "its companion adapter"}


def markdown(result: Result) -> str:
    """A row a side and model id; medians over rounds, with the least and the greatest."""
    machine, plan = result["machine"], result["plan"]
    head = (
        f"{plan['rounds']} rounds, {plan['tokens']} tokens an answer, one thread; {machine['cores']} cores "
        f"({machine['cpu']}, AVX-512 {'yes' if machine['avx512'] else 'no'}); load average "
        f"{machine['load_average_before'][0]:.1f} before, {result['load_average_after'][0]:.1f} after; "
        f"commit {result['commit'][:9]}"
    )
    rows = [
        [
            side["side"],
            LABELS[role],
            _spread(side["single"][role]),
            _spread(side["several"][role]),
            _spread(side["ttft_s"][role]),
            _spread(side["cpu_ms"][role]),
            _spread(side["several_cpu_ms"][role]),
            _spread(side["ttft_cpu_s"][role]),
            f"{side['idle_mb']:.0f} / {side['loaded_mb']:.0f}",
            f"{side['first_token_s']:.0f}",
        ]
        for side in result["sides"]
        for role in side["single"]
    ]
    heads = ["", "model", "tokens/s, 1 stream", f"tokens/s, {plan['at_once']} streams", "first token of 520, s"]
    heads += ["processor ms a token, 1 stream", f"{plan['at_once']} streams", "processor s of 520"]
    heads += ["PSS MB idle / after", "boot, s"]
    return f"{head}\n\n{table(heads, rows)}\n"


def plot(result: Result, path: Path) -> None:
    """Speed of one and of several streams, and memory, side by side; lines reach over all rounds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sides, plan = result["sides"], result["plan"]
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), constrained_layout=True)
    panels = (("single", "tokens/s, one stream"), ("several", f"tokens/s, {plan['at_once']} streams"))
    for axis, (key, title) in zip(axes, panels, strict=False):
        for index, (role, colour) in enumerate((("base", "#1d4ed8"), ("companion", "#c2410c"))):
            for at, side in enumerate(sides):
                values = side[key].get(role)
                if values:
                    x = at + (index - 0.5) * 0.4
                    axis.bar(x, median(values), 0.36, color=colour, label=LABELS[role] if at == 0 else None)
                    axis.plot([x, x], [min(values), max(values)], color="black", linewidth=0.8)
        axis.set_title(title)
    axes[0].legend(frameon=False, fontsize=8)
    axes[2].bar(range(len(sides)), [side["loaded_mb"] for side in sides], 0.5, color="#6b7280")
    axes[2].set_title("memory after the load, MB (PSS)")
    for axis in axes:
        axis.set_xticks(range(len(sides)), [side["side"].replace(" ", "\n") for side in sides], fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"SmolLM2-135M-Instruct, one thread; {result['machine']['cpu']}; commit {result['commit'][:9]}")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _spread(values: list[float]) -> str:
    return f"{median(values):g} ({min(values):g} to {max(values):g})"
