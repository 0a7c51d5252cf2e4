"""Loads and cross-checks the configuration: `load_settings` is the only way in.

Order, later wins: configs/bondhu.yaml, configs/profiles/<profile>.yaml, DATABASE_URL, BONDHU__SECTION__KEY variables.
Every problem that can be found in one pass is reported in one `ConfigError`. Imports neither torch, vLLM nor Ray.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import ValidationError

from models.vllm import arguments
from serving.config.errors import ConfigError, Problem, from_validation, suggest
from serving.config.model_ids import LOCAL, ModelIds, article, declared
from serving.config.schema import (
    AdmissionSettings,
    AutoscalingSpec,
    DatabaseSettings,
    DeploymentSpec,
    EmbedderSettings,
    GatewaySettings,
    ModelSpec,
    ModelsSettings,
    Profile,
    RaySettings,
    RedisSettings,
    ServiceFile,
    Settings,
    WorkerSettings,
)
from serving.config.sources import Merged, read_environment, read_yaml
from serving.config.weights import resolved, source_problems

__all__ = [
    "AdmissionSettings",
    "AutoscalingSpec",
    "ConfigError",
    "DatabaseSettings",
    "DeploymentSpec",
    "EmbedderSettings",
    "GatewaySettings",
    "ModelSpec",
    "ModelsSettings",
    "Problem",
    "RaySettings",
    "RedisSettings",
    "Settings",
    "WorkerSettings",
    "find_root",
    "load_catalogue",
    "load_settings",
]

SERVICE_FILE = "configs/bondhu.yaml"
DATABASE_URL = "DATABASE_URL"  # as hosted Postgres (such as Supabase) provides it: without SQLAlchemy's driver
_DRIVERLESS = re.compile(r"^postgres(ql)?://")
_SECRET_SUFFIXES = ("_TOKEN", "_KEY", "_SECRET", "_PASSWORD")


def find_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory that holds configs/: BONDHU_ROOT, the cwd or a parent, or the package's parent."""
    if override := environ.get("BONDHU_ROOT"):
        return Path(override).resolve()
    package = Path(__file__).resolve().parents[2]
    for candidate in (Path.cwd(), *Path.cwd().parents):
        if (candidate / SERVICE_FILE).is_file():
            return candidate
    return package


