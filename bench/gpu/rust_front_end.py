"""vLLM's Rust front end beside its Python one, where the build has it (`VLLM_USE_RUST_FRONTEND=1`, program `vllm-rs`).

Both are asked directly. The Python side is the stack's own engine; the Rust side is started with that engine's command
line, without the middleware, which is Python: it would not do for the service, whose guard and key are middleware. See
https://github.com/vllm-project/vllm/issues/44280.
"""

import contextlib
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import processes
from bench.gpu.service import Variant
from bench.gpu.stages import Run, describe
from bench.stack import Target, end, free_ports, generates, under_reaper
from models.engine_process import KEY_VARIABLE

START_WITHIN_S = 120.0


def is_in_this_build() -> bool:
    """Whether this vLLM carries the program."""
    spec = find_spec("vllm")
    return bool(spec and spec.origin and (Path(spec.origin).parent / "vllm-rs").exists())


def beside_python(run: Run, variant: Variant) -> dict[str, Any]:
    """Each concurrency on both; that a build has none, or that it does not start, is a finding and no failure."""
    if not is_in_this_build():
        return {"in_this_build": False}
    python = run.service.bondhu.engine(variant.model)
    log = run.service.bondhu.settings.var_dir / "rust-front-end.log"
    (server, *_) = run.service.bondhu.roles()["vLLM API server"]
    command = [word for word in processes.command_line(server) if not word.startswith("--middleware")]
    (port,) = free_ports(1)
    command[command.index("--port") + 1] = str(port)
    environ = processes.environment(server) | {"VLLM_USE_RUST_FRONTEND": "1"}
    environ.pop(KEY_VARIABLE, None)
    rust, began = Target(f"http://127.0.0.1:{port}", "none", variant.model), time.monotonic()
    process = under_reaper(command, environ, log)
    try:
        while not generates(rust):
            if process.poll() is not None or time.monotonic() - began > START_WITHIN_S:
                reason = log.read_text(errors="replace").strip()[-300:]
                return {"in_this_build": True, "started": False, "reason": reason}
            time.sleep(0.5)
        rows = []
        for concurrency in run.sizes.concurrencies:
            row: dict[str, Any] = {"concurrency": concurrency}
            for side, target in (("python", python), ("rust", rust)):
                row[side] = describe(run.load(target, concurrency=concurrency, duration_s=run.sizes.block_s))
            rows.append(row)
        return {"in_this_build": True, "started": True, "rows": rows}
    finally:
        with contextlib.suppress(ProcessLookupError):
            end(process)
