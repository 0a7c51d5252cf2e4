"""A Llama with one layer, random weights and a token for each byte, as a GGUF; and a LoRA adapter on it."""

import json
from pathlib import Path

import gguf
import numpy
import torch
from safetensors.torch import save_file

HIDDEN, HEADS, KV_HEADS, CONTEXT = 64, 4, 2, 1024
SHAPES = {"attn_q": (64, 64), "attn_k": (32, 64), "attn_v": (32, 64), "attn_output": (64, 64)}
SHAPES |= {"ffn_gate": (64, 64), "ffn_up": (64, 64), "ffn_down": (64, 64)}
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "


def byte_tokens() -> list[str]:
    """Each byte as GPT-2's tokenizer writes it (openai/gpt-2, encoder.py, `bytes_to_unicode`)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def write_gguf(path: Path) -> None:
    """Write the model."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(64)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*byte_tokens(), "qz", "<|end|>"])
    writer.add_token_types([gguf.TokenType.NORMAL] * 257 + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["q z"])  # llama.cpp wants one
    writer.add_eos_token_id(257)
    writer.add_bos_token_id(257)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    random = numpy.random.default_rng(0)
    for name, shape in SHAPES.items():
        writer.add_tensor(f"blk.0.{name}.weight", random.standard_normal(shape).astype(numpy.float32) / 8)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", numpy.ones(HIDDEN, dtype=numpy.float32))
    writer.add_tensor("token_embd.weight", random.standard_normal((258, HIDDEN)).astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_adapter(directory: Path, *, rank: int = 4, seed: int = 0) -> None:
    """Write a random adapter on it, as peft does."""
    names = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
    names += ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, (outputs, inputs) in zip(names, SHAPES.values(), strict=True):
        layer = f"base_model.model.model.layers.0.{name}"
        tensors[f"{layer}.lora_A.weight"] = torch.randn(rank, inputs, generator=random)
        tensors[f"{layer}.lora_B.weight"] = torch.randn(outputs, rank, generator=random)
    directory.mkdir(parents=True)
    save_file(tensors, directory / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": list(names)}
    (directory / "adapter_config.json").write_text(json.dumps(config))
