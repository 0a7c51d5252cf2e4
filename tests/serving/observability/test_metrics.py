"""Metrics: what is counted, what never becomes a label, and one scrape for all workers, dead ones included."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from jobs.app import create_app
from serving.observability.active_users import ActiveUsers
from serving.observability.business_metrics import BusinessMetrics
from serving.observability.host import read_host
from serving.observability.host_metrics import HostMetrics
from serving.observability.logs import UserHash
from serving.observability.metrics import MAX_VALUES, Metrics, Observed, Readings
from serving.observability.multiprocess import MetricFiles
from serving.resilience.redis import GuardedRedis, open_redis
from serving.routes.operations.service_metrics import NAMES, Overview, Sample
from serving.supervisor.processes import redis_server
from storage.business import BusinessFigures
from tests.support.gateway_process import ROOT, SCRAPE_TOKEN, GatewayProcess, value, wait_for

ANSWERED = Observed(
    model="bondhu-demo",
    class_="interactive",
    endpoint="/v1/chat/completions",
    outcome="ok",
    latency_s=2.1,
    ttft_s=0.1,
    queued_s=0.04,
    prompt_tokens=100,
    cached_tokens=64,
    completion_tokens=11,
    cache="miss",
)
WHOSE = {"model": "bondhu-demo", "class": "interactive"}

# Counts three requests in the directory of PROMETHEUS_MULTIPROC_DIR, says so, and waits to be killed.
WORKER = """
import os, sys, time
from pathlib import Path
from serving.observability.multiprocess import MetricFiles
files = MetricFiles(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
from serving.observability.metrics import Metrics, Observed
metrics = Metrics(is_model=lambda name: True)
for _ in range(3):
    metrics.observe(Observed(model="m", class_="job", endpoint="e", outcome="ok", latency_s=1.0, ttft_s=0.5))
print("counted", flush=True)
time.sleep(600)
"""


@pytest.fixture
def metrics() -> Metrics:
    """Return the metrics of a worker that knows one model."""
    return Metrics(is_model=lambda name: name == "bondhu-demo")


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """Return the address of an empty Redis server."""
    socket = tmp_path / "redis.sock"
    flags = ("--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path), "--save", "")
    server = subprocess.Popen([redis_server(), *flags], stdout=subprocess.DEVNULL)
    wait_for(socket.exists, "redis to listen")
    yield f"unix://{socket}"
    server.kill()
    server.wait()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    """Return a running gateway of one worker."""
    with GatewayProcess(tmp_path) as running:
        yield running


def read(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return a metric's value."""
    return metrics.registry.get_sample_value(name, labels)


def test_a_finished_request_is_counted_in_everything_that_it_tells(metrics: Metrics) -> None:
    """Outcome, tokens, cache, wait, first token, and the mean gap between the tokens after it."""
    metrics.observe(ANSWERED)
    counted = {"endpoint": "/v1/chat/completions", "outcome": "ok"} | WHOSE
    assert read(metrics, "bondhu_requests_total", **counted) == 1
    assert read(metrics, "bondhu_prompt_tokens_total", **WHOSE) == 100
    assert read(metrics, "bondhu_cached_prompt_tokens_total", **WHOSE) == 64
    assert read(metrics, "bondhu_completion_tokens_total", **WHOSE) == 11
    assert read(metrics, "bondhu_cache_lookups_total", result="miss") == 1
    assert read(metrics, "bondhu_queue_wait_seconds_sum", **WHOSE) == 0.04
    assert read(metrics, "bondhu_time_to_first_token_seconds_sum", **WHOSE) == 0.1
    assert read(metrics, "bondhu_time_per_output_token_seconds_sum", **WHOSE) == pytest.approx(2.0 / 10)
    assert read(metrics, "bondhu_request_duration_seconds_bucket", le="2.5", **WHOSE) == 1
    assert read(metrics, "bondhu_request_duration_seconds_bucket", le="1.0", **WHOSE) == 0


def test_refusals_do_not_make_the_service_look_fast(metrics: Metrics) -> None:
    """They are counted by code, limit and reason, and leave the histograms alone."""
    refused = replace(ANSWERED, outcome="rate_limited", error_code="rate_limit_exceeded", limit="tokens", ttft_s=None)
    metrics.observe(refused)
    assert read(metrics, "bondhu_request_errors_total", code="rate_limit_exceeded", **WHOSE) == 1
    assert read(metrics, "bondhu_limit_rejections_total", **{"class": "interactive", "limit": "tokens"}) == 1
    assert read(metrics, "bondhu_request_duration_seconds_count", **WHOSE) is None
    assert read(metrics, "bondhu_time_to_first_token_seconds_count", **WHOSE) is None


def test_one_token_has_no_gap(metrics: Metrics) -> None:
    """TPOT needs two tokens and a stream."""
    metrics.observe(replace(ANSWERED, completion_tokens=1))
    metrics.observe(replace(ANSWERED, ttft_s=None))
    assert read(metrics, "bondhu_time_per_output_token_seconds_count", **WHOSE) is None


def test_what_others_choose_cannot_fill_the_memory(metrics: Metrics) -> None:
    """Unknown models share one label value, endless error codes a bounded number, odd methods one."""
    for number in range(3 * MAX_VALUES):
        odd = replace(ANSWERED, model=f"model-{number}", outcome="engine_error", error_code=f"code-{number}")
        metrics.observe(odd)
        metrics.count_http(f"M{number}", "", 404)
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    codes = {sample.labels["code"] for sample in samples if "code" in sample.labels}
    assert {sample.labels["model"] for sample in samples if "model" in sample.labels} == {"other"}
    assert len(codes) == MAX_VALUES + 1
    assert read(metrics, "bondhu_http_requests_total", method="other", route="none", status="404") == 3 * MAX_VALUES


def test_a_request_that_nobody_answered_is_counted_too(metrics: Metrics) -> None:
    """Its model is `none`."""
    metrics.observe(replace(ANSWERED, model=None, outcome="unavailable", ttft_s=None))
    labels = {"model": "none", "class": "interactive", "endpoint": "/v1/chat/completions", "outcome": "unavailable"}
    assert read(metrics, "bondhu_requests_total", **labels) == 1


def test_a_gauge_whose_label_is_no_longer_reported_goes_to_zero(metrics: Metrics) -> None:
    """A queue that is empty, or a class that is gone, does not keep its last depth."""
    depths = [{"interactive": 3.0, "job": 1.0}, {"interactive": 2.0}]
    readings = Readings(queue_depth=lambda: depths.pop(0))
    metrics.refresh(readings)
    metrics.refresh(readings)
    assert read(metrics, "bondhu_queue_depth", **{"class": "interactive"}) == 2
    assert read(metrics, "bondhu_queue_depth", **{"class": "job"}) == 0


def test_no_kill_loses_a_count_and_no_dead_worker_leaves_a_file(tmp_path: Path) -> None:
    """What killed workers counted stays in the sum through any number of scrapes; their gauges and files go."""
    directory = tmp_path / "metrics"
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    registry = CollectorRegistry()
    registry.register(MetricFiles(directory))
    labels = {"model": "m", "class": "job"}
    for generation in (1, 2):
        command = [sys.executable, "-c", WORKER]
        workers = [subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"counted\n"
        counted = 6 * generation
        assert registry.get_sample_value("bondhu_request_duration_seconds_count", labels) == counted
        assert registry.get_sample_value("bondhu_gateway_workers") == 2
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            worker.communicate()
        for _ in range(2):
            assert (
                registry.get_sample_value("bondhu_request_duration_seconds_bucket", labels | {"le": "1.0"}) == counted
            )
            assert registry.get_sample_value("bondhu_gateway_workers") is None
        left = {path.name for path in directory.iterdir()}
        assert left == {"lock", f"{os.getpid()}.worker", "counter_ended.db", "histogram_ended.db"}


def test_two_workers_answer_one_scrape_with_their_sum(tmp_path: Path) -> None:
    """Any worker reports the same, and a killed worker loses nothing."""
    with GatewayProcess(tmp_path, workers=2) as gateway:
        wait_for(lambda: value(gateway.scrape(), "bondhu_gateway_workers") == 2, "both workers")
        assert not value(gateway.scrape(), "bondhu_ready_workers", model="bondhu-demo"), "nothing can answer"
        labels = {"method": "GET", "route": "/v1/models", "status": "401"}
        for _ in range(40):
            assert gateway.get("/v1/models").status_code == 401
        assert {value(gateway.scrape(), "bondhu_http_requests_total", **labels) for _ in range(8)} == {40}
        for _ in range(2):
            gateway.kill_a_worker()
        assert gateway.get("/v1/models").status_code == 401
        wait_for(lambda: value(gateway.scrape(), "bondhu_gateway_workers") == 2, "both workers again")
        assert {value(gateway.scrape(), "bondhu_http_requests_total", **labels) for _ in range(8)} == {41}
        assert len(list((gateway.run_dir / "metrics").glob("*.worker"))) == 2


def test_metrics_are_not_for_strangers(gateway: GatewayProcess) -> None:
    """From this very machine: nothing without a key or with an ordinary one, all with the scrape token."""
    assert gateway.get("/metrics").status_code == 401
    assert gateway.get("/metrics", "wrong").status_code == 401
    refused = gateway.get("/metrics", gateway.make_key("shop"))
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "admin_only"
    assert gateway.get("/metrics", SCRAPE_TOKEN).status_code == 200


def test_a_scrape_works_when_redis_and_sql_do_not(gateway: GatewayProcess) -> None:
    """It is needed most then: it says so, and leaves out what it cannot learn."""
    before = gateway.scrape()
    assert value(before, "bondhu_dependency_up", dependency="redis") == 1
    assert value(before, "bondhu_dependency_up", dependency="sql") == 1
    assert value(before, "bondhu_jobs_waiting", queue="jobs") == 0
    gateway.redis.kill()
    database = gateway.var_dir / "bondhu.db"
    for file in gateway.var_dir.glob("bondhu.db*"):
        file.unlink()
    database.mkdir()
    wait_for(lambda: value(gateway.scrape(), "bondhu_dependency_up", dependency="redis") == 0, "redis to be missed")
    after = gateway.scrape()
    assert value(after, "bondhu_jobs_waiting", queue="jobs") is None
    assert value(after, "bondhu_active_users") is None
    assert value(after, "bondhu_gateway_workers") == 1


def test_tasks_that_wait_are_counted(gateway: GatewayProcess) -> None:
    """As Celery itself queues them."""
    app = create_app(gateway.redis.url, gateway.database_url)
    for _ in range(3):
        app.send_task("jobs.flush_key_uses")
    assert value(gateway.scrape(), "bondhu_jobs_waiting", queue="jobs") == 3


def test_the_pools_are_reported(gateway: GatewayProcess) -> None:
    """After a scrape there is an idle connection to each."""
    gateway.scrape()
    samples = gateway.scrape()
    for pool in ("redis", "sql"):
        idle = value(samples, f"bondhu_{pool}_connections", state="idle")
        assert idle is not None
        assert idle >= 1


def test_unknown_paths_share_a_route(gateway: GatewayProcess) -> None:
    """A path that matches nothing is no label; one that matches is its template."""
    for path in ("/nothing", "/nothing/else", "/v1/models/a", "/v1/models/b"):
        gateway.get(path)
    samples = gateway.scrape()
    assert value(samples, "bondhu_http_requests_total", method="GET", route="none", status="404") == 2
    assert (
        value(samples, "bondhu_http_requests_total", method="GET", route="/v1/models/{model:path}", status="401") == 2
    )


def test_metrics_can_be_switched_off(tmp_path: Path) -> None:
    """Then the path does not exist."""
    with GatewayProcess(tmp_path, BONDHU__OBSERVABILITY__METRICS="false") as gateway:
        assert gateway.get("/metrics", SCRAPE_TOKEN).status_code == 404


async def test_people_are_counted_once_over_workers_and_forgotten_after_five_minutes(redis_url: str) -> None:
    """The same person at two workers is one; of two applications two; who left is none."""
    client = open_redis(redis_url)
    redis = GuardedRedis(client, timeout_s=5.0)
    now = 1_000_000.0
    first, second = (ActiveUsers(redis, UserHash("k"), lambda: now) for _ in range(2))
    for users in (first, second):
        users.note("shop", "maya")
        users.note("shop", None)
    second.note("blog", "maya")
    await asyncio.gather(first.flush(), second.flush())
    assert await first.count() == 3
    now += 240
    second.note("shop", "arif")
    await second.flush()
    assert await first.count() == 4
    now += 120
    assert await first.count() == 1
    assert all([await client.ttl(key) > 0 for key in await client.keys("bondhu:active-users:*")])
    await client.aclose()


def labels_that_exist(metrics: Metrics) -> dict[str, set[str]]:
    """Return the labels of every sample that a scrape can hold, once everything has happened, by its name."""
    metrics.observe(replace(ANSWERED, error_code="x", fallback_reason="y", limit="z"))
    metrics.count_http("GET", "/health", 200)
    metrics.observe_sql("select people", 0.1)
    metrics.count_sql_repeats("/health")
    host_metrics = HostMetrics(
        read_host(ROOT), restarts={"a": 1}, evicted=1, loop_lag_s=0, backup_age_s=1, expiries={"a": 1}
    )
    metrics.registry.register(host_metrics)
    metrics.count_cost("bondhu-demo", 1)
    metrics.registry.register(BusinessMetrics(BusinessFigures(1, 1, 1, 1, 1, 1)))
    metrics.refresh(Readings(**dict.fromkeys(Readings.__slots__, lambda: {"a": 1.0})))
    metrics.registry.register(Overview(Sample(name, ("v",) * len(labels), 0.0) for name, (_, labels) in NAMES.items()))
    return {sample.name: set(sample.labels) for family in metrics.registry.collect() for sample in family.samples}


def expressions(found: object) -> Iterator[str]:
    """Return every PromQL expression below a dashboard or a rule file."""
    if isinstance(found, dict):
        for name, inner in found.items():
            if name in ("expr", "query") and isinstance(inner, str):
                yield inner
            else:
                yield from expressions(inner)
    elif isinstance(found, list):
        for inner in found:
            yield from expressions(inner)


@pytest.mark.parametrize("file", ["deploy/grafana/bondhu.json", "deploy/prometheus/alerts.yaml", "docs/operating.md"])
def test_dashboard_alerts_and_manual_ask_only_for_what_exists(metrics: Metrics, file: str) -> None:
    """Every name in an expression is one that a scrape can hold, and every label that it selects or groups by."""
    exist = labels_that_exist(metrics)
    text = (ROOT / file).read_text()
    if file.endswith(".md"):
        queries = [block.partition("```")[0] for block in text.split("```promql")[1:]]
        families = {family.name for family in metrics.registry.collect()}
        assert set(re.findall(r"\bbondhu_\w+", text)) <= exist.keys() | families
    else:
        queries = list(expressions(yaml.safe_load(text)))
    used = {name for expression in queries for name in re.findall(r"\bbondhu_\w+", expression)}
    assert len(used) > 5
    assert used <= exist.keys()
    for expression in queries:
        for name, selected in re.findall(r"(bondhu_\w+)\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selected)) <= exist[name], expression
        for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
            known = set().union(*(exist[name] for name in re.findall(r"\bbondhu_\w+", expression)))
            assert set(grouped.split(", ")) <= known, expression


def test_every_alert_says_what_to_do_and_has_a_runbook() -> None:
    """A severity, a summary, and what it means, where to look, what to do, and what of that was tried."""
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
    manual = (ROOT / "docs/operating.md").read_text()
    alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    assert alerts
    for rule in alerts:
        assert rule["labels"]["severity"] in ("page", "ticket", "watch")
        assert rule["annotations"]["summary"]
        assert f"(runbooks/{rule['alert']}.md)" in manual
        runbook = (ROOT / f"docs/runbooks/{rule['alert']}.md").read_text()
        assert all(f"\n## {part}\n" in runbook for part in ("Means", "Look", "Do", "Tried"))


def test_prometheus_scrapes_the_gateway_with_its_token() -> None:
    """The configuration loads the rules that are there and reads the token from a file."""
    configuration = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())
    assert configuration["rule_files"] == ["alerts.yaml"]
    (job,) = [job for job in configuration["scrape_configs"] if job["job_name"] == "bondhu"]
    assert job["authorization"]["credentials_file"]


def test_models_and_engines_are_reported_as_the_gateway_knows_them(gateway: GatewayProcess) -> None:
    """Without Ray: no directory, an embedder that is not ready, no engine at all."""
    samples = gateway.scrape()
    assert value(samples, "bondhu_directory_up") == 0
    assert value(samples, "bondhu_model_ready", model="all-minilm-l6-v2") == 0
    assert not [name for name, _ in samples if name == "bondhu_replicas"]
