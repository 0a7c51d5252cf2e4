"""The decision matrix: what to do, in this order: repair, optimise, scale up, scale out.

Every rule is detected from measurements. Scaling is only advised if the service detects no optimisation
that is left, because it costs money every month and hides what is slow.
"""

from collections.abc import Callable, Iterator, Sequence

from serving.doctor import levels
from serving.doctor.finding import MOVES, Advice, Finding
from serving.doctor.levels import Level
from serving.doctor.reading import Reading

Rule = Callable[[Reading, dict[str, Level]], Iterator[Advice]]


def advise(reading: Reading, findings: Sequence[Finding]) -> tuple[Advice, ...]:
    """All advice, in the order in which to follow it."""
    worst: dict[str, Level] = {}
    for finding in findings:
        worst[finding.code] = max(finding.level, worst.get(finding.code, Level.HEALTHY))
    chosen = [advice for rule in (_repair, _optimise) for advice in rule(reading, worst)]
    if not any(advice.move == "optimise" for advice in chosen):
        chosen += [advice for rule in (_scale_up, _scale_out) for advice in rule(reading, worst)]
    return tuple(sorted(chosen, key=lambda advice: MOVES.index(advice.move)))


_REPAIRS = {
    "redis": ("Redis is unavailable", "bondhu logs redis; docs/runbooks/DependencyDown.md", "nothing", "minutes"),
    "database": (
        "the database is unavailable or lacks migrations",
        "bondhu init; docs/runbooks/DependencyDown.md",
        "nothing",
        "minutes",
    ),
    "eviction_policy": (
        "a full Redis would lose jobs and limits",
        "redis-cli config set maxmemory-policy volatile-lru, and the same in its configuration",
        "nothing",
        "a minute",
    ),
    "model": ("a model is not ready", "bondhu status; bondhu logs engine", "nothing", "minutes"),
    "restarts": ("a process keeps crashing", "read its last log lines: bondhu logs NAME -n 200", "nothing", "an hour"),
    "disk": (
        "the disk is nearly full",
        "du -xsh var/*; bondhu models list; move var_dir or enlarge the disk",
        "a disk",
        "an hour",
    ),
    "key": ("an API key expires soon", "bondhu keys rotate ID", "nothing", "a minute for each application"),
    "certificate": ("a certificate expires soon", "renew it, then reload the TLS proxy", "nothing", "minutes"),
    "clock": ("clocks differ", "timedatectl set-ntp true, on each machine", "nothing", "a minute"),
    "backup": ("there is no recent backup", "bondhu backup; for a timer see docs/backup.md", "disk", "minutes"),
    "evictions": (
        "Redis evicts keys",
        "lower cache.max_answers; on your own server (redis.url): redis-cli config set maxmemory 512mb",
        "memory",
        "a minute",
    ),
    "queue": (
        "tasks arrive faster than they are completed",
        "worker.concurrency + 1; bondhu logs worker",
        "100 MB a task",
        "minutes",
    ),
}


def _repair(_: Reading, worst: dict[str, Level]) -> Iterator[Advice]:
    for code, (why, how, costs, takes) in _REPAIRS.items():
        if worst.get(code, Level.HEALTHY) >= Level.WARNING:
            yield Advice(code, "repair", why, how, costs, takes)


