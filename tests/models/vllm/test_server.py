"""What is told of a vLLM that does not start or ends, from the end of its own log."""

# ruff: noqa: E501 - lines of a log are as long as they are

from pathlib import Path

import pytest

from models.vllm.server import VllmServer

# Lines of vLLM 0.29's own logs, shortened.
BROKEN_WEIGHTS = """\
(Worker pid=19053) ERROR 11-23 21:22:40 [multiproc_executor.py:944]     with safe_open(st_file, framework="pt") as f:
(Worker pid=19053) ERROR 11-23 21:22:40 [multiproc_executor.py:944] safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata
(EngineCore pid=18342) ERROR 11-23 21:22:46 [core.py:1374] EngineCore failed to start.
(EngineCore pid=18342) ERROR 11-23 21:22:46 [core.py:1374]     raise e from None
(EngineCore pid=18342) ERROR 11-23 21:22:46 [core.py:1374] Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace for root cause.
(EngineCore pid=18342) Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace for root cause.
(APIServer pid=17690)     raise RuntimeError(
(APIServer pid=17690) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}
"""
DEAD_CORE = """\
(APIServer pid=5771) ERROR 11-23 20:40:52 [hermes_tool_parser.py:117] json.decoder.JSONDecodeError: Expecting value: line 1 column 2
(EngineCore pid=26914) ERROR 11-23 20:15:38 [core.py:1376] RecursionError: maximum recursion depth exceeded while pickling an object
(APIServer pid=25887) ERROR 11-23 20:15:38 [async_llm.py:819] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.
(APIServer pid=25887) INFO:     Shutting down
"""
WRONG_ARGUMENT = """\
usage: api_server.py [-h]
api_server.py: error: argument --dtype: invalid choice: 'float7'
"""


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (BROKEN_WEIGHTS, "safetensors._safetensors_rust.SafetensorError: Error while deserializing header"),
        (DEAD_CORE, "RecursionError: maximum recursion depth exceeded while pickling an object"),
        (WRONG_ARGUMENT, "api_server.py: error: argument --dtype: invalid choice: 'float7'"),
        ("(APIServer pid=1) INFO 11-23 20:40:52 [a.py:1] loading\n\n", "INFO 11-23 20:40:52 [a.py:1] loading"),
        ("", "its log is empty"),
    ],
)
def test_the_cause_is_reported_rather_than_its_consequences(tmp_path: Path, log: str, cause: str) -> None:
    """Of a chain of errors, the last that is not a consequence of another; else the last line."""
    path = tmp_path / "engine.log"
    path.write_text(log)
    server = VllmServer(
        model="", served_name="", arguments=(), environment={}, host="127.0.0.1", log_path=path, reaper=()
    )
    assert server.last_error().startswith(cause)
