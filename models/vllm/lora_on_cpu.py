"""LoRA on vLLM's CPU build: the worker extension (`worker_extension_cls`) of every model with adapters.

It replaces vLLM 0.29's LoRA products by `models.vllm.grouped_lora` and fixes adapters on 8-bit layers
(`models.vllm.lora_on_int8`). On a GPU it does nothing. If vLLM differs from what is expected here, vLLM's own code is
kept and its log says so. The extension has no methods: vLLM imports it in the process that loads the model, before it
does so, and the import makes the replacements.
"""

import inspect
from typing import Any

from vllm.logger import init_logger
from vllm.platforms import current_platform

logger = init_logger(f"vllm.{__name__}")  # vLLM's logging shows only loggers below "vllm"
_OWN = "vllm.lora.punica_wrapper.punica_cpu.PunicaWrapperCPU"
_EXPECTED = {  # parameters of the methods that are overridden
    "update_metadata": "self mapping lora_index_to_id max_loras vocab_size kwargs",
    "add_lora_linear": "self y x lora_a_stacked lora_b_stacked scale output_slices buffer kwargs",
    "add_lora_embedding": "self y x lora_b_stacked add_inputs kwargs",
    "add_lora_logits": "self y x lora_a_stacked lora_b_stacked scale buffer kwargs",
}


def install() -> bool:
    """Make vLLM use `GroupedLora`. Changes nothing and returns False, with a warning, if vLLM is not as expected."""
    platform: Any = type(current_platform)
    difference = _difference(platform)
    if difference:
        logger.warning("LoRA on the CPU uses vLLM's own slow code: %s is not as in vLLM 0.29", difference)
        return False
    from vllm.lora.layers.base_linear import BaseLinearLayerWithLoRA

    from models.vllm import grouped_lora

    name = f"{grouped_lora.__name__}.{grouped_lora.GroupedLora.__name__}"
    set_mapping = BaseLinearLayerWithLoRA.set_mapping

    def set_mapping_and_pack(layer: Any, punica_wrapper: Any) -> None:
        set_mapping(layer, punica_wrapper)
        if isinstance(punica_wrapper, grouped_lora.GroupedLora):
            punica_wrapper.adopt(layer)

    BaseLinearLayerWithLoRA.set_mapping = set_mapping_and_pack
    platform.get_punica_wrapper = classmethod(lambda _: name)
    return True


def _difference(platform: Any) -> str | None:
    """The first thing that differs from vLLM 0.29, or None."""
    if platform.get_punica_wrapper() != _OWN:
        return "the platform's get_punica_wrapper"
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    for name, parameters in _EXPECTED.items():
        method = getattr(PunicaWrapperCPU, name, None)
        if method is None or list(inspect.signature(method).parameters) != parameters.split():
            return f"PunicaWrapperCPU.{name}"
    return None


if current_platform.is_cpu():
    from models.vllm import lora_on_int8  # noqa: F401 - the import applies the fix

    install()


class Extension:
    """What vLLM's worker gets as a further base class; empty."""
