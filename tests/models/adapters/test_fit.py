"""An adapter that does not fit its base is found before an engine sees it, with the reason."""

import json
from pathlib import Path

import pytest

from models.adapters.fit import misfits
from models.adapters.revision import adapter_revision
from tests.support.models.tiny_lora import BASE, write_lora


def test_an_adapter_of_the_base_fits(tmp_path: Path) -> None:
    """Rank within the bound, the shapes of the base, all files."""
    assert misfits(write_lora(tmp_path / "a", seed=1), BASE, max_rank=16) == []


def test_the_rank_has_a_bound(tmp_path: Path) -> None:
    """A rank above the engine's is refused, also one of a single layer (`rank_pattern`)."""
    (large,) = misfits(write_lora(tmp_path / "a", seed=1, rank=32), None, max_rank=16)
    assert "rank 32" in large
    assert "16" in large
    patterned = write_lora(tmp_path / "b", seed=1, rank_pattern={"q_proj": 64})
    assert "rank 64" in misfits(patterned, None, max_rank=16)[0]


def test_a_base_of_another_shape_is_named(tmp_path: Path) -> None:
    """The layer, its size in the adapter and in the base."""
    (problem,) = misfits(write_lora(tmp_path / "a", seed=1, hidden=320), BASE, max_rank=16)
    hidden = json.loads((BASE / "config.json").read_text())["hidden_size"]
    assert "another shape" in problem
    assert "320 inputs" in problem
    assert str(hidden) in problem


def test_a_layer_that_the_engine_has_not_prepared_is_named(tmp_path: Path) -> None:
    """`engine.lora_target_modules` restricts what adapters may change; packed layers have vLLM's names there."""
    adapter = write_lora(tmp_path / "a", seed=1)
    assert misfits(adapter, BASE, max_rank=16, modules=["qkv_proj"]) == []
    (problem,) = misfits(adapter, BASE, max_rank=16, modules=["o_proj"])
    assert "q_proj" in problem


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    """Whichever it is."""
    adapter = write_lora(tmp_path / "a", seed=1)
    (adapter / name).unlink()
    (problem,) = misfits(adapter, BASE, max_rank=16)
    assert name in problem


def test_weights_that_are_cut_off_are_found(tmp_path: Path) -> None:
    """A copy that ended early has its header, and too few bytes."""
    weights = write_lora(tmp_path / "a", seed=1) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (problem,) = misfits(tmp_path / "a", BASE, max_rank=16)
    assert "cut off" in problem


@pytest.mark.parametrize(("config", "word"), [({"use_dora": True}, "DoRA"), ({"bias": "all"}, "biases")])
def test_what_no_engine_serves_is_refused(tmp_path: Path, config: dict[str, object], word: str) -> None:
    """DoRA and biases."""
    (problem,) = misfits(write_lora(tmp_path / "a", seed=1, **config), BASE, max_rank=16)
    assert word in problem


def test_the_revision_is_of_weights_and_scale(tmp_path: Path) -> None:
    """Other weights are another revision, and so is another scale of the same ones."""
    first = adapter_revision(write_lora(tmp_path / "a", seed=1))
    assert adapter_revision(write_lora(tmp_path / "b", seed=1)) == first
    assert adapter_revision(write_lora(tmp_path / "c", seed=2)) != first
    assert adapter_revision(write_lora(tmp_path / "d", seed=1, scale=4.0)) != first
