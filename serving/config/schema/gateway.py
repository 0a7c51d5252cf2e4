"""The sections of requests: `gateway`, `streams` and `admission`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serving.config.frozen import Frozen

Port = Annotated[int, Field(ge=1, le=65535)]


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
    stream_comment_s: float = Field(
        default=15,
        ge=0,
        description="a stream that is silent for this long gets a comment, so that proxies keep it open, s; 0: off",
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
