"""The checks: each turns measurements into findings."""

from collections.abc import Callable, Iterator

from serving.doctor import levels
from serving.doctor.finding import Finding
from serving.doctor.levels import Level
from serving.doctor.reading import Expiry, Reading

NOT_COUNTED = ("/health", "/ready", "/metrics", "/api/v1/health/report")
Check = Callable[[Reading], Iterator[Finding]]


def memory(reading: Reading) -> Iterator[Finding]:
    """Memory of the machine or the container."""
    if reading.host is not None:
        ratio = reading.host.memory_ratio
        size = f"{reading.host.memory_bytes / 2**30:.1f} GiB"
        yield Finding("memory", levels.MEMORY_RATIO.level(ratio), f"{ratio:.0%} of {size} memory is in use", ratio)


def cpu(reading: Reading) -> Iterator[Finding]:
    """CPU over the window."""
    if reading.cpu_ratio is not None and reading.host is not None:
        ratio = reading.cpu_ratio
        message = f"{ratio:.0%} of {reading.host.cores:g} cores over {reading.window_s:.0f} s"
        yield Finding("cpu", levels.CPU_RATIO.level(ratio), message, ratio)


def disk(reading: Reading) -> Iterator[Finding]:
    """The disk of var_dir."""
    if reading.host is not None:
        ratio, free = reading.host.disk_ratio, reading.host.disk_free_bytes / 2**30
        yield Finding(
            "disk", levels.DISK_RATIO.level(ratio), f"{ratio:.0%} of the disk is in use, {free:.1f} GiB free", ratio
        )


def latency(reading: Reading) -> Iterator[Finding]:
    """The p95 latency of interactive requests."""
    name = "bondhu_request_duration_seconds"
    requests = reading.during.total(f"{name}_count", **{"class": "interactive"})
    if requests < levels.MIN_REQUESTS:
        yield Finding("latency", Level.HEALTHY, f"{requests:.0f} interactive requests: too few to judge the latency")
        return
    p95_s = reading.during.quantile(name, 0.95, **{"class": "interactive"}) or 0.0
    message = f"the p95 of interactive requests is {p95_s:.1f} s ({requests:.0f} in {reading.window_s:.0f} s)"
    yield Finding("latency", levels.P95_S.level(p95_s), message, p95_s)


def errors(reading: Reading) -> Iterator[Finding]:
    """The share of requests that end in a 5xx."""
    name = "bondhu_http_requests_total"
    total = failed = 0.0
    for (metric, labels), value in reading.during.values.items():
        label = dict(labels)
        if metric == name and label["route"] not in NOT_COUNTED:
            total += value
            failed += value if label["status"].startswith("5") else 0
    if total < levels.MIN_REQUESTS:
        yield Finding("errors", Level.HEALTHY, f"{total:.0f} requests: too few to judge the error rate")
        return
    ratio = failed / total
    codes = reading.during.by("bondhu_request_errors_total", "code")
    commonest = max(codes, key=lambda code: codes[code], default="") if failed else ""
    more = f", most often {commonest}" if commonest else ""
    yield Finding("errors", levels.ERROR_RATIO.level(ratio), f"{ratio:.1%} of {total:.0f} requests failed{more}", ratio)


def restarts(reading: Reading) -> Iterator[Finding]:
    """Processes that were restarted."""
    for name, count in reading.restarts.items():
        if count:
            message = f"{name} was restarted {count:.0f} times in the last minutes"
            yield Finding("restarts", levels.RESTARTS.level(count), message, count)


def queue(reading: Reading) -> Iterator[Finding]:
    """Growth of the queues of background tasks."""
    for name, (earlier, now) in reading.queues.items():
        growth = now - earlier
        message = f"{now:.0f} tasks wait in {name}, {growth:+.0f} in {reading.window_s:.0f} s"
        yield Finding("queue", levels.QUEUE_GROWTH.level(growth), message, growth)


