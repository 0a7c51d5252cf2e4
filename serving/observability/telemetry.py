"""Sets up the gateway's logs, metrics and traces.

It is created first, so that everything else can log; it uses neither Redis nor SQL.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.applications import Starlette

from serving.config.credentials import CLUSTER_KEY, SCRAPE_TOKEN
from serving.config.schema import ObservabilitySettings
from serving.observability import logs
from serving.observability.metrics import Metrics
from serving.observability.multiprocess import MetricFiles
from serving.observability.request_context import Exchange
from serving.observability.request_id import RequestId
from serving.observability.tracing import NoTracing, Traced, Tracing, open_tracing

SQL_REPEATS = 20  # of one statement in one request: it should have been one for all


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The telemetry of one gateway worker.

    `metric_files` has the metrics of all workers (None: there is one worker); `scrape_token` gives access to /metrics
    ("": only an admin key does).
    """

    metrics: Metrics
    metric_files: MetricFiles | None
    tracing: Tracing
    user_hash: logs.UserHash
    scrape_token: str

    def watch(self, app: Starlette) -> None:
        """Add the outermost middleware: request ids, access lines, HTTP metrics, spans."""
        if not isinstance(self.tracing, NoTracing):
            app.add_middleware(Traced, tracing=self.tracing)
        app.add_middleware(RequestId, watchers=(logs.log_access, partial(_count, self.metrics)))


def open_telemetry(
    settings: ObservabilitySettings, environ: Mapping[str, str], is_model: Callable[[str], bool]
) -> Telemetry:
    """Set up logging, metrics and tracing; `is_model` says which names can become labels."""
    logs.set_up(
        level=settings.log_level,
        format_=settings.log_format,
        log_prompts=settings.log_prompts,
        secrets=logs.secrets_of(environ),
    )
    directory = environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Telemetry(
        metric_files=MetricFiles(Path(directory)) if directory else None,  # must come before any metric
        metrics=Metrics(is_model=is_model),
        tracing=open_tracing(environ),
        user_hash=logs.UserHash(environ.get(CLUSTER_KEY, "")),
        scrape_token=environ.get(SCRAPE_TOKEN, ""),
    )


def _count(metrics: Metrics, exchange: Exchange) -> None:
    if exchange.status is not None:
        metrics.count_http(exchange.method, exchange.route, exchange.status)
    if max(exchange.statements.values(), default=0) >= SQL_REPEATS:
        metrics.count_sql_repeats(exchange.route)
