"""Tiny LoRA adapters of the demonstration model, made in a moment: random matrices in peft's format."""

import json
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import save_file

from tests.support.local_stack import REPOSITORY

BASE = REPOSITORY / "models/demo/quantised"


def write_lora(
    folder: Path, *, seed: int, rank: int = 4, scale: float = 8.0, hidden: int | None = None, **config: Any
) -> Path:
    """Write an adapter of the query and value layers; `seed` makes its answers its own; `hidden` is of another base."""
    shape = json.loads((BASE / "config.json").read_text())
    size = hidden or shape["hidden_size"]
    head = shape.get("head_dim") or shape["hidden_size"] // shape["num_attention_heads"]
    outputs = {"q_proj": shape["num_attention_heads"] * head, "v_proj": shape["num_key_value_heads"] * head}
    draw = numpy.random.default_rng(seed)
    tensors = {}
    for layer in range(shape["num_hidden_layers"]):
        for module, out in outputs.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            tensors[f"{name}.lora_A.weight"] = draw.normal(0, size**-0.5, (rank, size)).astype(numpy.float32)
            tensors[f"{name}.lora_B.weight"] = draw.normal(0, rank**-0.5, (out, rank)).astype(numpy.float32)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    about = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": scale * rank,
        "target_modules": list(outputs),
        "bias": "none",
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(about))
    return folder
