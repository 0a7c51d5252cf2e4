"""The detections and false alarms of the safety step: `python -m bench.safety`.

It uses the test part of agents/safety/data, whose templates the classifier never saw, and conversations. The author of
the messages also wrote the rules, and tuned them on the other parts: expect less with real people's words. Caught means
VEILED or above, for any danger. Intervals: Wilson's, 95 %. Three detectors: rules alone, the classifier alone, both.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from typing import Any

from agents.safety.detection.classifier import Classifier
from agents.safety.detection.dataset import DATA, Example, read_examples
from agents.safety.risk import Level
from agents.safety.step import SafetyStep
from bench.environment import RESULTS, commit, machine, write_result
from bench.markdown import table
from bench.percentiles import percentiles
from bench.safety.training import embed, embedder
from models.chat import ChatMessage

READERS = ("rules", "classifier", "both")
Z = 1.96
Outcome = tuple[Example, dict[str, Level]]


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Wilson's interval of a share: https://doi.org/10.1080/01621459.1927.10502953."""
    if not of:
        return 0.0, 1.0
    share, square = hits / of, Z * Z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = Z / (1 + square / of) * sqrt(share * (1 - share) / of + square / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def share(hits: int, of: int) -> dict[str, Any]:
    """A share with its interval, rounded."""
    low, high = wilson(hits, of)
    return {
        "hits": hits,
        "of": of,
        "share": round(hits / of, 4) if of else None,
        "ci95": [round(low, 4), round(high, 4)],
    }


def main() -> None:
    """Measure, write JSON, Markdown and the picture."""
    result = asyncio.run(measure())
    write_result("safety", result, markdown(result))
    plot(result, RESULTS / "safety.png")
    print(markdown(result))


async def measure() -> dict[str, Any]:
    """Read everything with each reader."""
    examples = read_examples()
    tested = [each for each in examples if each.part == "test"]
    model, classifier = embedder(), Classifier()

    async def embed_texts(texts: Sequence[str]) -> Sequence[Any]:
        return list(await asyncio.to_thread(embed, model, texts))

    rules = SafetyStep()
    both = SafetyStep(embed=embed_texts, classifier=classifier, max_wait_s=60)
    outcomes: list[Outcome] = []
    milliseconds = []
    for example, vector in zip(tested, embed(model, [each.text for each in tested]), strict=True):
        began = time.perf_counter()
        by_rules = rules.assess_now([example.text]).level
        milliseconds.append((time.perf_counter() - began) * 1e3)
        guessed = classifier.read(vector, example.language).level
        combined = await both.assess([ChatMessage("user", example.text)])
        outcomes.append((example, {"rules": by_rules, "classifier": guessed, "both": combined.level}))
    return {
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "lines": len(examples),
        "templates": len({each.template for each in examples}),
        "by_language": Counter(each.language for each in examples),
        "tested": {"lines": len(tested), "templates": len({each.template for each in tested})},
        "recall": _recall(outcomes),
        "false_alarms": _false_alarms(outcomes),
        "conversations": await _conversations(rules, both),
        "misses": [
            _shown(each, levels) for each, levels in outcomes if _is_danger(each) and not _caught(levels["both"])
        ],
        "alarms": [
            _shown(each, levels) for each, levels in outcomes if not _is_danger(each) and _caught(levels["both"])
        ],
        "rules_ms": percentiles(milliseconds),
    }


def _is_danger(example: Example) -> bool:
    return example.level >= Level.VEILED


def _caught(level: Level) -> bool:
    return level >= Level.VEILED


def _shown(example: Example, levels: dict[str, Level]) -> dict[str, str]:
    return {"language": example.language, "kind": example.kind, "text": example.text} | {
        reader: level.name for reader, level in levels.items()
    }


def _recall(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    groups: dict[str, list[dict[str, Level]]] = defaultdict(list)
    for example, levels in outcomes:
        if _is_danger(example):
            for group in (example.kind, f"{example.kind} {example.language}", f"all {example.language}", "all"):
                groups[group].append(levels)
    return {
        group: {reader: share(sum(_caught(levels[reader]) for levels in found), len(found)) for reader in READERS}
        for group, found in sorted(groups.items())
    }


def _false_alarms(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    groups: dict[str, list[dict[str, Level]]] = defaultdict(list)
    for example, levels in outcomes:
        if not _is_danger(example):
            hard = "harmless" if example.kind.startswith("none") else "distress"
            for group in (example.kind, f"{hard} {example.language}", hard):
                groups[group].append(levels)
    return {
        group: {reader: share(sum(_caught(levels[reader]) for levels in found), len(found)) for reader in READERS}
        for group, found in sorted(groups.items())
    }


async def _conversations(rules: SafetyStep, both: SafetyStep) -> dict[str, Any]:
    import yaml

    written = yaml.safe_load((DATA / "conversations.yaml").read_text("utf-8"))
    result: dict[str, Any] = {"wrong": []}
    for kind, by_language in written.items():
        for language, conversations in by_language.items():
            right: Counter[str] = Counter()
            for turns in conversations:
                levels = {
                    "rules": rules.assess_now(turns).level,
                    "both": (await both.assess([ChatMessage("user", turn) for turn in turns])).level,
                }
                for reader, level in levels.items():
                    right[reader] += _caught(level)
                if _caught(levels["both"]) != (kind == "danger"):
                    result["wrong"].append({"kind": kind, "turns": turns} | {k: v.name for k, v in levels.items()})
            result[f"{kind} {language}"] = {r: share(right[r], len(conversations)) for r in ("rules", "both")}
    return result


def markdown(result: dict[str, Any]) -> str:
    """The tables, and every miss."""
    tested = result["tested"]
    parts = [
        f"{result['lines']} lines of {result['templates']} templates; measured on {tested['lines']} lines of "
        f"{tested['templates']} templates that the classifier did not learn from. Rules: p50 "
        f"{result['rules_ms']['p50']:.2f} ms, p99 {result['rules_ms']['p99']:.2f} ms a message.",
        "Recall:\n\n" + _table(result["recall"], READERS),
        "False alarms:\n\n" + _table(result["false_alarms"], READERS),
        "Conversations, share that is taken for a danger:\n\n"
        + _table({k: v for k, v in result["conversations"].items() if k != "wrong"}, ("rules", "both")),
    ]
    for title, listed in (("Misses", result["misses"]), ("False alarms, each", result["alarms"])):
        lines = [f"- {each['kind']} {each['language']}: {each['text']}" for each in listed] or ["- none"]
        parts.append(f"{title}:\n\n" + "\n".join(lines))
    wrong = [f"- {each['kind']}: {' / '.join(each['turns'])}" for each in result["conversations"]["wrong"]] or [
        "- none"
    ]
    parts.append("Conversations taken wrongly:\n\n" + "\n".join(wrong))
    return "\n\n".join(parts) + "\n"


def _table(groups: dict[str, Any], readers: Sequence[str]) -> str:
    rows = []
    for group, by_reader in groups.items():
        cells = [
            f"{by_reader[reader]['share']:.2f} ({by_reader[reader]['ci95'][0]:.2f}-{by_reader[reader]['ci95'][1]:.2f})"
            for reader in readers
        ]
        rows.append([group, str(by_reader[readers[0]]["of"]), *cells])
    return table(["", "lines", *readers], rows)


def plot(result: dict[str, Any], path: Path) -> None:
    """Recall by level and language, and false alarms, with intervals, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 5), constrained_layout=True)
    recall = {
        k: v
        for k, v in result["recall"].items()
        if k.split(" ")[0] in ("self_harm.explicit", "self_harm.veiled", "all")
    }
    alarms = {k: v for k, v in result["false_alarms"].items() if k.startswith(("none", "harmless"))}
    for axis, groups, title in ((axes[0], recall, "caught"), (axes[1], alarms, "false alarms")):
        for place, (reader, colour) in enumerate(zip(READERS, ("#1d4ed8", "#93c5fd", "#c2410c"), strict=True)):
            at = [index + (place - 1) * 0.25 for index in range(len(groups))]
            shares = [each[reader]["share"] for each in groups.values()]
            low = [each[reader]["share"] - each[reader]["ci95"][0] for each in groups.values()]
            high = [each[reader]["ci95"][1] - each[reader]["share"] for each in groups.values()]
            error = {"linewidth": 0.8}
            spread = [[max(0, each) for each in side] for side in (low, high)]
            axis.barh(at, shares, 0.23, xerr=spread, color=colour, label=reader, error_kw=error)
        axis.set_yticks(range(len(groups)), list(groups))
        axis.set_xlim(0, 1)
        axis.invert_yaxis()
        axis.set_title(f"{title} (share, 95 % Wilson)")
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
