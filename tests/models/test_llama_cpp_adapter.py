"""An adapter's weights are read where there is no torch, as in the small machine's image."""

import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from models.llama_cpp.adapter import as_float32

ADAPTER = Path(__file__).resolve().parents[2] / "models/companion/adapter"
READ_WITHOUT_TORCH = """
import pathlib, sys
sys.modules["torch"] = None
from models.llama_cpp.adapter import _weights
print(sum(weight.dtype == "float32" for _, weight in _weights(pathlib.Path(sys.argv[1]))))
"""


def test_each_type_of_weights_comes_as_float32() -> None:
    """A bfloat16 is the upper half of a float32; what an adapter has not is refused."""
    values = numpy.array([1.0, -2.5, 0.15625, 3e38], "<f4")
    upper_halves = (values.view("<u4") >> 16).astype("<u2").tobytes()
    assert as_float32("BF16", upper_halves)[:3].tolist() == [1.0, -2.5, 0.15625]
    assert as_float32("F16", numpy.array([0.5], "<f2").tobytes()).tolist() == [0.5]
    assert as_float32("F32", values.tobytes()).tolist() == values.tolist()
    with pytest.raises(ValueError, match="I8"):
        as_float32("I8", b"x")


def test_the_companion_is_read_without_torch() -> None:
    """All its tensors: A and B of seven layers of each of thirty blocks."""
    command = [sys.executable, "-c", READ_WITHOUT_TORCH, str(ADAPTER)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(2 * 7 * 30), done.stderr
