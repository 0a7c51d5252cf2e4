"""Our products of adapters beside vLLM's own, in vLLM's own layers; slow, because vLLM is imported."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

COMPARE = """
import torch
from vllm.lora.layers import LoRAMapping
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from models.vllm.grouped_lora import GroupedLora

SLOTS, RANK, INPUTS, OUTPUTS, VOCABULARY = 2, 16, 576, (576, 192, 192), 1024
IDS = [11, 12]  # of the adapters in the slots

def numbers(*shape):
    return (torch.randn(*shape) / 8).to(torch.bfloat16)

class Layer:
    def __init__(self):
        self.lora_a_stacked = tuple(torch.zeros(SLOTS, 1, RANK, INPUTS, dtype=torch.bfloat16) for _ in OUTPUTS)
        self.lora_b_stacked = tuple(torch.zeros(SLOTS, 1, each, RANK, dtype=torch.bfloat16) for each in OUTPUTS)

    def reset_lora(self, index):
        for each in (*self.lora_a_stacked, *self.lora_b_stacked):
            each[index] = 0

    def set_lora(self, index, lora_a, lora_b):  # as vLLM's layers write an adapter
        self.reset_lora(index)
        for stacked, given in ((self.lora_a_stacked, lora_a), (self.lora_b_stacked, lora_b)):
            for each, matrix in zip(stacked, given):
                each[index, 0, : matrix.shape[0], : matrix.shape[1]].copy_(matrix)

def result(wrapper, layer, ids, y, x, head, hidden, logits):
    y, logits = y.clone(), logits.clone()
    wrapper.update_metadata(LoRAMapping(ids, ids, is_prefill=True), IDS, SLOTS + 1, VOCABULARY)
    wrapper.add_lora_linear(y, x, layer.lora_a_stacked, layer.lora_b_stacked, 1.0, OUTPUTS)
    wrapper.add_lora_logits(logits, hidden, *head, 1.0)
    return y, logits

torch.manual_seed(0)
own, ours = (kind(64, 16, torch.device("cpu")) for kind in (PunicaWrapperCPU, GroupedLora))
layers = Layer(), Layer()
ours.adopt(layers[1])

def load(slot, rank):
    adapter = [numbers(rank, INPUTS) for _ in OUTPUTS], [numbers(each, rank) for each in OUTPUTS]
    for layer in layers:
        layer.set_lora(slot, *adapter)

load(0, RANK)
load(1, 8)  # of a lower rank
head = numbers(SLOTS, 1, RANK, INPUTS), numbers(SLOTS, 1, VOCABULARY, RANK)
for number, ids in enumerate(((11,), (12,) * 5, (11, 11, 12, 12), (12, 11, 12, 11, 11), (0, 0, 0), (11, 0, 12, 0))):
    if number == 4:
        load(0, 8)  # another adapter in the slot of one that was used
    n = len(ids)
    given = numbers(n, sum(OUTPUTS)), numbers(n, INPUTS), head, numbers(n, INPUTS), numbers(n, VOCABULARY)
    got = result(ours, layers[1], ids, *given)
    with_adapter = [row for row, each in enumerate(ids) if each]
    without = [row for row, each in enumerate(ids) if not each]
    if with_adapter:
        want = result(own, layers[0], ids, *given)
        for mine, theirs in zip(got, want):
            torch.testing.assert_close(mine[with_adapter], theirs[with_adapter], rtol=0.02, atol=0.02)
    for mine, before in zip(got, (given[0], given[4])):
        assert torch.equal(mine[without], before[without])
    print("same", ids)
"""
STEPS_ASIDE = """
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.platforms import current_platform

def add_lora_linear(self, y, x, something_new):
    pass

PunicaWrapperCPU.add_lora_linear = add_lora_linear
import models.vllm.lora_on_cpu
print(current_platform.get_punica_wrapper())
"""
TAKES_PLACE = """
import models.vllm.lora_on_cpu
from vllm.platforms import current_platform
print(current_platform.get_punica_wrapper())
"""


def run(program: str) -> str:
    """What a Python of its own prints, both outputs together: vLLM is imported and changed there."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_results_are_vllms_own_and_none_for_rows_without_an_adapter() -> None:
    """One adapter, several, of different ranks, none, and mixed: equal within bfloat16's rounding."""
    assert run(COMPARE).count("same (") == 6


def test_the_extension_takes_vllms_place() -> None:
    """Workers of vLLM make our wrapper."""
    assert run(TAKES_PLACE).splitlines()[-1] == "models.vllm.grouped_lora.GroupedLora"


def test_the_extension_steps_aside_for_a_vllm_that_it_does_not_know() -> None:
    """The own one stays, and a line says why."""
    said = run(STEPS_ASIDE)
    assert said.splitlines()[-1] == "vllm.lora.punica_wrapper.punica_cpu.PunicaWrapperCPU"
    assert "vLLM's own slow code" in said
    assert "PunicaWrapperCPU.add_lora_linear" in said
