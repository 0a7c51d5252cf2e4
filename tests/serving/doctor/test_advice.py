"""The decision matrix: what is detected is advised, cheapest first; what a container may use is what counts."""

import dataclasses
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from sqlalchemy import text

from serving.doctor.advice import advise
from serving.doctor.checks import CHECKS
from serving.doctor.containers import containers
from serving.doctor.levels import Level
from serving.doctor.reading import Reading, RedisReading, Settled, SqlReading
from serving.doctor.samples import Samples
from serving.observability import request_context, sql_watch
from serving.observability.host import HostReading, read_host
from serving.observability.metrics import Metrics
from serving.observability.request_context import Exchange
from storage.database import open_engine

GIB = 2**30
NOTHING = Samples({})
WELL = Reading(
    window_s=300,
    host=HostReading(GIB, 4 * GIB, 10, 2, 50 * GIB, 100 * GIB),
    cpu_ratio=0.1,
    during=NOTHING,
    now=NOTHING,
    redis=RedisReading(is_up=True, policy="volatile-lru"),
    sql=SqlReading(is_up=True, is_sqlite=False, pool_max=10),
    settled=Settled(cache_enabled=True, workers=1, pool_max=10, has_autoscaling=False),
    backup_age_s=0,
    wants_backups=True,
)


def advised(reading: Reading) -> list[tuple[str, str]]:
    """Return what to do, in order."""
    findings = [finding for check in CHECKS for finding in check(reading)]
    return [(each.move, each.code) for each in advise(reading, findings)]


def levels_of(reading: Reading) -> dict[str, Level]:
    """Return the findings' levels."""
    return {finding.code: finding.level for check in CHECKS for finding in check(reading)}


def waiting(number: float) -> Samples:
    """Return people's requests that wait for admission."""
    return Samples({("bondhu_queue_depth", frozenset({("class", "interactive")})): number})


def test_who_is_well_is_left_alone() -> None:
    """No advice, and every finding healthy."""
    assert advised(WELL) == []
    assert set(levels_of(WELL).values()) == {Level.HEALTHY}


@pytest.mark.parametrize(
    ("used", "level"), [(0.69, "HEALTHY"), (0.70, "WATCH"), (0.75, "WARNING"), (0.89, "WARNING"), (0.90, "CRITICAL")]
)
def test_memory_goes_by_the_thresholds(used: float, level: str) -> None:
    """70, 75 and 90 %; from a warning on a larger machine is advised, where nothing else wastes it."""
    host = HostReading(int(used * 1000), 1000, 0, 2, 50, 100)
    reading = dataclasses.replace(WELL, host=host)
    assert levels_of(reading)["memory"].name == level
    assert (("scale up", "more_memory") in advised(reading)) == (level in ("WARNING", "CRITICAL"))


@pytest.mark.parametrize(("used", "level"), [(0.59, "HEALTHY"), (0.60, "WATCH"), (0.75, "WARNING"), (0.90, "CRITICAL")])
def test_cpu_goes_by_the_thresholds(used: float, level: str) -> None:
    """60, 75 and 90 % over five minutes."""
    reading = dataclasses.replace(WELL, cpu_ratio=used)
    assert levels_of(reading)["cpu"].name == level
    assert (("scale up", "more_cpu") in advised(reading)) == (level in ("WARNING", "CRITICAL"))


def test_people_who_wait_on_a_busy_machine_need_more_machines() -> None:
    """Scaling up comes before scaling out, and an optimisation that is left before both."""
    busy = dataclasses.replace(WELL, cpu_ratio=0.95, now=waiting(12))
    assert advised(busy) == [("scale up", "more_cpu"), ("scale out", "more_replicas")]
    wasteful = dataclasses.replace(busy, settled=dataclasses.replace(WELL.settled, cache_enabled=False))
    assert advised(wasteful) == [("optimise", "cache_off")]


def test_a_pool_that_is_too_small_or_keeps_nothing_is_reported() -> None:
    """By its connections in use, and by how many are opened for how many statements."""
    full = dataclasses.replace(WELL, sql=SqlReading(is_up=True, is_sqlite=False, pool_used=9, pool_max=10))
    assert advised(full) == [("optimise", "small_pool")]
    registry = CollectorRegistry()
    Histogram("bondhu_sql_statement_seconds", "", ["statement"], registry=registry).labels("select people").observe(0)
    one = Samples.of(registry.collect())
    counted = {key: value * 100 for key, value in one.values.items()}
    opened = {("bondhu_sql_connects_total", frozenset[tuple[str, str]]()): 50.0}
    assert advised(dataclasses.replace(WELL, during=Samples({**counted, **opened}))) == [("optimise", "no_pool")]
    opened = {("bondhu_sql_connects_total", frozenset[tuple[str, str]]()): 10.0}
    assert advised(dataclasses.replace(WELL, during=Samples({**counted, **opened}))) == []


