"""Every metric that a dashboard or an alert reads moves under a real request of its kind."""

import re
from pathlib import Path
from typing import Any

import httpx

from tests.support.gateway_process import GatewayProcess, Samples
from tests.support.polling import eventually
from tests.support.servers.engine import MODEL
from tests.support.servers.script import ScriptServer

ROOT = Path(__file__).resolve().parents[3]
READ_BY = ("deploy/grafana/bondhu.json", "deploy/prometheus/alerts.yaml")
CHAT = "/v1/chat/completions"
HI: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "user": "metrics-maya"}
ELSEWHERE = {  # metric: what moves it, and the test that does
    "bondhu_fallbacks_total": "a model that is down: tests/faults/test_engine.py",
    "bondhu_restarts_total": "a process that ends: tests/faults",
    "bondhu_redis_evicted_keys_total": "a Redis that is full: tests/serving/doctor",
    "bondhu_cost_usd_total": "configured prices: tests/serving/ledger/test_ledger.py",
    "bondhu_backup_age_seconds": "a backup: tests/serving/backup",
    "bondhu_people_returned_ratio": "people of last week: tests/storage",
    "bondhu_certificate_left_seconds": "a certificate: tests/serving/doctor",
}


def read_names() -> set[str]:
    """Every metric of ours in a dashboard or an alert."""
    return {name for file in READ_BY for name in re.findall(r"\bbondhu_[a-z_]+", (ROOT / file).read_text())}


def totals(samples: Samples) -> dict[str, float]:
    """The sum of each name's samples."""
    found: dict[str, float] = {}
    for (name, _), value in samples.items():
        found[name] = found.get(name, 0.0) + value
    return found


def test_every_metric_that_is_read_moves(http: httpx.Client, gateway: GatewayProcess, engine: ScriptServer) -> None:
    """Counters and histograms grow; gauges have a value."""
    before = totals(gateway.scrape())
    engine.cached_tokens = 2
    try:
        http.post(CHAT, json=HI).raise_for_status()
        http.post(CHAT, json=HI | {"stream": True}).raise_for_status()
    finally:
        engine.cached_tokens = 0
    for _ in range(2):
        http.post(CHAT, json=HI | {"temperature": 0}, headers={"cache-control": ""}).raise_for_status()
    assert http.post(CHAT, json=HI | {"model": "gpt-4"}).status_code == 404
    few = {"authorization": f"Bearer {gateway.make_key('metrics', tier='few')}"}
    assert [http.post(CHAT, json=HI, headers=few).status_code for _ in range(4)][-1] == 429
    grows = {name for name in read_names() - ELSEWHERE.keys() if re.search(r"_(total|bucket|count)$", name)}
    assert len(grows) > 10

    def still() -> set[str]:
        after = totals(gateway.scrape())
        return {name for name in grows if after.get(name, 0.0) <= before.get(name, 0.0)}

    eventually(lambda: not still(), 20, f"these to grow: {sorted(still())}")
    present = totals(gateway.scrape()).keys()
    assert read_names() - ELSEWHERE.keys() - grows <= present


def test_what_moves_elsewhere_is_read() -> None:
    """The list above names no metric that nobody reads."""
    assert ELSEWHERE.keys() <= read_names()
