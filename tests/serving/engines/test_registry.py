"""Which engine a request goes to during a canary and while engines sleep, and what a client is told to wait."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from serving.engines.registry import EngineRegistry
from serving.errors import EngineUnavailable
from tests.support.servers.directory import DirectoryServer

OLD, NEW = "old", "new"
NOW_S = 1_000.0
WITHIN_S = 30.0


@asynccontextmanager
async def polling(directory: DirectoryServer, draw: Callable[[], float] = lambda: 0.5) -> AsyncIterator[EngineRegistry]:
    """A registry that polls, and has proven every ready replica."""
    async with aiohttp.ClientSession() as session:
        registry = EngineRegistry(
            directory_url=directory.url,
            cluster_key="k",
            session=session,
            poll_s=0.05,
            probe_interval_s=60,
            ready_within_s=600,
            retry_after_s=5,
            routing={"alias": "bondhu", "active": "", "models": {}},
            now=lambda: NOW_S,
            draw=draw,
        )
        task = asyncio.create_task(registry.run())
        try:
            yield registry
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], Any]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - it may be anything
            await asyncio.sleep(0.01)


def routes(active: str, models: dict[str, str], **more: Any) -> dict[str, Any]:
    """A routing table."""
    return {"alias": "bondhu", "active": active, "models": models, **more}


async def test_a_canary_takes_its_share_of_the_alias() -> None:
    """Requests below the share go to the new model, others to the old one; none after the canary's time."""
    canary = {"model": OLD, "to": NEW, "fingerprint": "n", "share": 0.05, "until": NOW_S + 1}
    drawn = 0.04
    async with DirectoryServer() as directory:
        directory.replicas = [directory.report(OLD, "o"), directory.report(NEW, "n")]
        directory.routing = routes(OLD, {OLD: "o", NEW: "n"}, canary=canary)
        async with polling(directory, draw=lambda: drawn) as registry:
            await until(lambda: registry.replicas(OLD) and registry.replicas(NEW) and registry.active == OLD)
            assert registry.choose_active() == NEW
            drawn = 0.06
            assert registry.choose_active() == OLD
            drawn = 0.04
            directory.routing = routes(OLD, {OLD: "o", NEW: "n"}, canary={**canary, "until": NOW_S})
            await until(lambda: registry.choose_active() == OLD)


async def test_a_canary_of_the_same_model_is_another_engine() -> None:
    """A changed engine argument: requests keep the id, a share of them goes to the other configuration."""
    canary = {"model": OLD, "to": OLD, "fingerprint": "n", "share": 0.5, "until": NOW_S + 1}
    drawn = 0.4
    async with DirectoryServer() as directory:
        directory.replicas = [directory.report(OLD, "o"), directory.report(OLD, "n")]
        directory.routing = routes(OLD, {OLD: "o"}, canary=canary)
        async with polling(directory, draw=lambda: drawn) as registry:
            await until(lambda: {each["fingerprint"] for each in registry.reports()} == {"o", "n"})
            await until(lambda: registry.replicas(OLD) and registry.choose(OLD).report["fingerprint"] == "n")
            drawn = 0.6
            assert registry.choose(OLD).report["fingerprint"] == "o"


async def test_a_client_is_told_when_the_engine_should_be_ready() -> None:
    """By the table while engines are replaced, by a replica that starts, and else the configured time."""
    async with DirectoryServer() as directory:
        directory.routing = routes(NEW, {NEW: "n"}, expected={NEW: NOW_S + 40})
        async with polling(directory) as registry:
            await until(lambda: "expected" in registry.routing)
            with pytest.raises(EngineUnavailable) as refusal:
                registry.choose(NEW)
            assert refusal.value.retry_after_s == 41
            directory.routing = routes(NEW, {NEW: "n"})
            directory.replicas = [directory.report(NEW, "n", "starting", ready_in_s=12.0)]
            await until(lambda: registry.retry_after_s(NEW) == 13)
            directory.replicas = [directory.report(NEW, "n", "starting")]
            await until(lambda: registry.retry_after_s(NEW) == 5)


