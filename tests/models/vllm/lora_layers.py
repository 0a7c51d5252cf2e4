"""Compares our LoRA products with vLLM's own, in vLLM's own layers; a program, because it changes vLLM where it runs.

    python -m tests.models.vllm.lora_layers

A layer of each kind that a Llama has gets the same adapters twice, once under each wrapper, and the same batches. Rows
with an adapter must be equal within bfloat16's rounding; rows without one must be the base layer's, to the bit (vLLM's
own are not, in a batch with an adapter).
"""

from collections.abc import Iterator, Sequence
from tempfile import NamedTemporaryFile
from typing import Any

import torch
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.config.lora import LoRAConfig
from vllm.distributed import ensure_model_parallel_initialized, init_distributed_environment
from vllm.lora import layers
from vllm.lora.punica_wrapper import get_punica_wrapper
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.model_executor.layers.linear import MergedColumnParallelLinear, QKVParallelLinear, RowParallelLinear

from models.vllm import lora_on_cpu  # noqa: F401 - the import makes vLLM use our products
from models.vllm.grouped_lora import GroupedLora

SLOTS, RANK, VOCABULARY = 2, 16, 1024
IDS: list[int | None] = [11, 12]  # of the adapters in the slots
BATCHES = ((11,), (12,) * 5, (12, 11, 12, 11), (0, 0), (11, 0, 12, 0))  # 0: no adapter


def numbers(*shape: int) -> torch.Tensor:
    """Small random ones."""
    return torch.randn(*shape) / 8


def kinds() -> Iterator[tuple[Any, Any, tuple[int, ...]]]:
    """Of layers: vLLM's class with LoRA, a base layer, the outputs of its slices."""
    yield layers.MergedQKVParallelLinearWithLoRA, QKVParallelLinear(576, 64, 9, 3, bias=False), (576, 192, 192)
    gate_up = MergedColumnParallelLinear(576, [1536, 1536], bias=False)
    yield layers.MergedColumnParallelLinearWithLoRA, gate_up, (1536, 1536)
    yield layers.RowParallelLinearWithLoRA, RowParallelLinear(1536, 576, bias=False), (576,)


def load(each: Sequence[Any], slot: int, rank: int, outputs: tuple[int, ...]) -> None:
    """Write one new adapter into a slot of several layers."""
    a = [numbers(rank, each[0].input_size) for _ in outputs]
    b = [numbers(size, rank) for size in outputs]
    for layer in each:
        layer.set_lora(slot, *((a[0], b[0]) if len(outputs) == 1 else (a, b)))


def compare_layers(wrappers: Sequence[Any], kind: Any, base: Any, outputs: tuple[int, ...]) -> None:
    """One kind of layer, in every batch, before and after an adapter is replaced and one cleared."""
    base.weight.copy_(numbers(*base.weight.shape))
    base.quant_method.process_weights_after_loading(base)
    both = [kind(base) for _ in wrappers]
    for layer, wrapper in zip(both, wrappers, strict=True):
        layer.create_lora_weights(SLOTS, LoRAConfig(max_lora_rank=RANK, max_loras=SLOTS, lora_dtype=torch.bfloat16))
        layer.set_mapping(wrapper)
    load(both, 0, RANK, outputs)
    load(both, 1, RANK // 2, outputs)
    for ids in BATCHES:
        compare(wrappers, both, base, ids)
    load(both, 0, RANK // 2, outputs)
    for layer in both:
        layer.reset_lora(1)
    for ids in BATCHES:
        compare(wrappers, both, base, ids)
    print("same", kind.__name__)  # noqa: T201 - a program's output


@torch.inference_mode()
def compare(wrappers: Sequence[Any], both: Sequence[Any], base: Any, ids: tuple[int, ...]) -> None:
    """One batch."""
    x, results = numbers(len(ids), base.input_size), []
    for layer, wrapper in zip(both, wrappers, strict=True):
        wrapper.update_metadata(layers.LoRAMapping(ids, ids, is_prefill=True), IDS, SLOTS + 1, VOCABULARY)
        results.append(layer(x)[0])
    own, ours = results
    with_adapter = [row for row, each in enumerate(ids) if each]
    without = [row for row, each in enumerate(ids) if not each]
    torch.testing.assert_close(ours[with_adapter], own[with_adapter], rtol=0.02, atol=0.03)
    assert torch.equal(ours[without], base(x)[0][without])


def compare_logits(own: Any, ours: Any) -> None:
    """The output head."""
    head = numbers(SLOTS, 1, RANK, 576), numbers(SLOTS, 1, VOCABULARY, RANK)
    for ids in BATCHES:
        logits, x = numbers(len(ids), VOCABULARY), numbers(len(ids), 576)
        results = [logits.clone(), logits.clone()]
        for wrapper, result in zip((own, ours), results, strict=True):
            wrapper.update_metadata(layers.LoRAMapping(ids, ids, is_prefill=True), IDS, SLOTS + 1, VOCABULARY)
            wrapper.add_lora_logits(result, x, *head, 1.0)
        with_adapter = [row for row, each in enumerate(ids) if each]
        without = [row for row, each in enumerate(ids) if not each]
        torch.testing.assert_close(results[1][with_adapter], results[0][with_adapter], rtol=0.02, atol=0.02)
        assert torch.equal(results[1][without], logits[without])
    print("same logits")  # noqa: T201 - a program's output


def main() -> None:
    """Everything; raises AssertionError at the first difference."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    cpu = torch.device("cpu")
    with NamedTemporaryFile() as store, set_current_vllm_config(VllmConfig()), torch.no_grad():
        init_distributed_environment(1, 0, f"file://{store.name}", 0, backend="gloo")
        ensure_model_parallel_initialized(1, 1)
        ours = get_punica_wrapper(64, max_batches=16, device=cpu, lora_config=None)
        own = PunicaWrapperCPU(64, 16, cpu)
        assert isinstance(ours, GroupedLora)
        for kind, base, outputs in kinds():
            compare_layers((own, ours), kind, base, outputs)
        compare_logits(own, ours)


if __name__ == "__main__":
    main()
