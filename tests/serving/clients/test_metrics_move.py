"""Every metric that a dashboard or an alert reads moves under a real request of its kind."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from redis import Redis

from tests.support.gateway_process import GatewayProcess, Samples
from tests.support.polling import eventually
from tests.support.servers.engine import MODEL
from tests.support.servers.script import SILENT, ScriptServer

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
STEADY = {  # gauges that no request here can move, and why
    "bondhu_breaker_open": "a dependency that fails: tests/faults",
    "bondhu_dependency_up": "a Redis that fails: tests/serving/observability/test_metrics.py",
    "bondhu_model_ready": "an engine that has been silent for gateway.ready_within_s: tests/faults",
    "bondhu_redis_connections": "as many as are needed at once",
    "bondhu_sql_connections": "as many as are needed at once",
    "bondhu_gateway_workers": "the workers of the configuration",
    "bondhu_cpu_cores": "of the machine",
    "bondhu_disk_used_ratio": "of the machine",
    "bondhu_memory_used_ratio": "of the machine",
    "bondhu_event_loop_lag_seconds": "work that blocks the loop: tests/serving/doctor",
    "bondhu_conversations_day": "a sum that is up to a minute old: tests/storage/test_business.py",
    "bondhu_memories": "the same",
    "bondhu_people_day": "the same",
    "bondhu_requests_per_person_day": "the same",
    "bondhu_turns_day": "the same",
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
    assert read_names() - ELSEWHERE.keys() - grows == STEADY.keys() | MOVES.keys()
    assert totals(gateway.scrape()).keys() >= STEADY.keys()


@contextmanager
def jobs(gateway: GatewayProcess, engine: ScriptServer, key: str) -> Iterator[None]:
    """A task waits for a worker."""
    with Redis.from_url(gateway.redis.url) as redis:
        redis.lpush("bondhu:celery:jobs", b"{}")
        yield
        redis.delete("bondhu:celery:jobs")


@contextmanager
def people(gateway: GatewayProcess, engine: ScriptServer, key: str) -> Iterator[None]:
    """More people than before write."""
    for _ in range(3):
        post(gateway, key, HI | {"user": f"metrics-{uuid4()}"})
    yield


def reporting(reported: dict[str, Any] | None) -> Callable[..., Any]:
    """The directory says something else of the engine, or nothing."""

    @contextmanager
    def change(gateway: GatewayProcess, engine: ScriptServer, key: str) -> Iterator[None]:
        engine.reported = reported
        yield
        engine.reported = {}

    return change


@contextmanager
def waiting(gateway: GatewayProcess, engine: ScriptServer, key: str) -> Iterator[None]:
    """More jobs than their share of the slots, 16, whose answers do not come."""
    engine.answers = [SILENT] * 3
    body = orjson.dumps(HI | {"n": 8})
    lines = (f"POST {CHAT} HTTP/1.1", "host: x", f"authorization: Bearer {key}", "x-bondhu-class: job")
    head = "\r\n".join((*lines, "cache-control: no-cache"))
    host, port = gateway.url.removeprefix("http://").split(":")
    clients = [socket.create_connection((host, int(port))) for _ in range(3)]
    try:
        for client in clients:
            client.sendall(f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        yield
    finally:
        for client in clients:
            client.close()


MOVES: dict[str, Callable[..., Any]] = {  # by gauge: a state in which it has another value
    "bondhu_jobs_waiting": jobs,
    "bondhu_active_users": people,
    "bondhu_engine_requests": reporting({"running": 2, "waiting": 1}),
    "bondhu_engine_kv_cache_usage_ratio": reporting({"kv_cache_usage": 0.5}),
    "bondhu_replicas": reporting({"state": "loading"}),
    "bondhu_directory_up": reporting(None),
    "bondhu_queue_depth": waiting,
}


def post(gateway: GatewayProcess, key: str, body: dict[str, Any]) -> None:
    """Chat."""
    with httpx.Client(base_url=gateway.url, timeout=60) as client:
        headers = {"authorization": f"Bearer {key}", "cache-control": "no-cache"}
        client.post(CHAT, json=body, headers=headers).raise_for_status()


@pytest.mark.parametrize("name", MOVES)
def test_a_gauge_follows_what_it_measures(name: str, gateway: GatewayProcess, engine: ScriptServer, key: str) -> None:
    """It has another value in that state, for one of its labels."""

    def samples() -> dict[frozenset[tuple[str, str]], float]:
        return {labels: value for (each, labels), value in gateway.scrape().items() if each == name}

    before = samples()
    with MOVES[name](gateway, engine, key):
        eventually(lambda: samples() != before, 30, f"{name} to change from {before}", every_s=0.2)


def test_what_moves_elsewhere_is_read() -> None:
    """The list above names no metric that nobody reads."""
    assert ELSEWHERE.keys() <= read_names()
