"""How Ray places, scales and restarts a model's engine: `deployment` in a file of configs/models/."""

from typing import Self

from pydantic import Field, model_validator

from serving.config.frozen import Frozen


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
    idle_s: float | None = Field(
        default=None,
        ge=5,
        description="time without a request after which the engine sleeps: with engine.enable_sleep_mode as vLLM does "
        "it, else its process stops; with autoscaling.min_replicas 0, Ray removes the replica. The next request wakes "
        "it, s; none: never",
    )
    max_restarts: int = Field(default=3, ge=0, description="in-place restarts of vLLM before the replica is replaced")
    max_in_flight: int | None = Field(
        default=None, ge=1, description="maximum concurrent requests of a replica; none: engine.max_num_seqs, else 64"
    )

    @model_validator(mode="after")
    def _one_way_to_scale(self) -> Self:
        if self.autoscaling is not None and "replicas" in self.model_fields_set:
            raise ValueError("set either replicas or autoscaling, not both")
        return self
