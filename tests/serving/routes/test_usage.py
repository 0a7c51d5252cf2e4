"""Usage as clients and operators see it: the gateway's own application over HTTP, and the real `bondhu` command."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from serving.gateway.app import create_app
from serving.protocol.record import RequestRecord
from serving.protocol.usage import Segment
from serving.routes.dependencies import Gateway
from storage import api_keys, migrate

ROOT = Path(__file__).resolve().parents[3]
TODAY = datetime.now(UTC).date()


@dataclass
class Running:
    """A gateway worker without engines, and a key of each of two applications."""

    gateway: Gateway
    client: httpx.AsyncClient
    app: Any
    secrets: dict[str, str]

    def begin(self, request_id: str, app: str = "shop", user: str | None = None) -> RequestRecord:
        """Begin a request."""
        return self.gateway.ledger.begin(
            request_id=request_id,
            app=app,
            key_id="key",
            end_user=user,
            class_="agent",
            endpoint="/v1/chat/completions",
            model_asked="bondhu",
        )

    def complete(self, request_id: str, app: str = "shop", user: str | None = None, model: str = "m") -> None:
        """Begin a request and end it with 10 prompt and 5 completion tokens."""
        with self.begin(request_id, app, user) as record:
            record.segments.append(Segment(model, "r1", "W8A8", 0, 5, "asked", prompt_tokens=10))
            record.prompt_tokens, record.completion_tokens, record.status = 10, 5, 200
            record.end("ok")

    async def get(self, path: str, caller: str = "shop", /, **query: Any) -> tuple[int, Any]:
        """Ask as an application; returns status and JSON."""
        headers = {"authorization": f"Bearer {self.secrets[caller]}"}
        answer = await self.client.get(path, params=query, headers=headers)
        return answer.status_code, answer.json()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return the settings of a stack of its own."""
    return {
        "BONDHU_ROOT": str(ROOT),
        "BONDHU_VAR_DIR": str(tmp_path / "var"),
        "BONDHU__RUNTIME_DIR": str(tmp_path / "run"),
        "BONDHU_CLUSTER_KEY": "unused",
    }


@pytest.fixture
async def running(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """Run the application's own start and stop around a test."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "var").mkdir()
    await asyncio.to_thread(migrate.upgrade, f"sqlite+aiosqlite:///{tmp_path / 'var/bondhu.db'}")
    app = create_app()
    async with app.router.lifespan_context(app):
        gateway: Gateway = app.state.gateway
        secrets = {
            name: (await api_keys.create_key(gateway.database, app=name, name="", now=datetime.now(UTC))).secret
            for name in ("shop", "other")
        }
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield Running(gateway, client, app, secrets)


async def test_a_request_is_found_as_soon_as_it_has_ended(running: Running) -> None:
    """With tokens, model, outcome and cost, whether or not its client is still there."""
    running.complete("abc", user="maya")
    status, answer = await running.get("/v1/usage/abc")
    assert status == 200
    expected = {
        "object": "usage",
        "request_id": "abc",
        "status": "ended",
        "outcome": "ok",
        "http_status": 200,
        "user": "maya",
        "class": "agent",
        "model": "m",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost_microusd": 0,
    }
    assert answer | expected == answer
    assert answer["segments"][0]["to_token"] == 5


async def test_a_running_request_says_so(running: Running) -> None:
    """200 with what is known; what is not is null. Its newest use wins over an older one with the same id."""
    running.complete("abc")
    record = running.begin("abc")
    status, answer = await running.get("/v1/usage/abc")
    assert (status, answer["status"], answer["outcome"], answer["completion_tokens"]) == (200, "running", None, None)
    assert answer["id"] == record.id
    record.end("aborted")
    assert (await running.get("/v1/usage/abc"))[1]["outcome"] == "aborted"


async def test_another_applications_request_does_not_exist(running: Running) -> None:
    """404 in OpenAI's envelope, running or ended, the same as for an id that nobody used."""
    running.complete("abc")
    record = running.begin("def")
    answers = [await running.get(f"/v1/usage/{name}", "other") for name in ("abc", "def", "ghi")]
    assert answers[0] == answers[1] == answers[2]
    status, answer = answers[0]
    assert (status, answer["error"]["code"], answer["error"]["param"]) == (404, "request_not_found", "request_id")
    record.end("ok")


async def test_sums_are_of_the_callers_application(running: Running) -> None:
    """By day without parameters; by what is asked with them; never another's."""
    running.complete("1", user="maya", model="m")
    running.complete("2", user="noor", model="n")
    running.complete("3", app="other")
    totals = {"prompt_tokens": 20, "cached_tokens": 0, "completion_tokens": 10, "cost_microusd": 0}
    status, answer = await running.get("/api/v1/usage")
    assert status == 200
    assert answer == {
        "object": "list",
        "data": [{"day": TODAY.isoformat(), "requests": 2, **totals}],
        "has_more": False,
    }
    _, answer = await running.get("/api/v1/usage", group_by="app,user,model")
    assert [(row["app"], row["user"], row["model"]) for row in answer["data"]] == [
        ("shop", "maya", "m"),
        ("shop", "noor", "n"),
    ]
    _, answer = await running.get("/api/v1/usage", group_by="user", user="noor", app="shop")
    assert [row["user"] for row in answer["data"]] == ["noor"]
    _, answer = await running.get("/api/v1/usage", group_by="user", limit=1)
    assert (len(answer["data"]), answer["has_more"]) == (1, True)
    tomorrow = TODAY + timedelta(days=1)
    for span in ({"from": f"{tomorrow}"}, {"to": f"{TODAY}T00:00:00Z"}):
        assert (await running.get("/api/v1/usage", **span))[1]["data"] == []


async def test_only_an_admin_sees_other_applications(running: Running) -> None:
    """403 for others; an admin may name one, or ask for all."""
    running.complete("1")
    running.complete("2", app="other")
    for app in ("other", "*"):
        status, answer = await running.get("/api/v1/usage", app=app)
        assert (status, answer["error"]["code"], answer["error"]["param"]) == (403, "admin_only", "app")
    running.app.state.gateway = replace(running.gateway, may_see_all=lambda key: key.app == "shop")
    for app, expected in (("other", ["other"]), ("*", ["other", "shop"])):
        _, answer = await running.get("/api/v1/usage", app=app, group_by="app")
        assert [row["app"] for row in answer["data"]] == expected
    assert (await running.get("/api/v1/usage", "other", app="*"))[0] == 403


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group_by", "app,hour"),
        ("group_by", ""),
        ("from", "yesterday"),
        ("to", "0001-01-01T00:00:00+14:00"),
        ("limit", "0"),
        ("user", "a\x00b"),
        ("app", "a\x00b"),
        ("model", "m" * 257),
    ],
)
async def test_a_wrong_parameter_is_named(running: Running, name: str, value: str) -> None:
    """400 in OpenAI's envelope."""
    status, answer = await running.get("/api/v1/usage", **{name: value})
    assert (status, answer["error"]["type"], answer["error"]["param"]) == (400, "invalid_request_error", name)


