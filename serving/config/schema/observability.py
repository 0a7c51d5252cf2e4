"""The sections `observability` and `doctor`."""

from typing import Literal

from pydantic import Field

from serving.config.frozen import Frozen

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "text"]


class ObservabilitySettings(Frozen):
    """Logs and metrics of the gateway; traces are configured by OpenTelemetry's own variables."""

    metrics: bool = Field(default=True, description="serve GET /metrics")
    log_level: LogLevel = Field(default="info", description="level of the gateway's own messages")
    log_format: LogFormat = Field(default="auto", description="auto: text on a terminal, JSON elsewhere")
    log_prompts: bool = Field(default=False, description="log prompts; only with log_level debug")
    audit_days: int = Field(
        default=365, ge=1, description="how long var/audit keeps records of calls to external models, days"
    )


class DoctorSettings(Frozen):
    """What `bondhu doctor` examines."""

    window_s: float = Field(default=300, ge=1, description="period over which rates are computed, s")
    sample_s: float = Field(
        default=15, ge=0.1, description="time between two samples of the machine and the counters, s"
    )
    certificates: tuple[str, ...] = Field(
        default=(), description="PEM files and host:port addresses whose certificates are checked for expiry"
    )
