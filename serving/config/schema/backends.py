"""The sections of what runs beside the gateway: `ray`, `worker`, `redis`, `database`, `ledger` and `backup`."""

from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, field_validator, model_validator

from serving.config.frozen import Frozen
from serving.config.schema.gateway import Port
from storage.postgres_url import connect_arguments


class RaySettings(Frozen):
    """The Ray head that `bondhu up` starts, or the cluster that it uses."""

    address: str | None = Field(default=None, description="address of an existing cluster; none: start a head")
    port: Port = Field(default=6385, description="port of the head's control store")
    ingress_port: Port = Field(default=8001, description="Serve's private HTTP proxy")
    dashboard_host: str = Field(default="127.0.0.1", description="address of the dashboard")
    dashboard_port: Port = Field(default=8265, description="port of the dashboard")
    dashboard: Literal["full", "serve"] = Field(
        default="full",
        description="serve: only what `bondhu apply` needs of it, without Ray's pages, which saves 190 MB",
    )
    num_cpus: int | None = Field(default=None, ge=1, description="CPUs that Ray may use; none: all")
    object_store_mb: int = Field(default=100, ge=80, description="size of the shared-memory object store, MB")


class WorkerSettings(Frozen):
    """The Celery worker."""

    enabled: bool = Field(default=True, description="start a worker")
    concurrency: int = Field(default=1, ge=1, description="number of worker processes")
    task_timeout_s: float = Field(default=300, gt=0, description="timeout of a task, which is then killed, s")
    stall_timeout_s: float | None = Field(
        default=None,
        gt=0,
        description="timeout of a scheduled round trip through the queue; after it, the worker is restarted, s; none: "
        "task_timeout_s and two minutes",
    )
    max_tasks: int | None = Field(
        default=None, ge=1, description="tasks after which a worker process is restarted; none: no limit"
    )
    max_memory_mb: int | None = Field(
        default=None,
        ge=100,
        description="memory above which a worker process is restarted after its task, MB; none: no limit",
    )

    @property
    def answers_within_s(self) -> float:
        """How old the last round trip through the queue may be: others wait while a task runs."""
        return self.task_timeout_s + 120 if self.stall_timeout_s is None else self.stall_timeout_s

    @model_validator(mode="after")
    def _waits_for_a_task(self) -> Self:
        if self.stall_timeout_s is not None and self.stall_timeout_s <= self.task_timeout_s:
            raise ValueError("stall_timeout_s must be longer than task_timeout_s: a task keeps others waiting")
        return self


class RedisSettings(Frozen):
    """Redis: limits, cache, streams and the job queue."""

    url: str | None = Field(default=None, description="redis:// URL; none: start an embedded server on a Unix socket")


class DatabaseSettings(Frozen):
    """The SQL database; the pool settings apply to each process and to Postgres only."""

    url: str | None = Field(default=None, description="SQLAlchemy async URL; none: SQLite under var_dir")
    pool_min: int = Field(default=2, ge=1, description="connections that are kept open when idle")
    pool_max: int = Field(default=10, ge=1, description="maximum connections; at least pool_min")
    pool_timeout_s: float = Field(default=30, gt=0, description="maximum wait for a connection, s")

    @field_validator("url")
    @classmethod
    def _connectable(cls, url: str | None) -> str | None:
        if url is not None and url.startswith("postgres"):
            connect_arguments(dict(parse_qsl(urlsplit(url).query)))
        return url

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.pool_min > self.pool_max:
            raise ValueError(f"pool_min {self.pool_min} must not exceed pool_max {self.pool_max}")
        return self


class LedgerSettings(Frozen):
    """The write-ahead log in front of the table of requests (serving/ledger/ledger.py)."""

    write_s: float = Field(default=1.0, gt=0, description="interval of writing rows to SQL, s")
    sync_s: float = Field(
        default=1.0, gt=0, description="interval of fsync; a crash of the machine can lose this much, s"
    )
    adopt_s: float = Field(default=5.0, gt=0, description="interval of looking for journals of dead workers, s")
    max_journal_bytes: int = Field(
        default=256 * 2**20, ge=2**20, description="maximum journal of a worker while SQL is down, bytes; above: 503"
    )


class BackupSettings(Frozen):
    """Where `bondhu backup` writes, and who can read it: docs/backup.md."""

    folder: Path | None = Field(
        default=None, description="folder of backups, relative to the root; none: name it on the command line"
    )
    recipients: tuple[str, ...] = Field(
        default=(),
        description="public keys (age1...) that can decrypt backups; `bondhu backup --new-identity` makes one",
    )
    keep: int = Field(default=14, ge=1, description="number of full backups to keep; older ones are deleted")
    s3: str | None = Field(
        default=None,
        pattern=r"^s3://[^/]+(/.*)?$",
        description="bucket for a copy of each backup (s3://BUCKET/PREFIX); needs boto3: docs/backup.md",
    )
