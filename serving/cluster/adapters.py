"""Whether the adapters of the served models can be served, before anything changes."""

from models.adapters import fit
from serving.config.errors import Problem
from serving.config.schema import ModelSpec, Settings


def misfits(settings: Settings) -> list[Problem]:
    """Every adapter of a served model that does not fit it; files on a cluster's machines are not looked at."""
    if settings.ray.address is not None:
        return []
    return [problem for spec in settings.served() for problem in misfits_of(settings, spec)]


def misfits_of(settings: Settings, spec: ModelSpec) -> list[Problem]:
    """The adapters of one model that do not fit it."""
    problems = []
    directory = spec.directory(settings.root)
    base = directory if directory is not None and (directory / "config.json").is_file() else None
    modules = spec.engine_arguments.get("lora_target_modules")
    for adapter in spec.adapters:
        path = settings.root / adapter.path
        if adapter.source is not None and not path.exists():
            continue  # `bondhu up` and `bondhu apply` fetch it before they look
        if spec.runs_llama_cpp and path.suffix == ".gguf":
            found = [] if path.is_file() else [f"{path} does not exist"]
        else:
            max_rank = fit.ANY_RANK if spec.runs_llama_cpp else spec.max_adapter_rank
            found = fit.misfits(path, base, max_rank=max_rank, modules=modules)
        where = f"configs/models/{spec.id}.yaml"
        problems += [Problem(where, "adapters", f"`{adapter.id}` does not fit {spec.id}: {each}") for each in found]
    return problems
