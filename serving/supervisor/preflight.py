"""Checks before the start what this machine lacks for the settings, with a remedy for each finding.

Memory sizes are estimates from sizes measured after load (docs/operating.md): well below them is an error, a
little below a warning. It changes nothing and does not import the heavy libraries that it looks for.
"""

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.config.schema import ModelSpec, Settings
from serving.supervisor.machine import Machine

SUPPORTED_PYTHON = ((3, 11), (3, 12))
MIB, GIB = 2**20, 2**30

RAY_MIB = 700  # head, dashboard and agents, Serve's controller and proxy, directory
GATEWAY_MIB = 175  # per gateway worker
WORKER_MIB = 150  # the Celery worker; plus 60 for each process of its pool
EMBEDDER_MIB = 650
ENGINE_MIB = {"cpu": 1700, "gpu": 4000}  # host memory of an engine whose model file has no estimate
ENOUGH = 0.75  # of an estimate; less memory than that is an error
DISK_MIB = 1024
# The longest socket path below the runtime directory; a Unix socket's path has at most 107 bytes.
LONGEST_SOCKET = "/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
SOCKET_PATH_MAX = 107


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is missing, with a remedy; `fatal`: the stack cannot start without it."""

    what: str
    remedy: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}."


def examine(settings: Settings, machine: Machine | None = None) -> list[Finding]:
    """Return all findings; empty if nothing is missing."""
    machine = machine or Machine()
    checks = (_python, _processor, _packages, _gpus, _model_files, _revisions, _memory, _disk, _socket_paths, _ports)
    return [finding for check in checks for finding in check(settings, machine)]


def _python(_settings: Settings, machine: Machine) -> Iterator[Finding]:
    version = machine.python()
    if version not in SUPPORTED_PYTHON:
        current = ".".join(map(str, version))
        remedy = "Install Python 3.11 or 3.12 and recreate .venv with it: rm -r .venv; make up PYTHON=python3.11"
        yield Finding(f"Python {current} is not supported", remedy)


def _processor(settings: Settings, machine: Machine) -> Iterator[Finding]:
    if settings.profile != "cpu" or settings.ray.address or machine.architecture() != "x86_64":
        return
    if "avx2" not in machine.cpu_flags():
        remedy = (
            "vLLM's CPU build needs it: use a newer CPU (from about 2015), expose the host's CPU to the virtual "
            "machine (QEMU: -cpu host), or use a GPU (make up PROFILE=gpu)"
        )
        yield Finding("this CPU has no AVX2", remedy)


# Without them `ray start` silently starts no dashboard, which `bondhu apply` needs (ray/dashboard/optional_deps.py).
DASHBOARD_NEEDS = ("aiohttp_cors", "opencensus", "opentelemetry.exporter.prometheus")


def _packages(settings: Settings, machine: Machine) -> Iterator[Finding]:
    for name in DASHBOARD_NEEDS:
        if not settings.ray.address and not machine.has_package(name):
            yield Finding(f"Ray's dashboard needs {name}, which is not installed", "Install it: make install")
    runs_vllm = any(not spec.runs_llama_cpp for spec in settings.served())
    if not settings.ray.address and runs_vllm and not machine.has_package("vllm"):
        yield Finding("vLLM is not installed", f"Install it: make install PROFILE={settings.profile}")
    if any(spec.runs_llama_cpp for spec in settings.served()) and not machine.has_package("xllamacpp"):
        yield Finding("llama.cpp (xllamacpp) is not installed", f"Install it: make install PROFILE={settings.profile}")


def _gpus(settings: Settings, machine: Machine) -> Iterator[Finding]:
    if settings.profile != "gpu" or settings.ray.address:
        return
    gpus = machine.gpus()
    if gpus is None:
        remedy = "Install NVIDIA's driver (`nvidia-smi` must work), or run on the CPU: make up PROFILE=cpu"
        yield Finding("no working NVIDIA driver", remedy)
        return
    if not gpus:
        yield Finding("the NVIDIA driver finds no GPU", "Attach one, or run on the CPU: make up PROFILE=cpu")
        return
    largest = max(gpu.memory_bytes for gpu in gpus)
    newest = max(gpu.capability for gpu in gpus)
    for spec in settings.served():
        where = f"configs/models/{spec.id}.yaml"
        needed_gib, capability = spec.requires.gpu_memory_gib, spec.requires.gpu_capability
        if capability and newest < capability:
            remedy = "Set models.active to a model with another quantisation (`bondhu models list`)"
            yield Finding(f"{spec.id} needs compute capability {capability}, but the GPU has {newest}", remedy)
        if needed_gib and largest < needed_gib * GIB:
            remedy = f"Choose a smaller model (`bondhu models list`), or lower max_model_len in {where}"
            what = f"{spec.id} needs about {needed_gib:g} GiB of GPU memory, but the GPU has {largest / GIB:.1f} GiB"
            yield Finding(what, remedy, fatal=False)


def _model_files(settings: Settings, machine: Machine) -> Iterator[Finding]:
    if settings.ray.address:
        return  # the files are on the cluster's machines
    for spec in settings.served():
        directory = spec.directory(settings.root)
        if directory is not None and (missing := missing_from(spec, directory)):
            remedy = f"Fetch it: bondhu models fetch {spec.id}"
            if spec.source is None:
                remedy = f"Set `path` in configs/models/{spec.id}.yaml, or put the model there (git checkout models)"
            yield Finding(f"{spec.id}: {directory} has no {missing}", remedy)
        for adapter in spec.adapters:
            if not (settings.root / adapter.path).exists():
                remedy = f"Correct its path in configs/models/{spec.id}.yaml, or set `optional: true` there"
                if adapter.source is not None:
                    remedy = f"Fetch it: bondhu models fetch {adapter.id}"
                yield Finding(f"{spec.id}: the adapter {adapter.id} was not found at {adapter.path}", remedy)
    for path in (spec.path for spec in settings.embedder.in_use):
        if "/" not in path and path.startswith("gt-") and not machine.has_package(path.replace("-", "_")):
            remedy = "Install it (make install), or set embedder.enabled: false in configs/bondhu.yaml"
            yield Finding(f"the embedder's package {path} is not installed", remedy)


def _revisions(settings: Settings, _machine: Machine) -> Iterator[Finding]:
    for spec in settings.served():
        if spec.directory(settings.root) is None and not re.fullmatch(r"[0-9a-f]{40}", spec.revision or ""):
            remedy = f"Set `revision` in configs/models/{spec.id}.yaml to a commit"
            yield Finding(f"{spec.id}: the files of {spec.path} on the hub may change", remedy, fatal=False)


def missing_from(spec: ModelSpec, directory: Path) -> str:
    """Return what a model's local weights lack; "" if they are complete."""
    if spec.runs_llama_cpp:
        return "" if directory.is_file() else "GGUF file"
    if not (directory / "config.json").is_file():
        return "config.json"
    if spec.engine_arguments.get("load_format") == "dummy":
        return ""  # random weights, for benchmarks
    weights = (*directory.glob("*.safetensors"), *directory.glob("*.bin"), *directory.glob("*.pt"))
    return "" if weights else "weights (*.safetensors)"


