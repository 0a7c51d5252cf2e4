"""The arithmetic and the pages of the soak and of the small machine's benchmark."""

import random

import orjson

from bench.b2s import report as b2s_report
from bench.b2s.kinds import KINDS, chats
from bench.soak import report as soak_report
from bench.soak.trend import slope


def test_a_slope_has_its_interval() -> None:
    """A straight line has none; what only jitters has a slope within it."""
    line = slope([0, 1, 2, 3], [5, 7, 9, 11])
    assert line is not None
    assert (round(line.value, 9), round(line.half_width, 9)) == (2, 0)
    jitter = slope(list(range(12)), [10, 11] * 6)
    assert jitter is not None
    assert abs(jitter.value) < jitter.half_width
    assert slope([0, 1], [1, 2]) is None


def test_the_share_of_cached_chats_is_what_was_asked_for() -> None:
    """Half of the bodies are one and the same, the others all differ."""
    bodies = chats(8, 0.5)(random.Random(1))
    drawn = [next(bodies) for _ in range(400)]
    repeated = max(drawn.count(each) for each in set(drawn))
    assert 150 < repeated < 250
    assert len(set(drawn)) == 400 - repeated + 1
    assert all(orjson.loads(body)["max_tokens"] == 8 for body in drawn)


def test_the_page_names_every_kind_in_both_regimes() -> None:
    """What was held and what was not."""
    latency = {"p50": 10.0, "p95": 20.0, "p99": 30.0}
    held = {"rate_per_s": 1.0, "sent": 9, "answered": 9, "errors": {}, "latency_ms": latency, "held": True}
    held |= {"cpu_s": {"api": 1.0}, "memory_mib": {"api": 900}}
    failed = {**held, "rate_per_s": 2.0, "answered": 3, "errors": {"status 503": 6}, "held": False}
    kinds = {kind.name: {"guide": kind.guide, "bound_s": 1, "points": [held, failed]} for kind in KINDS}
    regime = {"cores": {"api": 0.75}, "kinds": kinds, "jobs_a_minute": 9.0, "redis_operations_per_s": 900}
    about = {"cores": 2, "cpu": "a CPU", "load_average_before": [0.1, 0, 0]}
    page = b2s_report.document(
        {
            "commit": "0" * 40,
            "at": "2026-11-27T00:00:00",
            "machine": about,
            "regimes": {"burst": regime, "sustained": regime},
        }
    )
    assert all(page.count(f"| {kind.name} |") == 5 for kind in KINDS), "once above, twice for each of two rates"
    assert "no; 6 x status 503" in page


def test_a_soak_says_what_grew() -> None:
    """By role and in total, before, at most and at the end."""
    samples = [
        {"at_s": 10.0 * n, "pss_mb": {"gateway": 100.0 + n}, "total_mb": 100.0 + n, "answered": 2, "errors": {}}
        for n in range(1, 41)
    ]
    before = {"pss_mb": {"gateway": 90.0}, "total_mb": 90.0}
    text = soak_report.markdown({"samples": samples, "before": before, "people": 3})
    assert "| gateway | 90 | 140 | 140 | +360 ± 0 |" in text
    assert "80 answers, 0 errors" in text
