"""The GPU check's own parts; the whole of it, tiny, on the CPU's real engines is left to make test-slow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from bench.gpu.service import TOKENIZER
from bench.gpu.stages import describe
from bench.gpu.weights import TINY, write_checkpoint
from bench.load.generator import Seen

REPOSITORY = Path(__file__).resolve().parents[1]


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


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_check_on_the_cpu(tmp_path: Path) -> None:
    """Every stage runs on real engines: start, chats, load, peak, swap without a failed request, kill and return."""
    command = (sys.executable, "-m", "bench.gpu", "--profile", "cpu", "--budget-s", "1100", "--out", str(tmp_path))
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "gpu-check-cpu.json").read_text())
    assert all("found" in stage for stage in result["stages"].values())
    assert result["stages"]["swap under load, bf16 to W4A16"]["found"]["failures"] == {}
    assert (tmp_path / "gpu-check-cpu.png").stat().st_size > 0
