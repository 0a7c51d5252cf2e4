"""Converts a LoRA adapter of peft to the GGUF that llama.cpp loads (its `convert_lora_to_gguf.py`).

It supports Llama's architecture. The rows of B for Q and K are put into llama.cpp's order. It does not need torch,
which the image for small machines does not contain.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy
from safetensors import deserialize

_LAYERS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_adapter(directory: Path, base: Path, out: Path) -> None:
    """Write the adapter in `directory` for the GGUF `base` to the file `out`; raises OSError, KeyError, ValueError."""
    config = json.loads((directory / "adapter_config.json").read_text())
    if config.get("use_rslora") or config.get("use_dora"):
        raise ValueError(f"{directory}: llama.cpp knows plain LoRA only, not rsLoRA or DoRA")
    reader = gguf.GGUFReader(base)
    heads = reader.fields["llama.attention.head_count"].contents()
    kv_heads = reader.fields["llama.attention.head_count_kv"].contents()
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(config["lora_alpha"]))
    for name, weight in _weights(directory):
        layer, part, side = name
        if side == "lora_b" and part in ("attn_q", "attn_k"):
            weight = permuted(weight, heads if part == "attn_q" else kv_heads)
        writer.add_tensor(f"blk.{layer}.{part}.weight.{side}", weight.astype(numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def permuted(weight: Any, heads: int) -> Any:
    """Return Q's or K's rows (heads x size, inputs) in llama.cpp's order instead of transformers'."""
    rows, inputs = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, inputs).swapaxes(1, 2).reshape(rows, inputs)


def _weights(directory: Path) -> Iterator[tuple[tuple[str, str, str], Any]]:
    content = (directory / "adapter_model.safetensors").read_bytes()
    for name, tensor in deserialize(content):  # type: ignore[no-untyped-call]  # compiled, without types
        # base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight
        path = name.partition(".layers.")[2].split(".")
        part = _LAYERS.get(".".join(path[1:3]))
        if part is None or len(path) != 5:
            raise ValueError(f"{directory}: {name} is no LoRA of a Llama's layer")
        yield (path[0], part, path[3].lower()), as_float32(tensor["dtype"], tensor["data"]).reshape(tensor["shape"])


def as_float32(dtype: str, data: bytes) -> Any:
    """A tensor's bytes as safetensors stores them; numpy has no bfloat16, which is the upper half of a float32."""
    if dtype == "BF16":
        return (numpy.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    if dtype not in ("F16", "F32"):
        raise ValueError(f"weights of type {dtype}: an adapter has BF16, F16 or F32")
    return numpy.frombuffer(data, {"F16": "<f2", "F32": "<f4"}[dtype]).astype("<f4")


if __name__ == "__main__":
    write_adapter(*(Path(argument) for argument in sys.argv[1:]))
