"""The files of configs/models/: vLLM accepts their arguments; their memory follows the formula of docs/models.md."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.cli.fit import fits_of
from serving.config.load import load_settings
from serving.config.schema.model_file import GPU_OVERHEAD_GIB
from serving.supervisor.machine import Gpu

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = load_settings(ROOT, environ={})
ON_GPUS = sorted(id_ for id_, spec in SETTINGS.catalogue.items() if spec.requires.gpu_memory_gib is not None)
ROUNDING_GIB = 0.06
CARD = {12: "12 GB card", 16: "16 GB card", 24: "24 GB card", 80: "80 GB card"}


@pytest.mark.parametrize("model", ON_GPUS)
def test_the_stated_memory_follows_from_the_shape(model: str) -> None:
    """Weights, the KV cache of the stated conversations at full length, and the fixed rest."""
    spec = SETTINGS.catalogue[model]
    shape, number, context = spec.requires.shape, spec.requires.conversations, spec.context_tokens
    assert shape is not None
    assert number is not None
    assert context is not None
    needed_gib = shape.weights_gib + number * shape.kv_gib(context) + GPU_OVERHEAD_GIB
    assert spec.requires.gpu_memory_gib == pytest.approx(needed_gib, abs=ROUNDING_GIB)


@pytest.mark.parametrize("model", ON_GPUS)
def test_a_model_fits_the_card_that_its_description_names(model: str) -> None:
    """With at least one conversation of its full length."""
    spec = SETTINGS.catalogue[model]
    (size,) = [size for size, words in CARD.items() if words in spec.description]
    (found,) = fits_of(spec, Gpu("card", size * 2**30, 9.0), memory_gib=64)
    assert found.fits, found
    assert spec.context_tokens is not None
    assert found.lengths[spec.context_tokens] >= 1


def test_a_card_that_is_too_small_or_too_old_is_told() -> None:
    """With what it has and what is needed."""
    large = SETTINGS.catalogue["llama-3.3-70b-instruct-awq"]
    (found,) = fits_of(large, Gpu("card", 24 * 2**30, 9.0), memory_gib=64)
    assert not found.fits
    assert "21.6 GiB" in found.why
    fp8 = SETTINGS.catalogue["ministral-3-3b-instruct"]
    (found,) = fits_of(fp8, Gpu("card", 80 * 2**30, 7.5), memory_gib=64)
    assert "compute capability 8.9" in found.why


def test_a_model_for_cpus_tells_what_its_engine_is_configured_for() -> None:
    """256 blocks of 128 tokens hold 16 conversations of 2,048."""
    (found,) = fits_of(SETTINGS.catalogue["bondhu-demo"], None, memory_gib=8)
    assert found.lengths == {2048: 16}


@pytest.mark.parametrize(
    "family", ["llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b", "llama-3.3-70b", "mistral-small", "ministral"]
)
def test_the_families_that_people_run_are_there(family: str) -> None:
    """Each with a parser for tool calls."""
    found = [spec for id_, spec in SETTINGS.catalogue.items() if id_.startswith(family)]
    assert found
    assert all(spec.server.get("tool_call_parser") for spec in found)


@pytest.mark.slow
def test_vllm_s_own_parser_accepts_every_file() -> None:
    """`bondhu models check --deep` runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "serving.cli", "models", "check", "--deep"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
