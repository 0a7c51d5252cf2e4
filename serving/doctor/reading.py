"""What the checks look at: plain values, gathered elsewhere. None: it could not be learned."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.doctor.samples import Samples
from serving.observability.host import HostReading


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisReading:
    """Redis, or that it is away."""

    is_up: bool
    evicted: float = 0.0  # in the window
    memory_ratio: float | None = None  # of maxmemory
    policy: str = ""
    clock_off_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlReading:
    """The database, or that it is away."""

    is_up: bool
    is_sqlite: bool
    pool_used: int = 0
    pool_max: int | None = None
    clock_off_s: float | None = None
    is_current: bool = True  # has all migrations


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """Something that ends: `name` says what; `left_s` is below 0 when it has."""

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
    """All of it; `during` is what was counted in the window."""

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
    queues: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # when it began, now
    not_ready: Mapping[str, str] = field(default_factory=dict)  # models, and why
    breakers: tuple[str, ...] = ()
    keys: tuple[Expiry, ...] = ()
    certificates: tuple[Expiry, ...] = ()
    backup_age_s: float | None = None
    wants_backups: bool = False
