"""Reports a result of `bench.memory.people`: Markdown tables and a plot."""

from pathlib import Path
from typing import Any

from bench.markdown import table

Result = dict[str, Any]
COLOURS = ("#c2410c", "#1d4ed8", "#6b7280")


def markdown(result: Result) -> str:
    """The tables of docs/memory.md."""
    return "\n\n".join((_alike(result["alike"]), _mixed(result["mixed"]), _writes(result), _search(result))) + "\n"


def plot(result: Result, path: Path) -> None:
    """Hits and misses by size, writes, and the nearest vectors beside a peer, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), constrained_layout=True)
    _draw_recall(axes[0], result["mixed"][-1])
    _draw_writes(axes[1], result["writes"])
    _draw_search(axes[2], result["search"])
    machine = result["machine"]
    figure.suptitle(
        f"memory, 1,000 people; {machine['cores']} cores ({machine['cpu']}); commit {result['commit'][:9]}", fontsize=10
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _alike(figures: Result) -> str:
    head = ["people", "turns each", "first recall, ms", "next, ms", "hits", "MB a view (PSS)", "MB as counted"]
    row = [
        f"{figures['people']:,}",
        f"{figures['turns']:,}",
        _pair(figures["first_recall_ms"]),
        _pair(figures["next_recall_ms"]),
    ]
    row += [f"{figures['hit_share']:.0%}", f"{figures['view_mb_pss']:.2f}", f"{figures['view_mb_told']:.2f}"]
    return table(head, [row])


def _mixed(stages: list[Result]) -> str:
    sizes = list(stages[0]["people"])
    people = " + ".join(f"{count:,} of {int(size):,}" for size, count in stages[0]["people"].items())
    head = [f"index_bytes ({people} turns)", "hits", "views kept", "MB as counted"]
    head += [f"hit, {int(size):,} turns, ms" for size in sizes] + [f"miss, {int(size):,} turns, ms" for size in sizes]
    rows = [
        [
            f"{each['index_mib']:,} MiB",
            f"{each['hit_share']:.0%}",
            str(each["views_kept"]),
            f"{each['views_mb_told']:.0f}",
            *(_pair(each["hit_ms"][size]) for size in sizes),
            *(_pair(each["miss_ms"][size]) for size in sizes),
        ]
        for each in stages
    ]
    return table(head, rows)


def _writes(result: Result) -> str:
    writes = result["writes"]
    conditions = [(kind, writers) for kind, by in next(iter(writes.values())).items() for writers in by]
    head = ["stored/s", *(f"{kind}, {writers} writer{'s' * (writers != '1')}" for kind, writers in conditions)]
    return table(
        head,
        [[database, *(f"{by[kind][writers]:,.0f}" for kind, writers in conditions)] for database, by in writes.items()],
    )


def _search(result: Result) -> str:
    figures = result["search"]
    head = [f"{figures['nearest']} nearest of {figures['turns']:,}", "ms", "processor's, ms", "ratio, each round"]
    rows = [
        [name, _pair(figures["ms"][name]), _pair(figures["cpu_ms"][name]), f"{min(ratios):.2f} to {max(ratios):.2f}"]
        for name, ratios in figures["over_ours"].items()
    ]
    return table(head, rows)


def _pair(values: dict[str, Any]) -> str:
    """p50 / p99, or nothing where nothing was seen."""
    return "-" if values["p50"] is None else f"{values['p50']:.2f} / {values['p99']:.2f}"


def _draw_recall(axis: Any, stage: Result) -> None:
    sizes = list(stage["people"])
    for index, (what, label) in enumerate((("hit_ms", "its view is there"), ("miss_ms", "its view is made"))):
        at = [number + (index - 0.5) * 0.4 for number in range(len(sizes))]
        axis.bar(at, [stage[what][size]["p50"] or 0 for size in sizes], 0.38, color=COLOURS[index], label=label)
    axis.set_yscale("log")
    axis.set_xticks(range(len(sizes)), [f"{int(size):,}" for size in sizes])
    axis.set_xlabel("turns")
    axis.set_ylabel("a recall, p50, ms")
    _finish(axis)


def _draw_writes(axis: Any, writes: Result) -> None:
    conditions = [(kind, writers) for kind, by in next(iter(writes.values())).items() for writers in by]
    for index, (database, by) in enumerate(writes.items()):
        at = [number + (index - 0.5) * 0.4 for number in range(len(conditions))]
        axis.bar(at, [by[kind][writers] for kind, writers in conditions], 0.38, color=COLOURS[index], label=database)
    axis.set_xticks(range(len(conditions)), [_stacked(kind, writers) for kind, writers in conditions], fontsize=7)
    axis.set_yscale("log")
    axis.set_ylabel("stored/s")
    _finish(axis)


def _stacked(kind: str, writers: str) -> str:
    return kind.replace(" ", "\n", 1) + f"\n{writers} at once"


def _draw_search(axis: Any, figures: Result) -> None:
    for index, (name, ratios) in enumerate(figures["over_ours"].items()):
        axis.plot([index] * len(ratios), ratios, "o", color=COLOURS[index], alpha=0.6, label=name)
    axis.set_yscale("log")
    axis.set_xticks([])
    axis.set_ylabel(f"{figures['nearest']} nearest of {figures['turns']:,}: time over ours, each round")
    _finish(axis)


def _finish(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
