"""Checkpoints without weights: the shape of a model and a tokenizer, for vLLM's `load_format: dummy`.

Speed and memory depend on shapes, not on what the weights say; a Llama 3.1 8B needs no download to be measured. The
text of such a model is noise, so nothing here judges it. Shape: https://huggingface.co/meta-llama/Llama-3.1-8B (its
config.json).
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GROUP_SIZE = 128  # of W4A16; a hidden size is a multiple of it


@dataclass(frozen=True)
class Shape:
    """What decides a Llama's speed and memory. Sizes in elements."""

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    positions: int

    @property
    def kv_bytes_per_token(self) -> int:
        """Of keys and values in 16 bits, all layers."""
        return 2 * self.layers * self.kv_heads * (self.hidden // self.heads) * 2


LLAMA_8B = Shape("llama-8b", 4096, 14336, 32, 32, 8, 128_256, 8192)
TINY = Shape("llama-tiny", 256, 512, 2, 4, 2, 10_000, 4096)


def write_checkpoint(directory: Path, shape: Shape, tokenizer: Path, quantization: str) -> Path:
    """Write config and tokenizer below `directory`; returns the checkpoint's directory.

    Args:
        directory: made if it is not there.
        shape: of the model.
        tokenizer: a directory with a byte-level BPE `tokenizer.json`, `tokenizer_config.json` and a chat template.
        quantization: "W4A16" writes the configuration of compressed-tensors; others leave it to engine arguments.

    """
    target = directory / f"{shape.name}-{quantization.lower()}"
    target.mkdir(parents=True)
    for file in tokenizer.iterdir():
        if file.suffix in (".json", ".jinja") and file.name not in ("config.json", "generation_config.json"):
            shutil.copy(file, target)
    known = _fill_vocabulary(target / "tokenizer.json", shape.vocabulary)
    (target / "config.json").write_text(json.dumps(_config(shape, known, quantization), indent=2))
    return target


def _fill_vocabulary(path: Path, size: int) -> dict[str, int]:
    """Give every id below `size` a word, so that what a random model says can be read as text; the special tokens."""
    document = json.loads(path.read_text())
    vocabulary: dict[str, int] = document["model"]["vocab"]
    special = {each["content"]: each["id"] for each in document["added_tokens"]}
    vocabulary |= special  # else they are numbered anew, after the words
    used_ids = set(vocabulary.values())
    for number in range(size):
        if number not in used_ids:
            vocabulary[f"Ġw{number}"] = number
    path.write_text(json.dumps(document, ensure_ascii=False))
    return special


def _config(shape: Shape, special: dict[str, int], quantization: str) -> dict[str, Any]:
    end = next((special[name] for name in ("<|im_end|>", "<|end|>") if name in special), 0)
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.hidden // shape.heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.positions,
        "rope_theta": 500000.0,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": end,
        "eos_token_id": end,
        "torch_dtype": "bfloat16",
    }
    if quantization == "W4A16":
        weights = {
            "num_bits": 4,
            "type": "int",
            "symmetric": True,
            "strategy": "group",
            "group_size": GROUP_SIZE,
            "dynamic": False,
        }
        config["quantization_config"] = {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "quantization_status": "compressed",
            "ignore": ["lm_head"],
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "weights": weights,
                    "input_activations": None,
                    "output_activations": None,
                }
            },
        }
    return config
