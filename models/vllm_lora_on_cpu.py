"""LoRA on vLLM's int8 layers on a CPU: a worker extension (`worker_extension_cls`) that mends one look-up of vLLM 0.29.

oneDNN's handler keeps the packed weights of such a layer to itself, and the layer's own `weight` becomes None
(vllm/model_executor/kernels/linear/scaled_mm/cpu.py). vLLM's LoRA layers ask that weight on which device they are, and
fail. Here a layer without one is on the CPU. The extension has no methods: importing it is what it does, in the process
that loads the model and before it does.
"""

from typing import Any

import torch
from vllm.lora.layers import base_linear, utils

_device_of = utils._get_lora_device


def _device_of_lora(base_layer: Any) -> torch.device:
    if getattr(base_layer, "weight", base_layer) is None:
        return torch.device("cpu")
    device: torch.device = _device_of(base_layer)
    return device


base_linear._get_lora_device = _device_of_lora


class Extension:
    """What vLLM's worker gets as a further base class; empty."""
