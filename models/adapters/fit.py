"""Whether a LoRA adapter fits its base: its files, its rank and the shapes of its matrices.

Reads peft's configuration, the header of the safetensors file (https://github.com/huggingface/safetensors, Format) and
the base's config.json, so that it takes milliseconds. It knows the layers of the Llama family, which Mistral shares;
the shapes of other layers are not checked. It does not know who serves the adapter.
"""

import json
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

ANY_RANK = 2**31
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MAX_HEADER_BYTES = 100 * 2**20  # as safetensors itself allows
MAX_NAME_CHARS = 1000  # of a matrix: its end says which it is
_MATRIX = re.compile(r"\.layers\.(?P<layer>\d+)\.[\w.]*?(?P<module>\w+)\.lora_(?P<side>[AB])\.weight$")
_PACKED = {
    "q_proj": "qkv_proj",
    "k_proj": "qkv_proj",
    "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj",
    "up_proj": "gate_up_proj",
}


def misfits(adapter: Path, base: Path | None, *, max_rank: int, modules: Collection[str] | None = None) -> list[str]:
    """Return why the adapter cannot be served on the base; empty if it can.

    Args:
        adapter: the folder that peft wrote.
        base: the folder of the base; None: it is not on this machine, and no shapes are compared.
        max_rank: the engine's bound.
        modules: names of the layers that the engine has prepared for adapters, by vLLM's names; None: all.

    """
    if not adapter.is_dir():
        return [f"{adapter} is no folder with an adapter"]
    try:
        config = _read_json(adapter / CONFIG)
        shapes = _shapes(adapter / WEIGHTS)
        base_config = None if base is None else _read_json(base / "config.json")
    except FileNotFoundError as problem:
        return [f"it has no {Path(problem.filename).name} in {Path(problem.filename).parent}"]
    except (OSError, ValueError, struct.error) as problem:
        return [f"it cannot be read: {problem}"]
    problems = list(_config_problems(config, max_rank))
    return problems or list(_shape_problems(shapes, base_config, max_rank, modules))


def _config_problems(config: Mapping[str, Any], max_rank: int) -> Iterator[str]:
    if config.get("peft_type", "LORA") != "LORA":
        yield f"it is of type {config['peft_type']}, not LORA"
    for key in ("r", "lora_alpha", "target_modules"):
        if key not in config:
            yield f"{CONFIG} has no {key}"
    ranks = [config.get("r", 0), *(config.get("rank_pattern") or {}).values()]
    if (rank := max(ranks)) > max_rank:
        yield f"its rank {rank} is above the bound of its base, {max_rank} (engine.max_lora_rank)"
    if config.get("use_dora"):
        yield "it is a DoRA, which engines cannot serve"
    if config.get("bias", "none") != "none":
        yield f"it changes biases (bias: {config['bias']}), which engines cannot serve"


def _shape_problems(
    shapes: Mapping[str, list[int]], base: Mapping[str, Any] | None, max_rank: int, modules: Collection[str] | None
) -> Iterator[str]:
    if not shapes:
        yield f"{WEIGHTS} has no weights"
    expected = {} if base is None else _layers(base.get("text_config") or base)
    layers = None if base is None else (base.get("text_config") or base).get("num_hidden_layers")
    for name, shape in sorted(shapes.items()):
        found = _MATRIX.search(name[-MAX_NAME_CHARS:])
        if found is None:
            continue
        module, side = found["module"], found["side"]
        if layers is not None and int(found["layer"]) >= layers:
            yield f"it has a layer {found['layer']}, and its base only {layers} layers"
            return
        if modules is not None and not {module, _PACKED.get(module, module)} & set(modules):
            yield f"it changes {module}, which is not among engine.lora_target_modules"
            return
        if len(shape) != 2 or shape[0 if side == "A" else 1] > max_rank:
            yield f"{name} has the shape {shape}: its rank is above the bound of its base, {max_rank}"
            return
        size = shape[1] if side == "A" else shape[0]
        wanted = expected.get(module, (size, size))[0 if side == "A" else 1]
        if size != wanted:
            what = "inputs" if side == "A" else "outputs"
            yield f"it is of a base of another shape: {module} has {size} {what} in it, and {wanted} in its base"
            return


def _layers(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each linear layer of a Llama."""
    try:
        hidden, heads, inner = config["hidden_size"], config["num_attention_heads"], config["intermediate_size"]
    except KeyError:
        return {}
    head = config.get("head_dim") or hidden // heads
    queries, keys = heads * head, config.get("num_key_value_heads", heads) * head
    return {
        "q_proj": (hidden, queries),
        "k_proj": (hidden, keys),
        "v_proj": (hidden, keys),
        "o_proj": (queries, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }


def _shapes(file: Path) -> dict[str, list[int]]:
    """The shapes of the tensors in a safetensors file, which must be whole."""
    with file.open("rb") as content:
        (length,) = struct.unpack("<Q", content.read(8))
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"{file.name} is no safetensors file")
        header = json.loads(content.read(length))
    header.pop("__metadata__", None)
    end = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    if file.stat().st_size < end:
        raise ValueError(f"{file.name} is cut off: it has {file.stat().st_size} of {end} bytes")
    return {name: tensor["shape"] for name, tensor in header.items()}


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
