"""One place says which model ids there are: an agent and an adapter, registered once each, are known everywhere."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.additions import ROOT, add
from tests.support.gateway_process import DEADLINE_S, GatewayProcess, wait_for
from tests.support.models.tiny_lora import write_lora
from tests.support.servers.engine import EngineServer

LINE = '    "games": '
CHAT = [{"role": "user", "content": "Good morning"}]


def bondhu(environ: Mapping[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of `bondhu`."""
    command = [sys.executable, "-m", "serving.cli", *words]
    return subprocess.run(command, env=dict(environ), cwd=ROOT, capture_output=True, text=True, check=False)


def completed(environ: Mapping[str, str], *words: str) -> list[str]:
    """What a shell is offered in place of the last word."""
    variables = {
        "_MAIN_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["main", *words]),
        "COMP_CWORD": str(len(words)),
    }
    script = "from serving.cli.main import app; app(prog_name='main')"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env={**environ, **variables}, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split()


def ids_of(environ: Mapping[str, str]) -> dict[str, str]:
    """The kinds of all ids that the command line lists."""
    listed = bondhu(environ, "models", "ids", "--json")
    assert listed.returncode == 0, listed.stderr
    return {each["id"]: each["kind"] for each in json.loads(listed.stdout)}


def listed_over_http(gateway: GatewayProcess, key: str) -> set[str]:
    """GET /v1/models."""
    return {each["id"] for each in gateway.get("/v1/models", key).json()["data"]}


def ask(gateway: GatewayProcess, key: str, model: str) -> httpx.Response:
    """A chat."""
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": model, "messages": CHAT}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=DEADLINE_S)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with a copy of the configuration."""
    root = tmp_path / "root"
    shutil.copytree(ROOT / "configs", root / "configs")
    (root / "models").symlink_to(ROOT / "models")
    return root


def edit(root: Path, model: str, old: str, new: str) -> None:
    """Change a model file."""
    path = root / f"configs/models/{model}.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_an_agent_is_known_everywhere_by_a_folder_and_a_line(tmp_path: Path, root: Path) -> None:
    """In lists and requests, on the command line, and in the checks of the configuration."""
    code = add(
        tmp_path / "code",
        "agents",
        "echo_agent",
        "catalogue.py",
        {
            LINE: f'    "echo": "agents.echo_agent.agent:make_agent",\n{LINE}',
        },
    )
    with GatewayProcess(tmp_path, process_environ=code, cwd=tmp_path / "code") as gateway:
        key = gateway.make_key("diary", tier="standard")
        assert "bondhu/echo" in listed_over_http(gateway, key)
        assert gateway.get("/v1/models/bondhu/echo", key).json()["root"] == "bondhu/echo"
        answer = ask(gateway, key, "bondhu/echo")
        assert answer.json()["choices"][0]["message"]["content"].endswith("Good morning")  # behind a notice of the law
    environ = {**os.environ, **code, "BONDHU_ROOT": str(root), "BONDHU_VAR_DIR": str(tmp_path / "var")}
    assert ids_of(environ)["bondhu/echo"] == "agent"
    assert completed(environ, "chat", "--model", "bondhu/e") == ["bondhu/echo"]
    twice = {**environ, "BONDHU__EXTERNAL": json.dumps({"bondhu/echo": {"model": "m"}})}
    assert "`bondhu/echo` is already the id of an agent" in bondhu(twice, "models", "check").stderr
    edit(root, "bondhu-demo", "fallback: [gemini]", "fallback: [bondhu/echo]")
    assert "`bondhu/echo` is the id of an agent, which is no fallback" in bondhu(environ, "models", "check").stderr


def test_an_adapter_is_known_everywhere_by_an_entry(tmp_path: Path, root: Path) -> None:
    """In lists and requests, as another model's fallback, on the command line, and in the checks."""
    warm = write_lora(tmp_path / "warm", seed=1)
    edit(root, "bondhu-demo", "fallback: [gemini]", f"adapters: [{{id: warm, path: {warm}}}]")
    edit(root, "bondhu-demo-bf16", "fallback: [gemini]", "fallback: [warm]")
    environ: dict[str, Any] = {"BONDHU_ROOT": str(root), "BONDHU__MODELS__ALSO": '["bondhu-demo-bf16"]'}
    with (
        GatewayProcess(tmp_path, **environ) as gateway,
        EngineServer(gateway.ingress_port, adapters=["warm"], absent=["bondhu-demo-bf16"]),
    ):
        key = gateway.make_key("diary", tier="standard")
        wait_for(lambda: gateway.get("/v1/models/warm", key).status_code == 200, "the adapter to answer")
        assert "warm" in listed_over_http(gateway, key)
        ready = gateway.get("/ready").json()["models"]
        assert (ready["warm"]["ready"], ready["bondhu-demo-bf16"]["ready"]) == (True, False)
        for model in ("warm", "bondhu-demo-bf16"):
            assert ask(gateway, key, model).headers["x-bondhu-model"].startswith("warm; adapter=r; base=bondhu-demo")
    environ = {
        **os.environ,
        **environ,
        "BONDHU_VAR_DIR": str(tmp_path / "var"),
        "BONDHU__MODELS__ACTIVE": "bondhu-demo",
    }
    assert ids_of(environ)["warm"] == "adapter"
    assert completed(environ, "chat", "--model", "wa") == ["warm"]
    assert bondhu(environ, "models", "check").returncode == 0
    assert (
        "`warm` is already the id of an adapter"
        in bondhu({**environ, "BONDHU__EMBEDDER__ID": "warm"}, "models", "check").stderr
    )
    edit(root, "bondhu-demo-bf16", "[warm]", "[warn]")
    assert "there is no model `warn`; did you mean `warm`?" in bondhu(environ, "models", "check").stderr