async def test_a_request_that_repeats_a_statement_is_reported(tmp_path: Path) -> None:
    """Statements are counted for each request, and timed by name, on a real database."""
    metrics = Metrics(is_model=lambda _: True)
    engine = open_engine(f"sqlite+aiosqlite:///{tmp_path / 'some.db'}")
    sql_watch.watch(engine, metrics)
    seen = Exchange("id", "GET", "/people", route="/people")
    token = request_context.current.set(seen)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE people (id INTEGER)"))
        for number in range(25):
            await connection.execute(text("SELECT id FROM people WHERE id = :id"), {"id": number})
    request_context.current.reset(token)
    await engine.dispose()
    assert max(seen.statements.values()) == 25
    metrics.count_sql_repeats(seen.route)
    samples = Samples.of(metrics.registry.collect())
    assert samples.total("bondhu_sql_statement_seconds_count", statement="select people") == 25
    assert samples.total("bondhu_sql_connects_total") == 1
    assert advised(dataclasses.replace(WELL, during=samples)) == [("optimise", "n_plus_one")]


def test_a_container_is_measured_by_its_own_limits(tmp_path: Path) -> None:
    """By both versions of control groups: memory without inactive page cache, CPU by quota; else the machine."""
    files = {"memory.max": "1000", "memory.current": "900", "memory.stat": "anon 1\ninactive_file 200\n"}
    files |= {"cpu.max": "50000 100000", "cpu.stat": "usage_usec 3000000\nuser_usec 1\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    limited = read_host(tmp_path, tmp_path)
    assert (limited.memory_ratio, limited.cores, limited.cpu_used_s) == (0.7, 0.5, 3.0)
    older = {"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "900"}
    older |= {"memory/memory.stat": "inactive_file 1\ntotal_inactive_file 200\n", "cpuacct/cpuacct.usage": "3000000000"}
    older |= {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}
    for name, content in older.items():
        file = tmp_path / "older" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    limited = read_host(tmp_path, tmp_path / "older")
    assert (limited.memory_ratio, limited.cores, limited.cpu_used_s) == (0.7, 0.5, 3.0)
    whole = read_host(tmp_path, tmp_path / "nothing")
    assert whole.memory_bytes > GIB
    assert whole.cores >= 1


def test_quantiles_and_counters_are_prometheus() -> None:
    """Interpolated within a bucket; a counter that began anew counts from nothing."""
    registry = CollectorRegistry()
    histogram = Histogram("bondhu_some_seconds", "", ["class"], buckets=(1, 2, 4), registry=registry)
    for value in (0.5, 1.5, 1.5, 3):
        histogram.labels("interactive").observe(value)
    samples = Samples.of(registry.collect())
    assert samples.quantile("bondhu_some_seconds", 0.5) == pytest.approx(1.5)
    assert samples.quantile("bondhu_some_seconds", 0.95) == pytest.approx(3.6)
    counters = CollectorRegistry()
    counter = Counter("bondhu_things", "", registry=counters)
    counter.inc(5)
    now = Samples.of(counters.collect())
    assert now.since(Samples({("bondhu_things_total", frozenset()): 3.0})).total("bondhu_things_total") == 2
    assert now.since(Samples({("bondhu_things_total", frozenset()): 9.0})).total("bondhu_things_total") == 5


def test_containers_that_do_not_run_well_are_critical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `docker ps` lists them: here a program of that name does; one that ended well, such as init, is healthy."""
    lines = (
        "bondhu-api-1\\trunning\\tUp 3 minutes (healthy)",
        "bondhu-init-1\\texited\\tExited (0) 3 minutes ago",
        "bondhu-redis-1\\trestarting\\tRestarting (1) 5 seconds ago",
        "bondhu-worker-1\\trunning\\tUp 3 minutes (unhealthy)",
        "bondhu-haproxy-1\\texited\\tExited (137) 3 minutes ago",
    )
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\n" + "".join(f"printf '{line}\\n'\n" for line in lines))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = {finding.says.split()[1].rstrip(":"): finding.level for finding in containers()}
    critical = {name for name, level in found.items() if level is Level.CRITICAL}
    assert len(found) == 5
    assert critical == {"bondhu-redis-1", "bondhu-worker-1", "bondhu-haproxy-1"}
    program.write_text("#!/bin/sh\nexit 1\n")
    assert list(containers()) == []