def _optimise(reading: Reading, worst: dict[str, Level]) -> Iterator[Advice]:
    if not reading.settled.cache_enabled:
        why = "the response cache is off: every repeated question is generated again"
        yield Advice(
            "cache_off", "optimise", why, "cache: {enabled: true} in configs/bondhu.yaml", "Redis memory", "a restart"
        )
    repeats = reading.during.by("bondhu_sql_repeats_total", "route")
    repeated = max(repeats, key=lambda route: repeats[route], default="")
    if repeats.get(repeated):
        why = f"{repeated} repeats an SQL statement at least {levels.REPEATS} times in one request (N+1)"
        yield Advice("n_plus_one", "optimise", why, "use one statement with IN, or a join", "nothing", "hours")
    if reading.loop_lag_s >= levels.LOOP_LAG_S.warning:
        why = f"the event loop was blocked for {reading.loop_lag_s:.2f} s, which delays all requests"
        how = "py-spy dump --subprocesses --pid PID while it is blocked (bondhu status shows the PID of the gateway)"
        yield Advice("blocking", "optimise", why, how, "nothing", "hours")
    statements = reading.during.total("bondhu_sql_statement_seconds_count")
    connects = reading.during.total("bondhu_sql_connects_total")
    if statements >= levels.MIN_REQUESTS and connects > statements / 5:
        why = f"{connects:.0f} SQL connections were opened for {statements:.0f} statements: the pool keeps too few open"
        how = f"database: {{pool_min: {max(2, reading.settled.pool_max // 2)}}} in configs/bondhu.yaml"
        yield Advice("no_pool", "optimise", why, how, "connections of the database", "a restart")
    if worst.get("pool", Level.HEALTHY) >= Level.WARNING:
        why = "requests wait for SQL connections"
        how = f"database: {{pool_max: {reading.settled.pool_max * 2}}}, below the database's own limit"
        yield Advice("small_pool", "optimise", why, how, "connections of the database", "a restart")
    yield from _slow_statements(reading, statements)


def _slow_statements(reading: Reading, statements: float) -> Iterator[Advice]:
    slow: dict[str, float] = {}
    name = "bondhu_sql_statement_seconds"
    for statement, count in reading.during.by(f"{name}_count", "statement").items():
        quick = reading.during.total(f"{name}_bucket", statement=statement, le=str(levels.SLOW_STATEMENT_S))
        slow[statement] = count - quick
    total = sum(slow.values())
    if total >= levels.SLOW_STATEMENTS:
        slowest = max(slow, key=lambda statement: slow[statement])
        limit_s = levels.SLOW_STATEMENT_S
        why = f"{total:.0f} of {statements:.0f} statements took over {limit_s:g} s, most often `{slowest}`"
        yield Advice(
            "slow_queries", "optimise", why, f"EXPLAIN ANALYZE a {slowest}; an index where it scans", "disk", "hours"
        )


def _scale_up(reading: Reading, worst: dict[str, Level]) -> Iterator[Advice]:
    if reading.host is None:
        return
    if worst.get("memory", Level.HEALTHY) >= Level.WARNING:
        size_gib = round(2 * reading.host.memory_bytes / 2**30, 1)
        why = "memory is nearly full, and no optimisation was found"
        how = f"a machine, or a container limit, of {size_gib:g} GiB; first: lower max_num_seqs or llama_cpp.parallel"
        yield Advice("more_memory", "scale up", why, how, "about twice the machine", "minutes, one restart")
    if worst.get("cpu", Level.HEALTHY) >= Level.WARNING:
        why = "the CPU was nearly fully used over five minutes, and no optimisation was found"
        how = f"a machine of {2 * reading.host.cores:g} cores; then gateway.workers: 2, and threads of the engine"
        yield Advice("more_cpu", "scale up", why, how, "about twice the machine", "minutes, one restart")


def _scale_out(reading: Reading, worst: dict[str, Level]) -> Iterator[Advice]:
    waiting = reading.now.total("bondhu_queue_depth", **{"class": "interactive"})
    full = max((value for (name, _), value in reading.now.values.items() if name == _KV), default=0.0)
    if not waiting and full < 0.95 and worst.get("latency", Level.HEALTHY) < Level.WARNING:
        return
    if max(worst.get("cpu", Level.HEALTHY), Level.HEALTHY) < Level.CRITICAL and full < 0.95 and not waiting:
        return
    why = f"requests wait ({waiting:.0f} for admission, KV cache {full:.0%} full): one machine is not enough"
    how = "deployment.replicas + 1 of the model, on a Ray cluster of more machines (ray.address): docs/deploy.md"
    if reading.settled.has_autoscaling:
        how = "raise deployment.autoscaling.max_replicas, and add machines to the Ray cluster"
    yield Advice("more_replicas", "scale out", why, how, "a machine for each replica", "an hour")


_KV = "bondhu_engine_kv_cache_usage_ratio"