def _memory(settings: Settings, machine: Machine) -> Iterator[Finding]:
    needed, available = needed_memory_bytes(settings), machine.available_memory_bytes()
    if available >= needed:
        return
    advice = ["Stop other programs, give the machine or container more memory"]
    if settings.models.also:
        advice.append("serve fewer models (models.also)")
    if settings.embedder.enabled:
        advice.append(f"or disable the embedder (embedder.enabled: false saves {EMBEDDER_MIB} MiB)")
    what = f"about {needed / GIB:.1f} GiB of memory are needed, but only {available / GIB:.1f} GiB are available"
    yield Finding(what, ", ".join(advice), fatal=available < ENOUGH * needed)


def needed_memory_bytes(settings: Settings) -> int:
    """Return the estimated memory of all processes on this machine, bytes."""
    mib: float = GATEWAY_MIB * settings.gateway.workers
    if settings.worker.enabled:
        mib += WORKER_MIB + (60 * settings.worker.concurrency if settings.worker.concurrency > 1 else 0)
    if settings.ray.address is None:
        mib += RAY_MIB + settings.ray.object_store_mb
        reranker = () if settings.reranker is None else (settings.reranker,)
        mib += EMBEDDER_MIB * sum(spec.replicas for spec in (*settings.embedder.in_use, *reranker))
        mib += sum(_engine_mib(settings, spec) for spec in settings.served())
    return int(mib * MIB)


