"""A worker that is being stopped admits nothing, says so, and ends what runs when its time is over."""

import asyncio
from pathlib import Path

import httpx
import pytest

from serving.gateway.app import create_app
from serving.resilience.drain import Drain
from storage import migrate
from tests.support.gateway_process import ROOT


async def test_nothing_begins_while_a_worker_drains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After on a connection that is then closed; /health says draining."""
    environ = {
        "BONDHU_ROOT": str(ROOT),
        "BONDHU_VAR_DIR": str(tmp_path / "var"),
        "BONDHU__RUNTIME_DIR": str(tmp_path / "run"),
        "BONDHU_CLUSTER_KEY": "unused",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "var").mkdir()
    await asyncio.to_thread(migrate.upgrade, f"sqlite+aiosqlite:///{tmp_path / 'var/bondhu.db'}")
    app = create_app()
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client,
    ):
        assert (await client.get("/health")).json() == {"status": "ok"}
        app.state.gateway.drain.begin()
        answer = await client.post("/v1/chat/completions", json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
        assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
        assert (await client.get("/health")).json() == {"status": "draining"}


async def test_the_end_of_a_drain_ends_what_runs() -> None:
    """What began before it, and what begins after it."""
    drain = Drain(drain_s=0)

    async def work() -> None:
        async with asyncio.timeout(None) as limit:
            with drain.ends(limit):
                await asyncio.Event().wait()

    early = asyncio.create_task(work())
    await asyncio.sleep(0)
    drain.begin()
    for each in (early, asyncio.create_task(work())):
        with pytest.raises(TimeoutError):
            await each
    assert drain.is_over
