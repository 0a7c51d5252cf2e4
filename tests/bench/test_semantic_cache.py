"""The measurement behind the semantic cache's threshold."""

from pathlib import Path

import orjson
import pytest

from bench.serving import semantic_cache
from bench.serving.semantic_cache import PARTS
from serving.config.schema import SemanticCacheSettings

RESULTS = Path(__file__).parents[2] / "bench/results"


def test_the_threshold_is_the_measured_one() -> None:
    """The default is what `python -m bench.serving.semantic_cache` chose, on the pairs and the words as they are."""
    result = orjson.loads((RESULTS / "semantic-cache.json").read_bytes())
    assert SemanticCacheSettings().threshold == result["threshold"]
    pairs = semantic_cache.read_pairs()
    for part, expected in result["told_apart"].items():
        assert semantic_cache.distinguished([pair for pair in pairs if pair.part == part]) == expected


def test_no_question_is_in_both_parts_of_the_measurement() -> None:
    """What the threshold is tried on was not there when it was chosen."""
    pairs = semantic_cache.read_pairs()
    chosen, held_out = (
        {text for pair in pairs if pair.part == part for text in (pair.one, pair.other)} for part in PARTS
    )
    assert len(pairs) >= 300
    assert chosen.isdisjoint(held_out)


def test_the_bound_is_wilsons() -> None:
    """Known values of the interval's upper end: no hit of 10, and 8 of 10."""
    assert semantic_cache.upper_bound(0, 10) == pytest.approx(0.2775, abs=1e-4)
    assert semantic_cache.upper_bound(8, 10) == pytest.approx(0.9433, abs=1e-4)


def test_the_least_threshold_whose_bound_holds_is_chosen() -> None:
    """Not one below which it holds again by chance; none when it holds nowhere."""
    rows = [{"threshold": at, "false_hit_upper": upper} for at, upper in ((0.8, 0.01), (0.9, 0.5), (0.95, 0.01))]
    assert semantic_cache.choose(rows) == 0.95
    assert semantic_cache.choose(rows[:2]) is None