async def test_a_request_wakes_an_engine_that_sleeps_and_waits() -> None:
    """Its model and the adapters on it count as available; the directory is told at once."""
    async with DirectoryServer() as directory:
        directory.replicas = [directory.report(OLD, "o", "asleep", ready_in_s=2.0)]
        directory.routing = routes(OLD, {OLD: "o", "lora": "o"}, bases={"lora": OLD})
        async with polling(directory) as registry:
            await until(lambda: registry.state(OLD).state == "asleep")
            assert registry.state(OLD).ready
            assert registry.state("lora").ready
            waiting = asyncio.create_task(registry.awake("lora", timeout_s=60))
            await until(lambda: directory.told)
            assert "lora" in directory.told[0]["used"]
            assert not waiting.done()
            directory.replicas = [directory.report(OLD, "o", "ready", epoch=2, adapters={"lora": "r"})]
            async with asyncio.timeout(WITHIN_S):
                await waiting
            assert registry.choose("lora").report["epoch"] == 2


async def test_an_engine_that_has_just_fallen_asleep_is_waited_for_as_well() -> None:
    """That it answered a moment ago does not make it usable."""
    async with DirectoryServer() as directory:
        directory.replicas = [directory.report(OLD, "o")]
        directory.routing = routes(OLD, {OLD: "o"})
        async with polling(directory) as registry:
            await until(lambda: registry.replicas(OLD) == 1)
            directory.replicas = [directory.report(OLD, "o", "asleep", ready_in_s=2.0)]
            await until(lambda: registry.state(OLD).state == "asleep")
            waiting = asyncio.create_task(registry.awake(OLD, timeout_s=60))
            await until(lambda: directory.told)
            assert not waiting.done()
            directory.replicas = [directory.report(OLD, "o", "ready", epoch=2)]
            async with asyncio.timeout(WITHIN_S):
                await waiting
            assert registry.choose(OLD).report["epoch"] == 2


async def test_a_request_with_less_time_than_waking_takes_does_not_wait() -> None:
    """It falls back; the engine is woken all the same."""
    async with DirectoryServer() as directory:
        directory.replicas = [directory.report(OLD, "o", "asleep", ready_in_s=90.0)]
        directory.routing = routes(OLD, {OLD: "o"})
        async with polling(directory) as registry:
            await until(lambda: registry.state(OLD).state == "asleep")
            async with asyncio.timeout(WITHIN_S):
                await registry.awake(OLD, timeout_s=60)
            with pytest.raises(EngineUnavailable):
                registry.choose(OLD)
            await until(lambda: directory.told)


async def test_a_model_without_a_replica_is_started_by_a_request_that_has_the_time() -> None:
    """As one that sleeps: it waits while the first replica starts, or is told how long the last start took."""
    async with DirectoryServer() as directory:
        directory.routing = routes(OLD, {OLD: "o"}, on_demand=[OLD])
        directory.ready_in = {OLD: 40.0}
        async with polling(directory) as registry:
            await until(lambda: registry.retry_after_s(OLD) == 41)
            assert registry.state(OLD).ready
            async with asyncio.timeout(WITHIN_S):
                await registry.awake(OLD, timeout_s=20)
            with pytest.raises(EngineUnavailable):
                registry.choose(OLD)
            waiting = asyncio.create_task(registry.awake(OLD, timeout_s=60))
            await until(lambda: directory.told)
            directory.replicas = [directory.report(OLD, "o", "starting")]
            late = asyncio.create_task(registry.awake(OLD, timeout_s=60))
            await until(lambda: registry.reports())
            assert [waiting.done(), late.done()] == [False, False]
            directory.replicas = [directory.report(OLD, "o", "ready")]
            async with asyncio.timeout(WITHIN_S):
                await asyncio.gather(waiting, late)
            assert registry.choose(OLD).report["state"] == "ready"
