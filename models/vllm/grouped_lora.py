"""LoRA's matrix products in vLLM's CPU build, by groups of rows with the same adapter.

vLLM 0.29 copies the matrices of the adapter for every token (vllm/lora/ops/torch_ops), in each slice of each layer, and
also for the output head and the embeddings, which few adapters change. In a batch that mixes requests for the base
model and for an adapter, it also adds the last adapter to those for the base model, because it uses their slot number,
-1, as an index (vllm#48421). Here rows without an adapter are left as they are. `models.vllm.lora_groups` computes.
"""

from collections.abc import Callable
from typing import Any

import torch
from vllm import _custom_ops as custom_ops
from vllm.logger import init_logger
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from models.vllm.lora_groups import Group, PackedWeights, Product, add_rows, group, plain_product

logger = init_logger(f"vllm.{__name__}")
PRIMITIVES = 16  # that oneDNN keeps for a weight, one for each number of rows, of 268 kB; vLLM's layers keep 32


def onednn_product(weight: torch.Tensor) -> Product:
    """A product by oneDNN with a copy of the weight in oneDNN's own layout, as vLLM's linear layers have it on a CPU.

    torch's product rearranges the weight in every call, which takes longer than the product itself for a few rows.
    """
    try:
        handler = custom_ops.create_onednn_mm(weight.t(), PRIMITIVES)
    except (AttributeError, RuntimeError):  # a build without oneDNN, or a type that it does not have
        return plain_product(weight)
    return lambda x: custom_ops.onednn_mm(handler, x, None)


def _announcing(packed: PackedWeights, change: Callable[..., None]) -> Callable[..., None]:
    """Wrap a layer's method that changes the matrices in a slot (its first argument), so that it notifies `packed`."""

    def changing(index: int, *args: Any, **kwargs: Any) -> None:
        packed.changed(index)
        change(index, *args, **kwargs)

    return changing


class GroupedLora(PunicaWrapperCPU):  # type: ignore[misc]  # vLLM's modules are not followed by mypy
    """vLLM's LoRA wrapper for CPUs, with faster products; cases that it does not handle use vLLM's own code."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._packed: dict[int, PackedWeights] = {}  # key: id() of a layer's tuple, which the value keeps alive
        self._tokens: tuple[Group, ...] = ()
        self._samples: tuple[Group, ...] = ()

    def adopt(self, layer: Any) -> None:
        """Pack the LoRA matrices of a layer and replace them by views; called before any adapter is loaded."""
        a, b = layer.lora_a_stacked, layer.lora_b_stacked
        if not PackedWeights.can_pack(a, b):
            logger.warning_once(
                "LoRA on %s uses vLLM's own slow code: unexpected shapes of its matrices", type(layer).__name__
            )
            return
        packed = PackedWeights(a, b, onednn_product)
        layer.lora_a_stacked, layer.lora_b_stacked = packed.a, packed.b
        self._packed[id(packed.a)] = packed
        for name in ("set_lora", "reset_lora"):
            setattr(layer, name, _announcing(packed, getattr(layer, name)))

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        """Record which rows of the next batch use which adapter."""
        super().update_metadata(*args, **kwargs)
        self._tokens = group(self.token_lora_indices.tolist())
        self._samples = group(self.sampler_indices.tolist())

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        *,
        buffer: tuple[torch.Tensor, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add each token's adapter to a linear layer's output, in place."""
        packed = self._packed.get(id(lora_a_stacked))
        fits = packed is not None and x.dtype == y.dtype == packed.dtype and scale == 1.0 and not kwargs
        if packed is None or not fits or buffer is not None:
            super().add_lora_linear(y, x, lora_a_stacked, lora_b_stacked, scale, output_slices, buffer=buffer, **kwargs)
        elif self._tokens:
            packed.add(y, x, self._tokens)

    def add_lora_embedding(
        self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, add_inputs: bool = True, **kwargs: Any
    ) -> None:
        """Add each token's adapter to its embedding, in place; `x` is the product with A already."""
        if add_inputs:
            add_rows(y, x, None, lora_b_stacked, self._tokens)
        else:
            super().add_lora_embedding(y, x, lora_b_stacked, add_inputs, **kwargs)

    def add_lora_logits(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        scale: float,
        *,
        buffer: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        """Add each sequence's adapter to its logits, in place."""
        if scale != 1.0 or buffer is not None:
            super().add_lora_logits(y, x, lora_a_stacked, lora_b_stacked, scale, buffer=buffer, **kwargs)
        elif self._samples:
            add_rows(y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1]), lora_a_stacked, lora_b_stacked, self._samples)
