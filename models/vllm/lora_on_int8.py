"""LoRA on vLLM's int8 layers on a CPU: a worker extension (`worker_extension_cls`) that fixes a bug of vLLM 0.29.

oneDNN's handler keeps the packed weights of such a layer, and the layer's own `weight` becomes None
(vllm/model_executor/kernels/linear/scaled_mm/cpu.py). vLLM's LoRA layers read their device from that weight, and fail.
Here a layer whose weight is None counts as on the CPU. The extension has no methods: vLLM imports it in the process
that loads the model, before it does so, and the import replaces vLLM's function.
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
    """An additional base class of vLLM's worker; empty."""
