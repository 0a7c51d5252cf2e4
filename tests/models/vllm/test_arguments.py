"""vLLM's arguments: every one can be given, a wrong one is refused without starting vLLM."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.vllm.arguments import DATA_FILE, check, command_line, problems

REPOSITORY = Path(__file__).resolve().parents[3]


def refusal(engine: dict[str, Any], server: dict[str, Any] | None = None) -> str:
    """Return what `check` says against the arguments."""
    with pytest.raises(ValueError, match=r"^x\.yaml: ") as caught:
        check(engine, server or {}, "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({"max_modle_len": 1}, "engine.max_modle_len: vLLM has no such argument; did you mean `max_model_len`?"),
        ({"max-model-len": 1}, "engine.max-model-len: write it with underscores: `max_model_len`"),
        ({"tool_call_parser": "hermes"}, "engine.tool_call_parser: belongs under `server:`"),
        ({"max_num_seqs": "64"}, "engine.max_num_seqs: must be a whole number, got '64'"),
        ({"max_num_seqs": True}, "engine.max_num_seqs: must be a whole number, got True"),
        ({"max_model_len": "16q"}, "engine.max_model_len: must be a whole number, or one such as 16k, got '16q'"),
        ({"enforce_eager": "yes"}, "engine.enforce_eager: must be true or false, got 'yes'"),
        ({"gpu_memory_utilization": "90%"}, "engine.gpu_memory_utilization: must be a number, got '90%'"),
        ({"compilation_config": 3}, "engine.compilation_config: must be a mapping or a list, got 3"),
        ({"served_model_name": ["a"]}, "engine.served_model_name: cannot be set: the model's name is the file's `id`"),
        ({"hf_token": "x"}, "engine.hf_token: cannot be set: secrets come from the environment: set HF_TOKEN"),
    ],
)
def test_wrong_engine_argument_is_refused_with_the_remedy(engine: dict[str, Any], message: str) -> None:
    """Each kind of mistake names the file, the argument and what would be accepted."""
    assert refusal(engine) == f"x.yaml: {message}"


def test_wrong_choice_names_the_nearest_and_all() -> None:
    """A value outside vLLM's choices is answered with them."""
    message = refusal({"dtype": "bfloat61"})
    assert "did you mean `bfloat16`?" in message
    assert "float32" in message


def test_unknown_tool_parser_is_refused_unless_a_plugin_may_define_it() -> None:
    """VLLM would find this only after loading the model."""
    tools = {"enable_auto_tool_choice": True, "tool_call_parser": "lama3_json"}
    assert "did you mean `llama3_json`?" in refusal({}, tools)
    check({}, {**tools, "tool_parser_plugin": "mine.py"}, "x.yaml")
    assert "needs `tool_call_parser`" in refusal({}, {"enable_auto_tool_choice": True})


def test_all_mistakes_are_found_at_once() -> None:
    """One message lists every wrong argument."""
    assert len(list(problems({"nothing_such": 1, "dtype": 16}, {"port": 1}))) == 3


def test_command_line_writes_each_kind_of_value() -> None:
    """Flags, negated flags, lists, JSON and plain values come out as vLLM's parser reads them."""
    engine = {
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "disable_log_stats": False,
        "max_model_len": "16k",
        "compilation_config": {"mode": 0},
        "cudagraph_capture_sizes": [1, 2],
        "seed": None,
        "optimization_level": 2,
    }
    assert command_line(engine, {"middleware": ["a.b", "c.d"], "allowed_origins": ["x"]}) == [
        '--compilation-config={"mode":0}',
        "--cudagraph-capture-sizes",
        "1",
        "2",
        "--no-enable-prefix-caching",
        "--enforce-eager",
        "--max-model-len=16k",
        "--optimization-level=2",
        '--allowed-origins=["x"]',
        "--middleware=a.b",
        "--middleware=c.d",
    ]


_IN_VLLM = """
import sys
from models.vllm.describe_arguments import describe
from models.vllm.arguments import command_line
from models.vllm.parser_check import complaints
good = command_line(
    {"enforce_eager": True, "enable_prefix_caching": False, "max_model_len": "16k", "seed": -1,
     "compilation_config": {"mode": 0}, "cudagraph_capture_sizes": [1, 2], "optimization_level": 2,
     "hf_overrides": {"rope_theta": 1.5}, "gpu_memory_utilization": 0.5, "disable_log_stats": True},
    {"middleware": ["a.b", "c.d"], "allowed_origins": ["x"], "uvicorn_log_level": "warning"})
bad = command_line({"compilation_config": {"no_such_key": 1}}, {})
heard = complaints([good, bad])
print("\\nHEARD", heard[0], "no_such_key" in (heard[1] or ""))
sys.stdout.write("DESCRIBED\\n" + describe())
"""


def test_data_file_and_command_lines_are_what_the_installed_vllm_says() -> None:
    """arguments.json equals the installed parser, which accepts our lines and names a wrong JSON key."""
    done = subprocess.run([sys.executable, "-c", _IN_VLLM], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    head, described = done.stdout.split("DESCRIBED\n")
    assert "HEARD None True" in head
    assert described == DATA_FILE.read_text(), "run `python -m models.vllm.arguments`"
