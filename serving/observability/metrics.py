"""The gateway's Prometheus metrics: counters and histograms of finished requests, gauges of a worker's state.

With several workers the values are in files (prometheus_client's multiprocess mode, enabled by the environment variable
PROMETHEUS_MULTIPROC_DIR before its import), and any worker can serve the sum (`serving.observability.multiprocess`).
Quantiles come from the histograms: docs/operating.md has the queries. This module does not know HTTP, Redis or SQL.
Names: https://prometheus.io/docs/practices/naming/
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

DURATION_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 3, 5, 10, 20, 30, 60, 120, 300, 600)
TTFT_BUCKETS_S = (
    *(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60),
)
TPOT_BUCKETS_S = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 1, 2),
)
SQL_BUCKETS_S = (0.001, 0.005, 0.025, 0.1, 0.25, 1, 5)
MAX_VALUES = 64  # of a label whose values are not ours (such as engines' error codes); the rest become OTHER
OTHER, NONE = "other", "none"
REFRESH_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One finished request of the generation and embedding endpoints, from the ledger.

    `model` is the model that answered (None: none did); `limit` is the limit that refused a rate-limited request;
    `ttft_s` is None when nothing was streamed; `queued_s` is the wait for admission.
    """

    model: str | None
    class_: str
    endpoint: str
    outcome: str
    latency_s: float
    error_code: str | None = None
    ttft_s: float | None = None
    queued_s: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cache: str | None = None
    fallback_reason: str | None = None
    limit: str | None = None

    @property
    def tpot_s(self) -> float | None:
        """Mean seconds between output tokens after the first; None for a stream of less than two tokens."""
        if self.ttft_s is None or self.completion_tokens < 2:
            return None
        return max(0.0, self.latency_s - self.ttft_s) / (self.completion_tokens - 1)


def _nothing() -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Functions that read a worker's state; each returns a mapping of a label's values to numbers."""

    models_ready: Callable[[], Mapping[str, float]] = field(default=_nothing)  # by model: 1 while it can answer
    queue_depth: Callable[[], Mapping[str, float]] = field(default=_nothing)  # by class: requests not yet admitted
    breakers_open: Callable[[], Mapping[str, float]] = field(default=_nothing)  # by name: 1 while open
    redis_connections: Callable[[], Mapping[str, float]] = field(default=_nothing)  # by state: idle, used
    sql_connections: Callable[[], Mapping[str, float]] = field(default=_nothing)  # by state: idle, used
    recordings: Callable[[], Mapping[str, float]] = field(
        default=_nothing
    )  # by kind: recordings in progress, and their readers


class _Bounded:
    """Bounds a label to its first MAX_VALUES values; all others become OTHER."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, value: str | None) -> str:
        if not value:
            return NONE
        if value not in self._seen:
            if len(self._seen) >= MAX_VALUES:
                return OTHER
            self._seen.add(value)
        return value


