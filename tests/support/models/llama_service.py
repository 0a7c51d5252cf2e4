"""A real gateway in front of a real llama.cpp engine, for tests shared with vLLM: no Ray, ready within seconds.

The engine is started from a model file, as a replica starts it. The directory of engines is a static table: one
replica, ready. Ray's part (restarts, drains) is not covered.
"""

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from models.engine_process import KEY_VARIABLE
from models.fetch.fetch import fetch
from models.fetch.source import GGUF_FILE, parse_source
from models.llama_cpp.server import LlamaCppServer
from serving.cluster.manifest import engine_application
from serving.config.load import load_settings
from serving.config.schema import ModelSpec, Settings
from serving.engines.wire import ReplicaReport, routing
from serving.supervisor import reaper
from tests.support.gateway_process import GatewayProcess
from tests.support.polling import eventually

REPOSITORY = Path(__file__).resolve().parents[3]
START_WITHIN_S = 120.0
CONTEXT_TOKENS, PARALLEL = 8192, 2  # long enough for an answer that is still being written when its client leaves

Edit = Callable[[dict[str, Any]], None]


class LlamaEngine:
    """A llama.cpp engine as a replica starts it; a context manager.

    Args:
        folder: of its log.
        settings: of the gateway that will use it.
        spec: the model file.

    """

    def __init__(self, folder: Path, settings: Settings, spec: ModelSpec) -> None:
        self._settings = settings
        self._spec = spec
        args = engine_application(settings, spec)["args"]
        self._engine = LlamaCppServer(
            model=args["path"],
            served_name=spec.id,
            arguments=args["arguments"],
            environment=args["environment"],
            host="127.0.0.1",
            log_path=folder / "engine.log",
            reaper=(),
            adapters=args["adapters"],
        )
        self._log = folder / "engine.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.address, self.key = self._engine.address, self._engine.key

    def __enter__(self) -> Self:
        """Start it; it may still be loading its model."""
        environ = {**os.environ, **self._engine.environment(), KEY_VARIABLE: self.key}
        command = reaper.argv(list(self._engine.command()), grace_s=5)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environ, cwd=REPOSITORY
            )
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(timeout=60)

    def check(self) -> None:
        """Fail, with the end of its log, if it has ended."""
        assert self._process is not None
        assert self._process.poll() is None, f"llama.cpp ended: {self._log.read_text(errors='replace')[-2000:]}"

    def metric(self, name: str) -> float:
        """One of its metrics."""
        headers = {"authorization": f"Bearer {self.key}"}
        text = httpx.get(f"{self.address}/metrics", headers=headers, timeout=10).text
        found = re.search(rf"^llamacpp:{name} (\S+)$", text, re.M)
        assert found is not None, text
        return float(found[1])

    def table(self) -> dict[str, Any]:
        """The engine, as the directory tells of it."""
        report: ReplicaReport = {
            "replica_id": "llama.cpp",
            "epoch": 1,
            "model": self._spec.id,
            "fingerprint": self._spec.fingerprint(),
            "revision": "r",
            "quantization": self._spec.quantization,
            "adapters": {each.id: "r" for each in self._spec.adapters},
            "state": "ready",
            "reason": "",
            "address": self.address,
            "key": self.key,
            "running": 0,
            "waiting": 0,
            "kv_cache_usage": 0.0,
        }
        return {"routing": routing(self._settings), "replicas": [report]}


def edited_root(folder: Path, model: str, edit: Edit) -> Path:
    """Return a copy of the configuration whose file of this model is edited."""
    root = folder / "root"
    shutil.copytree(REPOSITORY / "configs", root / "configs")
    (root / "models").symlink_to(REPOSITORY / "models")
    path = root / f"configs/models/{model}.yaml"
    document = yaml.safe_load(path.read_text())
    edit(document)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return root


def naming_weights(model: str, weights: Path) -> Edit:
    """Fetch the model's weights into this folder, once; return what makes its file name them."""
    spec = load_settings(REPOSITORY, environ={}).catalogue[model]
    assert spec.source is not None
    fetched = fetch(parse_source(spec.source.name, spec.source.sha256), spec.source.form, weights)

    def edit(document: dict[str, Any]) -> None:
        del document["source"]
        document["path"] = str(fetched / GGUF_FILE)

    return edit


class LlamaService:
    """The service below `folder`; a context manager.

    Args:
        folder: empty.
        model: the active one; its file has to say `engine: llama_cpp` once it is edited.
        edit: changes the model file.

    """

    kind = "llama_cpp"

    def __init__(self, folder: Path, model: str, edit: Edit) -> None:
        environ = {"BONDHU_ROOT": str(edited_root(folder, model, edit)), "BONDHU__MODELS__ACTIVE": model}
        self.gateway = GatewayProcess(folder, **environ)
        settings = load_settings(environ=environ)
        self._spec = settings.catalogue[model]
        self._engine = LlamaEngine(folder, settings, self._spec)
        self._ends = ExitStack()
        self.url, self.api_key = self.gateway.url, ""

    def __enter__(self) -> Self:
        """Start all of it; returns once the gateway is ready."""
        with ExitStack() as ends:
            ends.enter_context(self._engine)
            ends.enter_context(self.gateway)
            directory = _Directory(self.gateway.ingress_port, self._engine.table())
            ends.callback(directory.end)
            self.api_key = self.gateway.make_key("tests", tier="admin")
            eventually(self._is_ready, START_WITHIN_S, "llama.cpp to answer; its log is below the folder")
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End all of it."""
        self._ends.close()

    def replicas(self) -> list[ReplicaReport]:
        """The engine, as the directory knows it."""
        return self._engine.table()["replicas"]  # type: ignore[no-any-return]

    def unfinished(self) -> int:
        """The number of running and queued requests, by the engine's metrics."""
        return int(self._engine.metric("requests_processing") + self._engine.metric("requests_deferred"))

    def generated(self) -> float:
        """The number of text pieces since its start."""
        return self._engine.metric("tokens_predicted_total")

    def _is_ready(self) -> bool:
        self._engine.check()
        models = self.gateway.get("/ready").json()["models"]  # the embedder is on Ray, and so not here
        return bool(models[self._spec.default_name]["ready"])


class _Directory:
    """Answers every GET with one table."""

    def __init__(self, port: int, table: dict[str, Any]) -> None:
        content = json.dumps(table).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def demo_service(folder: Path) -> LlamaService:
    """The demonstration model under its own id, as a GGUF."""
    from tests.support.models.demo_gguf import write_demo_gguf  # heavy, and every test run imports this module

    write_demo_gguf(folder / "demo.gguf", CONTEXT_TOKENS)

    def edit(document: dict[str, Any]) -> None:
        for name in ("server", "env"):
            del document[name]
        document["path"], document["engine"], document["quantization"] = str(folder / "demo.gguf"), "llama_cpp", "Q8_0"
        document["llama_cpp"] = {"context_tokens": CONTEXT_TOKENS, "parallel": PARALLEL}

    return LlamaService(folder, "bondhu-demo", edit)
