"""The service that the check starts: a root of its own with model files of known shape, on the machine's profile.

It copies configs/ and adds its own model files, so that nothing of the repository or of a running stack is touched.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.gpu.weights import LLAMA_8B, TINY, Shape, write_checkpoint
from bench.stack import Bondhu, Target
from models.fetch.source import Form, folder_of, parse_source
from serving.config.load import load_settings

REPOSITORY = Path(__file__).resolve().parents[2]
TOKENIZER = REPOSITORY / "models/demo/quantised"
ADAPTER = REPOSITORY / "models/companion/adapter"
PUBLISHED = "smollm2-135m-instruct"
MAX_NUM_SEQS = {"gpu": 256, "cpu": 16}


@dataclass(frozen=True)
class Variant:
    """One quantisation of the shape: the label of the results, and what vLLM is told."""

    label: str
    model: str
    engine: dict[str, Any]


VARIANTS = {
    "gpu": (
        Variant("FP8", "check-fp8", {"quantization": "fp8"}),
        Variant("W4A16", "check-w4a16", {}),
    ),
    "cpu": (Variant("bf16", "check-bf16", {}), Variant("W4A16", "check-w4a16", {})),
}


@dataclass(frozen=True)
class Service:
    """A stack that was prepared and not yet started."""

    bondhu: Bondhu
    root: Path
    shape: Shape
    variants: tuple[Variant, ...]
    real_model: str | None  # the published small model, with an adapter where one was given
    adapter: str | None

    def key(self) -> str:
        """A new key without limits: what is measured is the service, not a tier."""
        return self.bondhu.command("keys", "create", "--app", "check", "--tier", "admin").split()[-1]

    def through_gateway(self, key: str, model: str) -> Target:
        """Where requests go through the gateway."""
        return Target(self.bondhu.gateway().url, key, model)

    def serve(self, active: str, *also: str) -> None:
        """Edit models.active and models.also as an operator would; `bondhu apply` makes it so."""
        path = self.root / "configs/bondhu.yaml"
        document = yaml.safe_load(path.read_text())
        document["models"] = {**document["models"], "active": active, "also": list(also)}
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def stated_gib(self, variant: Variant) -> float | None:
        """GPU memory that the published model of the shape says it needs in its file; None where there is none."""
        spec = self.bondhu.settings.catalogue.get(f"llama-3.1-8b-instruct-{variant.label.lower()}")
        return spec.requires.gpu_memory_gib if spec is not None and self.shape is LLAMA_8B else None

    def engine_log(self, model: str) -> str:
        """What the engines of a model wrote, whole."""
        logs = sorted((self.bondhu.settings.var_dir / "logs").glob(f"engine-{model}-*.log"))
        return "\n".join(log.read_text(errors="replace") for log in logs)


def fetched_weights() -> Path | None:
    """The published small model's weights, if `bondhu models fetch` brought them; the unquantised ones first."""
    spec = load_settings(REPOSITORY).catalogue[PUBLISHED]
    assert spec.source is not None, "its weights are fetched"
    source, kept = parse_source(spec.source.name, spec.source.sha256), REPOSITORY / "var/models"
    forms: tuple[Form, ...] = ("checkpoint", spec.source.form)
    return next((folder for form in forms if (folder := folder_of(source, form, kept)).is_dir()), None)


def prepare(directory: Path, profile: str, real: Path | None, adapter: Path | None, *, tiny: bool) -> Service:
    """Write the root and the checkpoints below `directory`.

    Args:
        directory: empty.
        profile: "gpu" or "cpu".
        real: a checkpoint with weights that is served beside; None: none.
        adapter: a LoRA adapter on `real`; None: none.
        tiny: a tiny shape instead of Llama 3.1 8B's.

    """
    root = directory / "root"
    shutil.copytree(REPOSITORY / "configs", root / "configs")
    (root / "models").symlink_to(REPOSITORY / "models")
    shape = TINY if tiny else LLAMA_8B
    variants = VARIANTS[profile]
    for variant in variants:
        path = write_checkpoint(directory / "checkpoints", shape, TOKENIZER, variant.label)
        _write_model(root, profile, variant.model, path, variant.label, {"load_format": "dummy", **variant.engine})
    real_model = None if real is None else "check-real"
    adapter_id = None if real is None or adapter is None else "check-companion"
    if real is not None:
        engine: dict[str, Any] = {"max_model_len": 2048}
        more: dict[str, Any] = {}
        if adapter is not None:
            more["adapters"] = [{"id": adapter_id, "path": str(adapter)}]
        _write_model(root, profile, "check-real", real, "bf16", engine, more)
    document = yaml.safe_load((root / "configs/bondhu.yaml").read_text())
    document["models"] = {**document["models"], "active": variants[0].model, "also": []}
    document["embedder"] = {"enabled": False}  # not part of what is measured
    document["gateway"] = {**document["gateway"], "workers": 4 if profile == "gpu" else 1}
    (root / "configs/bondhu.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    overlay = root / f"configs/profiles/{profile}.yaml"
    changed = yaml.safe_load(overlay.read_text())
    changed.pop("embedder", None)
    changed["gateway"] = document["gateway"]
    overlay.write_text(yaml.safe_dump(changed, sort_keys=False))
    bondhu = Bondhu(directory / "var", {"BONDHU_ROOT": str(root), "BONDHU_PROFILE": profile})
    bondhu.settings.var_dir.mkdir(parents=True, exist_ok=True)
    return Service(bondhu, root, shape, variants, real_model, adapter_id)


def _write_model(
    root: Path,
    profile: str,
    model: str,
    path: Path,
    label: str,
    engine: dict[str, Any],
    more: dict[str, Any] | None = None,
) -> None:
    document: dict[str, Any] = {
        "id": model,
        "description": "made by the GPU check",
        "path": str(path),
        "quantization": label,
        "profiles": [profile],
        "engine": {"dtype": "bfloat16", "max_model_len": 4096, "max_num_seqs": MAX_NUM_SEQS[profile], **engine},
        "deployment": {"num_cpus": 0.5, "startup_timeout_s": 300},
        **(more or {}),
    }
    if profile == "gpu":
        # Two engines stand beside each other during a swap, and the small model beside one of them.
        small = "load_format" not in engine
        document["engine"]["gpu_memory_utilization"] = 0.12 if small else 0.42
        document["deployment"]["num_gpus"] = 0.1 if small else 0.42
        # CUDA graphs without the compiler: half a minute of start-up less, for a few percent of speed.
        document["engine"]["compilation_config"] = {"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"}
    else:
        document["engine"] |= {
            "enforce_eager": True,
            "distributed_executor_backend": "vllm.v1.executor.uniproc_executor.UniProcExecutor",
            "num_gpu_blocks_override": 256,
        }
        document["env"] = {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
            "TORCH_COMPILE_DISABLE": "1",
        }
    (root / f"configs/models/{model}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
