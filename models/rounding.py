"""Quantises a Llama or Mistral checkpoint by rounding to nearest, in seconds and without calibration data.

The result is that of llm-compressor's `QuantizationModifier` without data, in the layout of compressed-tensors, which
vLLM loads (https://github.com/vllm-project/compressed-tensors): W8A8 with a scale for each output channel, and
activations that are scaled at run time; W4A16 with a scale for each group of inputs. All linear layers are quantised,
except the output head. It does not know GPTQ (`models.quantize`), nor where checkpoints come from.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from safetensors import safe_open
from safetensors.torch import save_file

Scheme = Literal["W8A8", "W4A16"]

BITS: dict[Scheme, int] = {"W8A8": 8, "W4A16": 4}
FORMATS: dict[Scheme, str] = {"W8A8": "int-quantized", "W4A16": "pack-quantized"}
WEIGHTS = "model.safetensors"
_LINEAR = ("_proj.weight",)  # q, k, v, o, gate, up, down; in Llama and Mistral no other name has this ending


def quantize_checkpoint(source: Path, out: Path, scheme: Scheme, group_size: int = 32) -> None:
    """Write the files of `source` to the new directory `out`, with quantised linear layers.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: a layer's number of inputs is not a multiple of `group_size` (W4A16).

    """
    out.mkdir()
    tensors = dict(_quantized(source, scheme, group_size))
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    for file in sorted(source.iterdir()):
        if file.suffix != ".safetensors" and file.name not in ("config.json", "model.safetensors.index.json"):
            shutil.copyfile(file, out / file.name)
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = quantization_config(scheme, group_size)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def round_to_nearest(weight: torch.Tensor, scheme: Scheme, group_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `weight` (outputs, inputs) as int8, and its scales (outputs, 1 or groups) in the type of `weight`."""
    outputs, inputs = weight.shape
    groups = weight.view(outputs, 1 if scheme == "W8A8" else inputs // group_size, -1)
    levels = 2 ** BITS[scheme]
    scales = groups.abs().amax(dim=-1, keepdim=True) / ((levels - 1) / 2)
    scales = torch.where(scales == 0, torch.finfo(scales.dtype).eps, scales)
    rounded = torch.round(groups / scales).clamp(-levels / 2, levels / 2 - 1)
    return rounded.to(torch.int8).view(outputs, inputs), scales.squeeze(-1)


def quantization_config(scheme: Scheme, group_size: int) -> dict[str, Any]:
    """Return the `quantization_config` of a config.json."""
    weights: dict[str, Any] = {"num_bits": BITS[scheme], "type": "int", "symmetric": True, "dynamic": False}
    weights |= {"strategy": "channel"} if scheme == "W8A8" else {"strategy": "group", "group_size": group_size}
    activations = {"num_bits": 8, "type": "int", "symmetric": True, "dynamic": True, "strategy": "token"}
    group = {
        "format": FORMATS[scheme],
        "targets": ["Linear"],
        "weights": weights,
        "input_activations": activations if scheme == "W8A8" else None,
    }
    return {
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
        "format": FORMATS[scheme],
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }


def _quantized(source: Path, scheme: Scheme, group_size: int) -> Iterator[tuple[str, torch.Tensor]]:
    for file in sorted(source.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a mapping
                tensor = weights.get_tensor(name)
                if not name.endswith(_LINEAR):
                    yield name, tensor
                    continue
                if scheme == "W4A16" and tensor.shape[1] % group_size:
                    raise ValueError(
                        f"{name} has {tensor.shape[1]} inputs, not a multiple of the group size {group_size}"
                    )
                rounded, scales = round_to_nearest(tensor, scheme, group_size)
                if scheme == "W8A8":
                    yield name, rounded
                else:
                    yield f"{name}_packed", pack_to_int32(rounded, BITS[scheme])
                    yield f"{name}_shape", torch.tensor(tensor.shape)
                yield f"{name}_scale", scales