def _engine_mib(settings: Settings, spec: ModelSpec) -> float:
    scaling = spec.deployment.autoscaling
    replicas = spec.deployment.replicas if scaling is None else max(1, scaling.min_replicas)
    stated_gib = spec.requires.memory_gib
    return replicas * (stated_gib * 1024 if stated_gib else ENGINE_MIB[settings.profile])


def _disk(settings: Settings, machine: Machine) -> Iterator[Finding]:
    for path, key in ((settings.var_dir, "var_dir"), (settings.runtime_dir, "runtime_dir")):
        free = machine.free_disk_bytes(path)
        if free < DISK_MIB * MIB:
            what = f"only {free // MIB} MiB are free in {path}, about {DISK_MIB} MiB are needed"
            remedy = f"Free disk space, or set {key} to a directory on a larger disk"
            yield Finding(what, remedy, fatal=free < DISK_MIB * MIB // 4)
    shm = Path("/dev/shm")  # noqa: S108 - shared memory, not a temporary file
    needed = settings.ray.object_store_mb * 10**6
    if settings.ray.address is None and machine.free_disk_bytes(shm) < needed:
        remedy = "Increase it (docker run --shm-size=512m); otherwise Ray's object store uses the disk, which is slow"
        yield Finding(
            f"{shm} has less than the {needed // 10**6} MB that Ray's object store needs", remedy, fatal=False
        )


def _socket_paths(settings: Settings, _machine: Machine) -> Iterator[Finding]:
    if len(str(settings.runtime_dir)) + len(LONGEST_SOCKET) > SOCKET_PATH_MAX:
        limit = SOCKET_PATH_MAX - len(LONGEST_SOCKET)
        remedy = f"Set runtime_dir (BONDHU__RUNTIME_DIR) to a path of at most {limit} characters, such as /tmp/bondhu"
        yield Finding(f"{settings.runtime_dir} is too long for Unix sockets", remedy)


def _ports(settings: Settings, machine: Machine) -> Iterator[Finding]:
    ports = [(settings.gateway.host, settings.gateway.port, "gateway.port")]
    if settings.ray.address is None:
        ports += [
            ("127.0.0.1", settings.ray.port, "ray.port"),
            ("127.0.0.1", settings.ray.ingress_port, "ray.ingress_port"),
            (settings.ray.dashboard_host, settings.ray.dashboard_port, "ray.dashboard_port"),
        ]
    for host, port, key in ports:
        trouble = machine.port_trouble(host, port)
        if trouble is None:
            continue
        variable = "BONDHU__" + key.upper().replace(".", "__")
        other = f"set another port with {key} in configs/bondhu.yaml or {variable}"
        if trouble.reason == errno.EADDRINUSE:
            owner = f" by {trouble.owner}" if trouble.owner else ""
            yield Finding(f"port {port} is in use{owner}", f"Stop that process, or {other}={port + 100}")
        elif trouble.reason == errno.EACCES:
            yield Finding(f"port {port} needs root privileges", f"All ports below 1024 do: {other}=8000")
        else:
            problem = errno.errorcode.get(trouble.reason, str(trouble.reason))
            where = key.partition(".")[0]
            yield Finding(f"cannot listen on {host}:{port} ({problem})", f"Check the host under {where}, or {other}")