class Metrics:
    """One worker's metrics.

    Args:
        is_model: whether a name is a configured model; any other name becomes OTHER.

    """

    def __init__(self, *, is_model: Callable[[str], bool]) -> None:
        self.registry = CollectorRegistry()
        self._is_model = is_model
        self._models: set[str] = set()  # for which that was so
        self._code, self._reason, self._limit, self._endpoint = _Bounded(), _Bounded(), _Bounded(), _Bounded()
        self._statement = _Bounded()
        # The library's own lookup of labels costs more than counting.
        self._counters: dict[tuple[Counter | str, ...], Counter] = {}
        self._histograms: dict[tuple[Histogram | str, ...], Histogram] = {}
        self._define_requests()
        self._define_gauges()

    def _define_requests(self) -> None:
        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(name, help_text, labels, registry=self.registry)

        def histogram(name: str, help_text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, help_text, ("model", "class"), buckets=buckets, registry=self.registry)

        self._http = counter("bondhu_http_requests_total", "HTTP requests of any kind", "method", "route", "status")
        self._requests = counter(
            "bondhu_requests_total", "Model requests that ended", "model", "class", "endpoint", "outcome"
        )
        self._errors = counter(
            "bondhu_request_errors_total", "Model requests that ended with an error code", "model", "class", "code"
        )
        self._duration = histogram(
            "bondhu_request_duration_seconds", "Duration of answered requests", DURATION_BUCKETS_S
        )
        self._ttft = histogram("bondhu_time_to_first_token_seconds", "From request to first token", TTFT_BUCKETS_S)
        self._tpot = histogram(
            "bondhu_time_per_output_token_seconds", "Mean time between output tokens of a request", TPOT_BUCKETS_S
        )
        self._queued = histogram("bondhu_queue_wait_seconds", "From request to admission", TTFT_BUCKETS_S)
        self._prompt = counter("bondhu_prompt_tokens_total", "Prompt tokens", "model", "class")
        self._cached = counter("bondhu_cached_prompt_tokens_total", "Prompt tokens from a cache", "model", "class")
        self._completion = counter("bondhu_completion_tokens_total", "Completion tokens", "model", "class")
        self._cache = counter("bondhu_cache_lookups_total", "Response cache: hit, miss or bypass", "result")
        self._fallbacks = counter("bondhu_fallbacks_total", "Requests answered by a fallback", "model", "reason")
        self._rejected = counter(
            "bondhu_ledger_rejected_lines_total", "Journal lines that cannot become rows and were set aside"
        )
        self._cost = counter("bondhu_cost_usd_total", "Cost of requests that ended, by the configured prices", "model")
        self._sql_repeats = counter(
            "bondhu_sql_repeats_total", "Requests that repeated one SQL statement at least 20 times", "route"
        )
        self._sql_connects = counter("bondhu_sql_connects_total", "Connections to SQL that were opened")
        self._sql = Histogram(
            "bondhu_sql_statement_seconds", "Statements", ("statement",), buckets=SQL_BUCKETS_S, registry=self.registry
        )
        self._unchecked = counter(
            "bondhu_safety_unchecked_requests_total", "Requests that had no safety step: of a key, a tier, a job", "by"
        )
        self._limited = counter("bondhu_limit_rejections_total", "Requests that a limit refused", "class", "limit")

    def _define_gauges(self) -> None:
        def gauge(name: str, help_text: str, *labels: str) -> Gauge:
            # The sum over live workers.
            return Gauge(name, help_text, labels, registry=self.registry, multiprocess_mode="livesum")

        gauge("bondhu_gateway_workers", "Live gateway workers").set(1)
        self._ready = gauge("bondhu_ready_workers", "Gateway workers for which a model is ready", "model")
        self._queue = gauge("bondhu_queue_depth", "Requests that wait for admission", "class")
        self._breakers = gauge("bondhu_breaker_open", "Workers with an open circuit breaker", "breaker")
        self._redis = gauge("bondhu_redis_connections", "Pooled connections to Redis", "state")
        self._sql_pool = gauge("bondhu_sql_connections", "Pooled connections to SQL", "state")
        self._recordings = gauge(
            "bondhu_recordings", "Responses that can be shared or resumed, and their readers", "what"
        )
        self._known_labels: dict[Gauge, set[str]] = defaultdict(set)

    def observe(self, seen: Observed) -> None:
        """Count a finished request."""
        count, time = self._counter, self._histogram
        model, class_ = self._model(seen.model), seen.class_
        count(self._requests, model, class_, self._endpoint(seen.endpoint), seen.outcome).inc()
        if seen.error_code is not None:
            count(self._errors, model, class_, self._code(seen.error_code)).inc()
        if seen.outcome in ("ok", "degraded"):  # refusals are fast and would distort the durations
            time(self._duration, model, class_).observe(seen.latency_s)
            if (tpot_s := seen.tpot_s) is not None:
                time(self._tpot, model, class_).observe(tpot_s)
        if seen.ttft_s is not None:
            time(self._ttft, model, class_).observe(seen.ttft_s)
        if seen.queued_s is not None:
            time(self._queued, model, class_).observe(seen.queued_s)
        count(self._prompt, model, class_).inc(seen.prompt_tokens)
        count(self._cached, model, class_).inc(seen.cached_tokens)
        count(self._completion, model, class_).inc(seen.completion_tokens)
        if seen.cache is not None:
            count(self._cache, seen.cache).inc()
        if seen.fallback_reason is not None:
            count(self._fallbacks, model, self._reason(seen.fallback_reason)).inc()
        if seen.limit is not None:
            count(self._limited, class_, self._limit(seen.limit)).inc()

    def count_rejected(self, lines: int) -> None:
        """Count ledger lines that were set aside."""
        self._rejected.inc(lines)

    def observe_queue_wait(self, model: str, class_: str, seconds: float) -> None:
        """Time a wait for admission, whatever became of it."""
        self._histogram(self._queued, self._model(model), class_).observe(seconds)

    def count_cost(self, model: str | None, usd: float) -> None:
        """Count what a request cost."""
        self._counter(self._cost, self._model(model)).inc(usd)

    def observe_sql(self, statement: str, seconds: float) -> None:
        """Time a statement, named by verb and table."""
        self._histogram(self._sql, self._statement(statement)).observe(seconds)

    def count_sql_connect(self) -> None:
        """Count a connection to SQL."""
        self._sql_connects.inc()

    def count_sql_repeats(self, route: str) -> None:
        """Count a request that repeated one SQL statement many times."""
        self._counter(self._sql_repeats, route or NONE).inc()

    def count_unchecked(self, by: str) -> None:
        """Count a request without the safety step; `by`: the reason, `key`, `tier` or `job`."""
        self._counter(self._unchecked, by).inc()

    def count_http(self, method: str, route: str, status: int) -> None:
        """Count a request of any kind; `route` is a route template, never the path of a request."""
        self._counter(self._http, method if method in _METHODS else OTHER, route or NONE, str(status)).inc()

    async def run(self, readings: Readings) -> None:
        """Refresh the gauges until cancelled, so that other workers' scrapes see values of the last REFRESH_S."""
        while True:
            self.refresh(readings)
            await asyncio.sleep(REFRESH_S)

    def refresh(self, readings: Readings) -> None:
        """Set the gauges from `readings`."""
        self._set(self._ready, readings.models_ready())
        self._set(self._queue, readings.queue_depth())
        self._set(self._breakers, readings.breakers_open())
        self._set(self._redis, readings.redis_connections())
        self._set(self._sql_pool, readings.sql_connections())
        self._set(self._recordings, readings.recordings())

    def _set(self, gauge: Gauge, values: Mapping[str, float]) -> None:
        known = self._known_labels[gauge]
        for label in known - values.keys():
            gauge.labels(label).set(0)
        for label, value in values.items():
            gauge.labels(label).set(value)
        known.update(values)

    def _counter(self, counter: Counter, *labels: str) -> Counter:
        return self._counters.get((counter, *labels)) or self._counters.setdefault(
            (counter, *labels), counter.labels(*labels)
        )

    def _histogram(self, histogram: Histogram, *labels: str) -> Histogram:
        return self._histograms.get((histogram, *labels)) or self._histograms.setdefault(
            (histogram, *labels), histogram.labels(*labels)
        )

    def _model(self, name: str | None) -> str:
        if name is None:
            return NONE
        if name not in self._models:  # a model that was configured once keeps its name
            if not self._is_model(name):
                return OTHER
            self._models.add(name)
        return name


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
