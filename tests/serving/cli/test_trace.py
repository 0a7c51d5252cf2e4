"""`bondhu trace` follows a request by its id: client, ledger, gateway's log, engine, and the jobs after it."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert
from typer.testing import CliRunner

from models.engine_log import log_request
from models.vllm.middleware import RequireKey
from serving.cli.main import app
from storage.database import open_engine
from storage.memory.tables import Job
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.polling import eventually
from tests.support.servers.engine import MODEL, EngineServer


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    """Return a gateway with an engine."""
    process = GatewayProcess(tmp_path, BONDHU__EMBEDDER__ENABLED="false")
    with EngineServer(process.ingress_port), process:
        eventually(lambda: process.get("/ready").status_code == 200, DEADLINE_S, "an engine")
        yield process


def ask(gateway: GatewayProcess, key: str, request_id: str, model: str = MODEL) -> None:
    """Chat as maya under this id."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "user": "maya", "stream": True}
    headers = {"authorization": f"Bearer {key}", "x-request-id": request_id}
    with httpx.Client(verify=False, timeout=DEADLINE_S) as client:
        assert client.post(f"{gateway.url}/v1/chat/completions", headers=headers, json=body).status_code == 200


async def add_job(url: str) -> None:
    """Add a job of maya's."""
    engine = open_engine(url)
    now = datetime.now(UTC)
    values = {"app": "shop", "end_user": "maya", "id": "j1", "kind": "extract", "state": "done", "attempts": 1}
    async with engine.begin() as connection:
        await connection.execute(insert(Job).values(**values, due_at=now, created_at=now, updated_at=now))
    await engine.dispose()


def test_one_request_is_traced_from_client_to_job(gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of time, and nothing of another request; an unknown id is an error."""
    key = gateway.make_key("shop", tier="admin")
    for request_id, model in (("mine-1", MODEL), ("other-2", MODEL), ("run-3", "bondhu/chat")):
        ask(gateway, key, request_id, model)
        usage = f"/v1/usage/{request_id}"
        eventually(lambda usage=usage: '"ended"' in gateway.get(usage, key).text, DEADLINE_S, "the ledger to have it")
    asyncio.run(add_job(gateway.database_url))
    (gateway.var_dir / "logs").mkdir()
    (gateway.var_dir / "logs/gateway.log").symlink_to(gateway.log)
    at = datetime.now(UTC).isoformat()
    line = {"time": at, "level": "INFO", "logger": "bondhu.engine", "message": "POST /v1/x", "request_id": "mine-1"}
    (gateway.var_dir / "logs/engine-demo.log").write_text(f"(APIServer pid=7) {json.dumps(line)}\n(APIServer) mine-1\n")
    for name, value in gateway.environ.items():
        if name.startswith("BONDHU"):
            monkeypatch.setenv(name, value)
    shown = CliRunner().invoke(app, ["trace", "mine-1", "--json"])
    assert shown.exit_code == 0, shown.output
    events = json.loads(shown.stdout)["events"]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    seen = {event["where"]: event["what"] for event in reversed(events)}
    assert "maya" in seen["client"]
    assert MODEL in seen["engine"]
    assert "POST /v1/chat/completions 200" in seen["gateway"]
    assert "extract j1" in seen["job"]
    assert seen["engine-demo"] == "POST /v1/x"
    assert any("ok, status 200" in event["what"] for event in events)
    assert "other-2" not in shown.stdout
    assert "first token" in CliRunner().invoke(app, ["trace", "mine-1"]).stdout
    run = CliRunner().invoke(app, ["trace", "run-3"]).stdout
    assert "recall: done, 0 recalled" in run
    assert f"model: done, {MODEL}" in run
    assert CliRunner().invoke(app, ["trace", "nobody"]).exit_code == 1


async def test_an_engine_says_which_request_it_had(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the id that the gateway sends along; its probes have none, and leave no line."""
    monkeypatch.setenv("BONDHU_ENGINE_KEY", "k")

    async def answer(*_: Any) -> None:
        """Answer."""

    door = RequireKey(answer)
    for headers in ([(b"x-request-id", b"mine-1")], []):
        scope = {"type": "http", "path": "/v1/completions", "headers": [(b"authorization", b"Bearer k"), *headers]}
        await door(scope, answer, answer)
    (line,) = capsys.readouterr().err.splitlines()
    assert {"request_id": "mine-1", "message": "POST /v1/completions"}.items() <= json.loads(line).items()
    log_request("x" * 500, "/", 0)
    assert len(json.loads(capsys.readouterr().err)["request_id"]) == 128