def load_settings(root: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the validated settings; raise `ConfigError` with every problem found."""
    root = (root or find_root(environ)).resolve()
    problems: list[Problem] = []
    merged = _merge_sources(root, environ, problems)
    _refuse_passwords(merged, problems)
    service: ServiceFile | None = None
    try:
        service = ServiceFile.model_validate(merged.values)
    except ValidationError as error:
        problems += from_validation(error, ServiceFile, merged.origin)
    catalogue = load_catalogue(root, problems)
    if service is not None:
        # A model whose file is invalid has been reported; do not report it as unknown too.
        files = {file.stem for file in (root / "configs/models").glob("*.yaml")}
        problems += _cross_check(service, catalogue, files, merged)
    if problems or service is None:
        raise ConfigError(problems)
    values = {name: getattr(service, name) for name in ServiceFile.model_fields}
    values["var_dir"] = (root / service.var_dir.expanduser()).resolve()
    values["runtime_dir"] = service.runtime_dir or _runtime_dir(values["var_dir"], environ)
    catalogue = {name: resolved(spec, root, values["var_dir"]) for name, spec in catalogue.items()}
    return Settings(root=root, catalogue=catalogue, **values)


def load_catalogue(root: Path, problems: list[Problem]) -> dict[str, ModelSpec]:
    """Return every valid file of configs/models by id, appending to `problems` for the others."""
    catalogue: dict[str, ModelSpec] = {}
    directory = root / "configs/models"
    for file in sorted(directory.glob("*")):
        where = file.relative_to(root).as_posix()
        if file.suffix == ".yml":
            problems.append(Problem(where, "", f"files ending in .yml are ignored: rename it to {file.stem}.yaml"))
        elif file.suffix == ".yaml":
            spec = _load_model(file, where, problems)
            if spec is not None:
                catalogue[spec.id] = spec
    return catalogue


def _merge_sources(root: Path, environ: Mapping[str, str], problems: list[Problem]) -> Merged:
    merged = Merged()
    merged.overlay(read_yaml(root / SERVICE_FILE, SERVICE_FILE, problems), SERVICE_FILE)
    overrides = read_environment(environ, ServiceFile, problems)
    for name, key in (("BONDHU_PROFILE", "profile"), ("BONDHU_VAR_DIR", "var_dir")):
        if environ.get(name):
            overrides.append((name, {key: environ[name]}))
    if url := environ.get(DATABASE_URL):
        overrides.insert(0, (DATABASE_URL, {"database": {"url": _DRIVERLESS.sub("postgresql+asyncpg://", url)}}))
    chosen = merged.values.get("profile", "cpu")
    for _, values in overrides:
        chosen = values.get("profile", chosen)
    if chosen in get_args(Profile):
        where = f"configs/profiles/{chosen}.yaml"
        overlay = read_yaml(root / where, where, problems)
        if "profile" in overlay:
            problems.append(Problem(where, "profile", "a profile cannot choose the profile"))
            del overlay["profile"]
        merged.overlay(overlay, where)
    for name, values in overrides:
        merged.overlay(values, name)
    return merged


def _load_model(file: Path, where: str, problems: list[Problem]) -> ModelSpec | None:
    before = len(problems)
    values = read_yaml(file, where, problems)
    if len(problems) > before:
        return None
    spec: ModelSpec | None = None
    try:
        spec = ModelSpec.model_validate(values)
    except ValidationError as error:
        problems += from_validation(error, ModelSpec, lambda _: where)
    if spec is not None:
        problems += source_problems(spec, where, file.parents[2])
    if spec is not None and spec.id != file.stem:
        problems.append(Problem(where, "id", f"`{spec.id}` must equal the file name `{file.stem}`"))
    engine, server, env = (_mapping(values.get(name)) for name in ("engine", "server", "env"))
    problems += (Problem(where, key, message) for key, message in arguments.problems(engine, server))
    for name in env:
        if isinstance(name, str) and name.upper().endswith(_SECRET_SUFFIXES):
            problems.append(Problem(where, f"env.{name}", "secrets must not be in a file: set it in the environment"))
    return spec if len(problems) == before else None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _cross_check(
    service: ServiceFile, catalogue: Mapping[str, ModelSpec], files: set[str], merged: Merged
) -> list[Problem]:
    problems = []

    def report(key: str, message: str) -> None:
        problems.append(Problem(merged.origin(tuple(key.split("."))), key, message))

    chosen = [("models.active", service.models.active)]
    chosen += (("models.also", name) for name in service.models.also)
    names = [name for _, name in chosen]
    for key, name in chosen:
        if name not in catalogue:
            if name not in files:
                report(key, f"there is no model `{name}` in configs/models/" + suggest(name, files))
        elif service.profile not in catalogue[name].profiles:
            can = ", ".join(catalogue[name].profiles)
            report(key, f"`{name}` does not run under profile {service.profile}, only under {can}")
    for name in sorted({name for name in names if names.count(name) > 1}):
        report("models.also", f"`{name}` is served twice")
    ids = declared(service, catalogue)
    problems += _check_next_embedder(service, merged)
    generating = ids.of("model", "adapter", "alias", served=True)
    required = {
        "memory.extraction.model": service.memory.extraction.model,
        "memory.summaries.model": service.memory.summaries.model,
        "agents.model": service.agents.model,
    }
    for key, name_ in required.items():
        if name_ is not None and name_ not in (*generating, *names):
            report(key, f"`{name_}` is not served" + suggest(name_, generating))
    guard, local = service.safety.guard, ids.of("model", served=True)
    if guard is not None and guard.model not in (*local, *names):
        remedy = "a guard has to be models.active or one of models.also; add it there"
        report("safety.guard.model", f"`{guard.model}` is not served: {remedy}{suggest(guard.model, local)}")
    problems += _check_clashes(service, ids, merged)
    problems += _check_fallbacks(ids, catalogue)
    ports = {"gateway.port": service.gateway.port}
    if service.ray.address is None:
        ray_ports = ("port", "ingress_port", "dashboard_port")
        ports |= {f"ray.{name}": getattr(service.ray, name) for name in ray_ports}
    for key, port in ports.items():
        twin = next(other for other, number in ports.items() if number == port)
        if twin != key:
            report(key, f"port {port} is already used by {twin}")
    return problems


def _check_clashes(service: ServiceFile, ids: ModelIds, merged: Merged) -> Iterator[Problem]:
    """Report duplicate ids."""
    for first, second in ids.clashes():
        other, blamed = (second, first) if second.kind == "agent" else (first, second)
        if blamed.kind in LOCAL:
            where = f"configs/models/{blamed.file}.yaml"
            yield Problem(
                where, "adapters", f"`{blamed.id}` is also an id in {other.file}.yaml, and both models are served"
            )
            continue
        is_next = blamed.id != service.embedder.id
        keys = {"alias": "models.alias", "embedder": "embedder.next.id" if is_next else "embedder.id"}
        key = keys.get(blamed.kind, f"{blamed.kind}.{blamed.id}")
        message = f"`{blamed.id}` is already the id of {article(other.kind)}"
        yield Problem(merged.origin(tuple(key.split("."))), key, message)


def _check_fallbacks(ids: ModelIds, catalogue: Mapping[str, ModelSpec]) -> Iterator[Problem]:
    for spec in catalogue.values():
        for name in spec.fallback:
            found = ids.find(name)
            may = [id_ for id_ in ids.of("model", "adapter", "external") if id_ not in spec.names]
            if name in spec.names:
                why = "a model cannot be its own fallback"
            elif found is None:
                why = f"there is no model `{name}`" + suggest(name, may)
            elif name not in may:
                why = f"`{name}` is the id of {article(found.kind)}, which is no fallback" + suggest(name, may)
            else:
                continue
            yield Problem(f"configs/models/{spec.id}.yaml", "fallback", why)


def _check_next_embedder(service: ServiceFile, merged: Merged) -> Iterator[Problem]:
    present, following = service.embedder, service.embedder.next
    if following is None:
        return
    where = merged.origin(("embedder", "next"))
    if not present.enabled:
        yield Problem(where, "embedder.next", "needs embedder.enabled, which is false")
    if (following.id, following.path) == (present.id, present.path):
        yield Problem(where, "embedder.next", "is the same as the current embedder: change id or path")


def _refuse_passwords(merged: Merged, problems: list[Problem]) -> None:
    """Report passwords in files, which are committed; they belong in the environment."""
    for section in ("database", "redis"):
        where = merged.origin((section, "url"))
        url = _mapping(merged.values.get(section)).get("url")
        if isinstance(url, str) and where.endswith(".yaml"):
            try:
                password = urlsplit(url).password
            except ValueError:
                continue
            if password:
                remedy = f"set BONDHU__{section.upper()}__URL in the environment instead"
                problems.append(Problem(where, f"{section}.url", f"contains a password; {remedy}"))


def _runtime_dir(var_dir: Path, environ: Mapping[str, str]) -> Path:
    """Return a path that is short enough for a Unix socket (108 bytes) and unique to `var_dir`."""
    base = Path(environ.get("XDG_RUNTIME_DIR") or environ.get("TMPDIR") or tempfile.gettempdir())
    return base / f"bondhu-{os.getuid()}-{hashlib.sha256(str(var_dir).encode()).hexdigest()[:8]}"