def redis(reading: Reading) -> Iterator[Finding]:
    """Whether Redis is available, its evictions and its free memory."""
    state = reading.redis
    if not state.is_up:
        yield Finding(
            "redis", Level.CRITICAL, "Redis is unavailable: limits are approximate, nothing is cached or queued"
        )
        return
    yield Finding("redis", Level.HEALTHY, "Redis is available")
    if state.evicted:
        message = f"Redis evicted {state.evicted:.0f} keys because its memory was full"
        yield Finding("evictions", levels.EVICTIONS.level(state.evicted), message, state.evicted)
    if state.policy.startswith("allkeys"):
        message = f"Redis has the eviction policy {state.policy}, which drops queued jobs and limits"
        yield Finding("eviction_policy", Level.CRITICAL, message)
    if state.memory_ratio is not None:
        ratio = state.memory_ratio
        message = f"{ratio:.0%} of Redis's memory is in use"
        yield Finding("redis_memory", levels.REDIS_MEMORY_RATIO.level(ratio), message, ratio)


def database(reading: Reading) -> Iterator[Finding]:
    """Whether the database is available, up to date, and has free connections."""
    sql = reading.sql
    if sql.pool_max and sql.pool_used >= levels.POOL_RATIO * sql.pool_max:
        message = f"{sql.pool_used} of {sql.pool_max} pooled connections are in use"
        yield Finding("pool", Level.WARNING, message, sql.pool_used / sql.pool_max)
    if not sql.is_up:
        yield Finding(
            "database", Level.CRITICAL, "the database is unavailable: new keys are refused, nothing is remembered"
        )
        return
    if not sql.is_current:
        yield Finding("database", Level.CRITICAL, "the database lacks migrations of this version")
    else:
        yield Finding("database", Level.HEALTHY, "the database is available")


def models(reading: Reading) -> Iterator[Finding]:
    """Models that are not ready, and open circuit breakers."""
    for name, why in reading.not_ready.items():
        yield Finding("model", Level.CRITICAL, f"{name} is not ready: {why}")
    if not reading.not_ready:
        yield Finding("model", Level.HEALTHY, "every model is ready")
    for name in reading.breakers:
        yield Finding(
            "breaker", Level.WARNING, f"the circuit breaker of {name} is open after several failures in a row"
        )


def clocks(reading: Reading) -> Iterator[Finding]:
    """Clocks that differ, which affects limits, expiries and the ledger's days."""
    for name, off_s in (("Redis", reading.redis.clock_off_s), ("the database", reading.sql.clock_off_s)):
        if off_s is not None:
            message = f"the clock of {name} differs from this machine's by {off_s:.1f} s"
            yield Finding("clock", levels.CLOCK_S.level(abs(off_s)), message, off_s)


def expiries(reading: Reading) -> Iterator[Finding]:
    """Keys and certificates that expire."""
    for code, expiring in (("key", reading.keys), ("certificate", reading.certificates)):
        for expiry in expiring:
            yield Finding(code, _expiry_level(expiry), f"{expiry.name} {_ends(expiry.left_s)}", expiry.left_s)


def backups(reading: Reading) -> Iterator[Finding]:
    """How old the newest backup is."""
    if not reading.wants_backups:
        yield Finding("backup", Level.WATCH, "backup.folder is not set, so backups are not checked")
    elif reading.backup_age_s is None:
        yield Finding("backup", Level.CRITICAL, "there is no backup in backup.folder")
    else:
        age_s = reading.backup_age_s
        message = f"the newest backup is {age_s / 3600:.0f} hours old"
        yield Finding("backup", levels.BACKUP_AGE_S.level(age_s), message, age_s)


CHECKS: tuple[Check, ...] = (
    *(memory, cpu, disk, latency, errors, restarts, queue, redis, database),
    *(models, clocks, expiries, backups),
)


def _expiry_level(expiry: Expiry) -> Level:
    watch, warning, critical = levels.EXPIRES_S
    bounds = ((Level.CRITICAL, critical), (Level.WARNING, warning), (Level.WATCH, watch))
    return next((level for level, bound in bounds if expiry.left_s <= bound), Level.HEALTHY)


def _ends(left_s: float) -> str:
    days = abs(left_s) / 86_400
    return f"expired {days:.1f} days ago" if left_s <= 0 else f"expires in {days:.1f} days"
