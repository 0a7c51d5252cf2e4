"""The Grafana dashboard without Grafana: its panels' queries, and a picture of what they return."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.prometheus import ROOT, Prometheus

FILE = ROOT / "deploy/grafana/bondhu.json"
COLUMNS = 4


@dataclass(frozen=True)
class Panel:
    """A panel: its title and unit, and (expression, legend) of each of its queries."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]


def panels(interval: str) -> Iterator[Panel]:
    """Return all panels, with everything chosen and this interval for rates."""
    for panel in json.loads(FILE.read_text())["panels"]:
        if panel["type"] == "row":
            continue
        queries = []
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", interval)
            for variable in ("$model", "$class"):
                expression = expression.replace(variable, ".*")
            queries.append((expression, target.get("legendFormat", "")))
        yield Panel(panel["title"], panel["fieldConfig"]["defaults"].get("unit", ""), tuple(queries))


def has_data(prometheus: Prometheus, expression: str) -> bool:
    """Whether a query returns a number now."""
    return any(math.isfinite(float(each["value"][1])) for each in prometheus.query(expression))


def draw(prometheus: Prometheus, start: float, end: float, interval: str, file: Path) -> None:
    """Draw every panel over this time into one PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    found = list(panels(interval))
    rows = math.ceil(len(found) / COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(22, 3.2 * rows), constrained_layout=True)
    for axis, panel in zip(axes.flat, found, strict=False):
        axis.set_title(f"{panel.title} [{panel.unit}]", fontsize=9)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        for expression, legend in panel.queries:
            for series in prometheus.query_range(expression, start, end, 1):
                values = [(float(at) - start, float(value)) for at, value in series["values"]]
                axis.plot(*zip(*values, strict=True), linewidth=1, label=_label(legend, series["metric"]))
        axis.set_ylim(bottom=0)
        if axis.lines:
            axis.legend(fontsize=6, loc="upper left")
    for axis in axes.flat[len(found) :]:
        axis.set_visible(False)
    figure.savefig(file, dpi=70)
    plt.close(figure)


def _label(legend: str, labels: dict[str, Any]) -> str:
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", str(value))
    return legend or ", ".join(
        f"{value}" for name, value in labels.items() if name not in ("__name__", "instance", "job")
    )
