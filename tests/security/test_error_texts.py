"""What a client writes into an error message holds neither the engine's server nor a gateway."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from models.vllm.sanitiser import MAX_CHARACTERS, sanitize_message
from serving.engines import vllm_errors

ROOT = Path(__file__).resolve().parents[2]
CPU_S = 2.0
# Bodies that vLLM 0.29 answers with: its own words around what was sent.
PYDANTIC = "1 validation error:\n  {{'type': 'int_parsing', 'loc': ('body', 'n'), 'msg': 'Input', 'input': '{}'}}"
TEXTS = {
    "paths": "/a" * 50_000,
    "quotes": "'loc': ('body'" * 7_000 + "'msg': '" * 12_000,
    "parameters": " (parameter=a, value=" * 5_000,
    "names": "a" * 100_000,
    "spaces": " " * 100_000,
    "frames": '\n  File "x' * 10_000,
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_gateway_reads_an_error_of_any_text_at_once(name: str) -> None:
    """In a process that the kernel ends after a few seconds of its own time."""
    script = (
        "import signal, sys, orjson\n"
        "from serving.engines import vllm_errors\n"
        "from tests.security.test_error_texts import PYDANTIC, TEXTS\n"
        f"signal.setitimer(signal.ITIMER_PROF, {CPU_S})\n"
        "text = TEXTS[sys.argv[1]]\n"
        "for message in (text, PYDANTIC.format(text)):\n"
        "    for status in (400, 422, 500, 501):\n"
        "        body = orjson.dumps({'error': {'message': message, 'param': text, 'code': status}})\n"
        "        vllm_errors.translate(status, body, {'messages', 'tools'})\n"
        "        vllm_errors.translate_event(body, {'messages'})\n"
    )
    _ends_well(script, name)


@pytest.mark.parametrize("name", TEXTS)
def test_the_engines_sanitiser_reads_any_text_at_once(name: str) -> None:
    """Likewise; vLLM's own takes minutes for the first of them."""
    script = (
        "import signal, sys\n"
        "from models.vllm.sanitiser import sanitize_message\n"
        "from tests.security.test_error_texts import PYDANTIC, TEXTS\n"
        f"signal.setitimer(signal.ITIMER_PROF, {CPU_S})\n"
        "for message in (TEXTS[sys.argv[1]], PYDANTIC.format(TEXTS[sys.argv[1]])):\n"
        "    sanitize_message(message)\n"
    )
    _ends_well(script, name)


def test_an_error_keeps_its_field_and_loses_what_is_too_long() -> None:
    """A message of any length is told, cut, with the field that it is about."""
    body = orjson.dumps({"error": {"message": PYDANTIC.format("/a" * 20_000), "param": "body.n", "code": 400}})
    error = vllm_errors.translate(400, body, {"messages", "n"})
    assert (error.param, error.message) == ("n", "n: Input")
    body = orjson.dumps({"error": {"message": "x" * 100_000, "param": None, "code": 400}})
    assert len(vllm_errors.translate(400, body, {"messages"}).message) <= vllm_errors.MAX_CHARACTERS + 1


def test_an_error_that_names_its_parameter_is_read_as_before() -> None:
    """VLLM's `(parameter=…, value=…)` is for machines."""
    body = orjson.dumps({"error": {"message": "`n` must be at least 1. (parameter=n, value=-1)", "param": None}})
    error = vllm_errors.translate(400, body, {"messages", "n"})
    assert (error.param, error.message) == ("n", "`n` must be at least 1.")


@pytest.mark.parametrize(
    ("message", "sanitised"),
    [
        ("<vllm.Foo object at 0x7f03ab> failed", "<vllm.Foo object> failed"),
        ("cannot open /home/someone/model/weights.bin", "cannot open <path>"),
        ("no such file: /data/secret/x.json.", "no such file: <path>"),
        ("use text/plain or 3/4 of it", "use text/plain or 3/4 of it"),
        ('it failed\n  File "/usr/lib/a.py", line 3, in f\n    x()', "it failed"),
    ],
)
def test_the_sanitiser_still_takes_out_what_it_is_for(message: str, sanitised: str) -> None:
    """Addresses, frames of tracebacks, paths; nothing else."""
    assert sanitize_message(message) == sanitised
    assert len(sanitize_message("x" * 10_000)) <= MAX_CHARACTERS + 1


def test_vllm_has_our_sanitiser_wherever_it_had_its_own() -> None:
    """In a process with vLLM's server imported, as the engine's is."""
    script = (
        "import importlib, sys\n"
        "for name in ('error_response', 'handlers.http', 'handlers.validation', 'register'):\n"
        "    importlib.import_module(f'vllm.entrypoints.serve.exception_handling.{name}')\n"
        "from models.vllm import sanitiser\n"
        "assert sanitiser.install() >= 4\n"
        "assert sanitiser.install() == 0\n"
        "import vllm.entrypoints.serve.exception_handling.error_response as module\n"
        "answer = module.create_error_response('/a' * 50_000)\n"
        "assert len(answer.error.message) <= sanitiser.MAX_CHARACTERS + 1\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, timeout=200)


def _ends_well(script: str, *arguments: str) -> None:
    command = [sys.executable, "-c", script, *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr.decode()[-500:]