async def test_without_the_database_the_answer_is_503(running: Running) -> None:
    """A typed error with Retry-After; the request itself was not held up."""
    async with running.gateway.database.begin() as connection:
        await connection.execute(text("ALTER TABLE requests RENAME TO away"))
    running.complete("abc")
    assert (await running.get("/v1/usage/abc"))[1]["error"]["code"] == "database_unavailable"
    async with running.gateway.database.begin() as connection:
        await connection.execute(text("ALTER TABLE away RENAME TO requests"))
    assert (await running.get("/v1/usage/abc"))[0] == 200


async def test_usage_is_in_the_openapi_document(running: Running) -> None:
    """Both paths, with the schema of the answer."""
    paths = (await running.client.get("/openapi.json")).json()["paths"]
    for path in ("/v1/usage/{request_id}", "/api/v1/usage"):
        answers = paths[path]["get"]["responses"]
        assert "properties" in answers["200"]["content"]["application/json"]["schema"]
        assert "503" in answers


async def test_the_command_sums_what_the_gateway_wrote(running: Running, environ: dict[str, str]) -> None:
    """JSON and a table; `--since` leaves the older out; mistakes are code 2."""
    running.complete("1", user="maya [bold]")
    running.complete("2", app="other")
    await running.gateway.ledger.flush()
    async with running.gateway.database.begin() as connection:
        older = "UPDATE requests SET started_at = '2026-01-01 00:00:00.000000', day = '2026-01-01' WHERE app = 'other'"
        await connection.execute(text(older))

    def bondhu(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "serving.cli", "usage", *arguments]
        whole = os.environ | environ | {"COLUMNS": "200"}
        return subprocess.run(command, env=whole, cwd=ROOT, capture_output=True, text=True, check=False)

    done = await asyncio.to_thread(bondhu, "--by", "app,day", "--json")
    assert done.returncode == 0, done.stderr
    found = [(row["app"], row["day"], row["requests"]) for row in json.loads(done.stdout)]
    assert found == [("other", "2026-01-01", 1), ("shop", TODAY.isoformat(), 1)]
    done = await asyncio.to_thread(bondhu, "--by", "app,user", "--since", "7d")
    assert "maya [bold]" in done.stdout
    assert "other" not in done.stdout
    for arguments in (("--by", "hour"), ("--since", "soon")):
        done = await asyncio.to_thread(bondhu, *arguments)
        assert done.returncode == 2
        assert arguments[0] in done.stderr
