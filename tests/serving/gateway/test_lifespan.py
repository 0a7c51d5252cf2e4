"""Whatever fails while a worker starts or ends, everything that it opened is closed."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI

from serving.config.errors import ConfigError
from serving.config.load import Settings, load_settings
from serving.gateway.lifespan import lifespan
from serving.observability.metrics import Metrics, Readings
from serving.observability.telemetry import Telemetry, open_telemetry
from serving.observability.tracing import NoTracing
from storage import migrate
from tests.support.gateway_process import ROOT


class Closing(NoTracing):
    """Notes that it was closed, which is the last thing that a worker does."""

    is_closed = False

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


class Failing(Metrics):
    """Its task ends with an error."""

    async def run(self, readings: Readings) -> None:
        """Fail at once."""
        raise LookupError("a bug in a task")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The configuration with folders of its own."""
    monkeypatch.setenv("BONDHU_CLUSTER_KEY", "unused")
    (tmp_path / "var").mkdir()
    return load_settings(ROOT, {"BONDHU_VAR_DIR": str(tmp_path / "var"), "BONDHU__RUNTIME_DIR": str(tmp_path / "run")})


@pytest.fixture
def telemetry(settings: Settings) -> Telemetry:
    """Telemetry whose closing is seen."""
    return replace(open_telemetry(settings.observability, {}, lambda _: True), tracing=Closing())


async def test_a_task_that_failed_keeps_nothing_open(settings: Settings, telemetry: Telemetry) -> None:
    """The worker's ledger is closed, and so is tracing, which comes last; the error is raised after that."""
    assert isinstance(telemetry.tracing, Closing)
    await asyncio.to_thread(migrate.upgrade, f"sqlite+aiosqlite:///{settings.var_dir / 'bondhu.db'}")
    failing = replace(telemetry, metrics=Failing(is_model=lambda _: True))
    running = lifespan(FastAPI(), settings, failing)
    await running.__aenter__()
    await asyncio.sleep(0)  # the task fails
    assert list((settings.var_dir / "ledger").iterdir())
    with pytest.raises(LookupError, match="a bug in a task"):
        await running.__aexit__(None, None, None)
    assert not list((settings.var_dir / "ledger").iterdir())
    assert telemetry.tracing.is_closed


async def test_a_start_that_fails_closes_what_it_had_opened(settings: Settings, telemetry: Telemetry) -> None:
    """A persona that does not exist is found when SQL and Redis are already open."""
    assert isinstance(telemetry.tracing, Closing)
    wrong = settings.model_copy(update={"agents": settings.agents.model_copy(update={"persona": "nobody"})})
    with pytest.raises(ConfigError, match="nobody"):
        async with lifespan(FastAPI(), wrong, telemetry):
            pass
    assert telemetry.tracing.is_closed


async def test_a_closer_that_fails_skips_no_other(settings: Settings, telemetry: Telemetry) -> None:
    """The ledger cannot remove its journal, as its folder is none any more: SQL and tracing are closed after it."""
    assert isinstance(telemetry.tracing, Closing)
    await asyncio.to_thread(migrate.upgrade, f"sqlite+aiosqlite:///{settings.var_dir / 'bondhu.db'}")
    app = FastAPI()
    running = lifespan(app, settings, telemetry)
    await running.__aenter__()
    database = app.state.gateway.database
    pool = database.pool
    (settings.var_dir / "ledger").rename(settings.var_dir / "elsewhere")
    (settings.var_dir / "ledger").touch()
    with pytest.raises(NotADirectoryError):
        await running.__aexit__(None, None, None)
    assert database.pool is not pool, "its connections were closed"
    assert telemetry.tracing.is_closed
