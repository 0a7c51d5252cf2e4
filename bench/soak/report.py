"""Reports a soak: a table by role, the slope of the second half with its interval, a plot."""

from pathlib import Path
from typing import Any

from bench.markdown import table
from bench.soak.trend import slope

Result = dict[str, Any]
EVERY = 3  # samples that follow each other are not independent


def markdown(result: Result) -> str:
    """Memory before, at most and at the end, by role; the slope; throughput and errors."""
    samples = result["samples"]
    second = samples[len(samples) // 2 :]
    hours = [each["at_s"] / 3600 for each in second]
    roles = sorted(samples[-1]["pss_mb"], key=lambda role: -samples[-1]["pss_mb"][role])
    rows = []
    for role in roles:
        values = [each["pss_mb"].get(role, 0.0) for each in second]
        greatest = max(each["pss_mb"].get(role, 0.0) for each in samples)
        before = result["before"]["pss_mb"].get(role, 0.0)
        rows.append([role, f"{before:.0f}", f"{greatest:.0f}", f"{values[-1]:.0f}", _slope(hours, values)])
    totals = [each["total_mb"] for each in second]
    highest = max(each["total_mb"] for each in samples)
    total = [f"{result['before']['total_mb']:.0f}", f"{highest:.0f}", f"{totals[-1]:.0f}", _slope(hours, totals)]
    rows.append(["**total**", *total])
    answered = sum(each["answered"] for each in samples)
    failed = sum(sum(each["errors"].values()) for each in samples)
    minutes = samples[-1]["at_s"] / 60
    halves = [
        sum(each["answered"] for each in half) / max(1e-9, half[-1]["at_s"] - half[0]["at_s"])
        for half in (samples[: len(samples) // 2], second)
        if len(half) > 1
    ]
    words = (
        f"{minutes:.1f} minutes, {result['people']} people, {answered} answers, {failed} errors; answers/s in the "
        f"first and second half: {', '.join(f'{each:.2f}' for each in halves)}. PSS in MB:"
    )
    head = ["role", "before", "at most", "at the end", "MB an hour, second half"]
    return f"{words}\n\n{table(head, rows)}"


def _slope(hours: list[float], values: list[float]) -> str:
    found = slope(hours, values, EVERY)
    return "-" if found is None else f"{found.value:+.0f} ± {found.half_width:.0f}"


def plot(result: Result, path: Path) -> None:
    """Memory by role, answers and errors over time, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    samples = result["samples"]
    minutes = [each["at_s"] / 60 for each in samples]
    roles = sorted(samples[-1]["pss_mb"], key=lambda role: -samples[-1]["pss_mb"][role])[:8]
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 7), sharex=True, constrained_layout=True)
    above.stackplot(minutes, [[each["pss_mb"].get(role, 0.0) for each in samples] for role in roles], labels=roles)
    above.plot(minutes, [each["total_mb"] for each in samples], color="black", linewidth=1, label="total")
    above.set_ylabel("PSS, MB")
    above.legend(frameon=False, fontsize=7, ncols=3, loc="lower right")
    steps = [later - earlier for earlier, later in zip([0.0, *minutes], minutes, strict=False)]
    rates = [each["answered"] / max(1e-9, 60 * step) for each, step in zip(samples, steps, strict=True)]
    errors = [sum(each["errors"].values()) / max(1e-9, 60 * step) for each, step in zip(samples, steps, strict=True)]
    below.plot(minutes, rates, color="#1d4ed8", label="answers/s")
    below.plot(minutes, errors, color="#c2410c", label="errors/s")
    below.set_xlabel("minutes")
    below.legend(frameon=False, fontsize=8)
    for axis in (above, below):
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{result['model']}, {result['people']} people who talk with memory; commit {result['commit'][:9]}")
    figure.savefig(path, dpi=120)
    plt.close(figure)
