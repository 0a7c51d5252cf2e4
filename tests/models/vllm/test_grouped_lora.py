"""Our products of adapters beside vLLM's own, in vLLM's own layers; slow, because vLLM is imported."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

STEPS_ASIDE = """
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.platforms import current_platform

def add_lora_linear(self, y, x, something_new):
    pass

PunicaWrapperCPU.add_lora_linear = add_lora_linear
import models.vllm.lora_on_cpu
print(current_platform.get_punica_wrapper())
"""


def run(*arguments: str) -> str:
    """What a Python of its own prints, both outputs together: vLLM is imported and changed there."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_results_are_vllms_own_and_none_for_rows_without_an_adapter() -> None:
    """One adapter, several, of different ranks, replaced, cleared, none, and mixed; in vLLM's layers and logits."""
    assert run("-m", "tests.models.vllm.lora_layers").count("same ") == 4


def test_the_extension_steps_aside_for_a_vllm_that_it_does_not_know() -> None:
    """The own one stays, and a line says why."""
    output = run("-c", STEPS_ASIDE)
    assert output.splitlines()[-1] == "vllm.lora.punica_wrapper.punica_cpu.PunicaWrapperCPU"
    assert "vLLM's own slow code" in output
    assert "PunicaWrapperCPU.add_lora_linear" in output
