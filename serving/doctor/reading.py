"""The input of the checks: plain values from the collector. None: not available."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.doctor.samples import Samples
from serving.observability.host import HostReading


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisReading:
    """The state of Redis."""

    is_up: bool
    evicted: float = 0.0  # in the window
    memory_ratio: float | None = None  # of maxmemory
    policy: str = ""
    clock_off_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlReading:
    """The state of the database."""

    is_up: bool
    is_sqlite: bool
    pool_used: int = 0
    pool_max: int | None = None
    clock_off_s: float | None = None
    is_current: bool = True  # has all migrations


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """A key or certificate that expires; `left_s` is negative if it has expired."""

    name: str
    left_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Settings that advice is about."""

    cache_enabled: bool
    workers: int
    pool_max: int
    has_autoscaling: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All measurements; `during` are the counts of the window."""

    window_s: float
    host: HostReading | None
    cpu_ratio: float | None
    during: Samples
    now: Samples
    redis: RedisReading
    sql: SqlReading
    settled: Settled
    loop_lag_s: float = 0.0  # the longest in the window
    restarts: Mapping[str, float] = field(default_factory=dict)  # in the window, by process
    queues: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # at the beginning of the window, now
    not_ready: Mapping[str, str] = field(default_factory=dict)  # reasons, by model
    breakers: tuple[str, ...] = ()
    keys: tuple[Expiry, ...] = ()
    certificates: tuple[Expiry, ...] = ()
    backup_age_s: float | None = None
    wants_backups: bool = False
