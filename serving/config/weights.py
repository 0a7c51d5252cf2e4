"""Where the weights of a model and of its adapters are on this machine once they are fetched; it fetches nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.fetch.errors import FetchError
from models.fetch.source import GGUF_FILE, folder_of, parse_source
from serving.config.errors import Problem
from serving.config.schema import AdapterSpec, ModelSpec


def resolved(spec: ModelSpec, root: Path, var_dir: Path) -> ModelSpec:
    """The model with the path of its fetched weights, and without optional adapters whose files do not exist."""
    changed: dict[str, Any] = {}
    if spec.source is not None:
        source = parse_source(spec.source.name, spec.source.sha256, root)
        path = folder_of(source, spec.source.form, var_dir / "models")
        changed["path"] = _below(root, path / GGUF_FILE if spec.source.form == "gguf" else path)
    adapters = tuple(_resolved_adapter(adapter, root, var_dir) for adapter in spec.adapters)
    available = tuple(adapter for adapter in adapters if not adapter.optional or (root / adapter.path).exists())
    if available != spec.adapters:
        changed["adapters"] = available
    return spec.model_copy(update=changed) if changed else spec


def _resolved_adapter(adapter: AdapterSpec, root: Path, var_dir: Path) -> AdapterSpec:
    """The adapter with the path of its fetched files."""
    if adapter.source is None:
        return adapter
    path = folder_of(parse_source(adapter.source), "adapter", var_dir / "models")
    return adapter.model_copy(update={"path": _below(root, path)})


def _below(root: Path, path: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def source_problems(spec: ModelSpec, where: str, root: Path) -> Iterator[Problem]:
    """What is wrong with the sources that a model file names; `where` is the file, `root` what its paths are below."""
    for number, adapter in enumerate(spec.adapters):
        if adapter.path.startswith("hf:"):
            yield Problem(where, f"adapters.{number}.path", "write an hf: source as `source`")
        if adapter.source is not None:
            reasons = _adapter_source_problems(spec, adapter)
            yield from (Problem(where, f"adapters.{number}.source", reason) for reason in reasons)
    if spec.source is None:
        return
    if spec.path:
        yield Problem(where, "path", "cannot be combined with source: remove one of them")
    try:
        parse_source(spec.source.name, spec.source.sha256, root)
    except FetchError as problem:
        yield Problem(where, "source.name", str(problem))
    if spec.runs_llama_cpp and spec.source.form != "gguf":
        yield Problem(where, "source.form", f"{spec.source.form} cannot be served by llama_cpp: set it to gguf")


def _adapter_source_problems(spec: ModelSpec, adapter: AdapterSpec) -> Iterator[str]:
    if adapter.path:
        yield "cannot be combined with path: remove one of them"
    if adapter.optional:
        yield "cannot be combined with optional: what has a source is fetched"
    if spec.runs_llama_cpp:
        yield "llama_cpp takes adapters as GGUF files: set path"
    try:
        source = parse_source(adapter.source or "")
    except FetchError as problem:
        yield str(problem)
    else:
        if source.kind != "hub":
            yield f"`{adapter.source}` must be hf:ORG/NAME or hf:ORG/NAME@REVISION; files on this machine go into path"
