"""Which answers a generation hands to the cache, and that a kept one needs nobody: real parts, scripted models."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from serving.cache.directives import CacheDirectives
from serving.cache.redis_store import ResponseStore
from serving.cache.response_cache import Makers, ResponseCache
from serving.config.schema import CacheSettings, TierSpec
from serving.errors import ApiError, EngineUnavailable
from serving.generation.degraded import Degraded
from serving.generation.pipeline import Generation, Plan
from serving.generation.target import Target, TargetCall, TargetFailed
from serving.limits.limiter import Limiter
from serving.limits.local_fallback import Shares
from serving.limits.redis_store import LimitStore
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.response import Collected
from serving.protocol.sse import DONE, split
from serving.protocol.usage import Usage
from serving.resilience.drain import Drain
from serving.resilience.redis import GuardedRedis, open_redis
from tests.support.databases.redis_process import RedisProcess

LABEL = "m; revision=r; quantization=none"
EVENT = b'data: {"id":"c","created":1,"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":%s}]}\n\n'
HALF, WHOLE = EVENT % b"null", EVENT % b'"stop"' + DONE


class Scripted:
    """A model that sends one of these parts of a stream each time it is asked, and is lost unless it ends there."""

    model = "m"

    def __init__(self, *parts: bytes) -> None:
        self._parts = iter(parts)

    def waiting(self) -> Mapping[str, int]:
        """Nobody waits."""
        return {}

    async def answer(self, call: TargetCall) -> None:
        """See `serving.generation.target.Target`."""
        part = next(self._parts, b"")
        if part:
            await call.response.events(split(part), LABEL, is_last=DONE in part)
            record, usage = call.record, Usage(3, 0, 1)
            segment = record.segment("m", "r", "none", usage=usage, reason=call.reason, engine_s=0.1)
            record.add(segment, continues=call.beginning is not None)
        if DONE not in part:
            raise TargetFailed("engine_lost", EngineUnavailable("gone"))


class Worker:
    """A gateway worker's parts around a generation, and what its client and its ledger are told."""

    def __init__(self, url: str) -> None:
        self.redis = GuardedRedis(open_redis(url), timeout_s=5)
        self.limits = LimitStore(self.redis, window_s=60, hold_s=60)
        self._limiter = Limiter(
            store=self.limits,
            shares=Shares(window_s=60, workers=1),
            tiers={"free": TierSpec(tokens_per_day=1000)},
            worker="w",
        )
        self._cache = ResponseCache(
            ResponseStore(self.redis, max_fields=256),
            rules=CacheSettings(),
            makers=lambda _: Makers("f", {("f", LABEL)}),
            semantic=None,
            new_era=lambda: "era",
        )

        self._ids = count()

    async def ask(self, *chain: Target) -> tuple[str | None, bytes]:
        """Ask for a stream that leaves nothing to chance; returns how the cache was used, and the body."""
        body = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0, "stream": True}
        request = GenerationRequest(CHAT, body, "m", "r", "shop", "maya", "interactive", False)
        head: dict[str, Any] = {}
        plan = Plan(
            request=request,
            chain=chain,
            limiter=self._limiter,
            lookup=lambda request: self._cache.lookup(request, CacheDirectives()),
            memory=None,
            tier="free",
            tokens=10,
            timeout_s=30,
            drain=Drain(30),
            degraded=Degraded(
                text=lambda: "",
                crisis_text=lambda: "",
                detect=lambda _: frozenset(),
                now=lambda: 0.0,
                new_id=lambda: "d",
            ),
        )
        record, sent = (
            RequestRecord({"id": f"e{next(self._ids)}"}, lambda: 0.0, lambda _, ended: head.update(ended)),
            Collected(),
        )
        with contextlib.suppress(ApiError):
            await Generation(plan, record).run(sent)
        return head["cache"], sent.body


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    """Return a worker with a Redis of its own."""
    server = RedisProcess(tmp_path)
    server.start()
    worker = Worker(server.url)
    yield worker
    await worker.redis.client.aclose()
    server.kill()


async def test_a_kept_answer_needs_nobody(worker: Worker) -> None:
    """It is the same, with no model at all in the chain."""
    assert await worker.ask(Scripted(WHOLE)) == ("miss", WHOLE)
    assert await worker.ask() == ("hit", WHOLE)


async def test_a_hit_takes_a_request_and_no_tokens_from_the_limits(worker: Worker) -> None:
    """What was reserved for it is given back."""
    await worker.ask(Scripted(WHOLE))
    before = await worker.limits.totals("shop")
    await worker.ask()
    after = await worker.limits.totals("shop")
    assert after["settled_requests"] == before["settled_requests"] + 1
    assert after["settled_tokens"] == before["settled_tokens"] == 4
    assert after["open_requests"] == 0


async def test_the_answer_of_a_stand_in_is_not_kept(worker: Worker) -> None:
    """Next time the model that was asked for may be there."""
    assert await worker.ask(Scripted(), Scripted(WHOLE)) == ("miss", WHOLE)
    assert await worker.ask(Scripted(WHOLE)) == ("miss", WHOLE)


async def test_an_answer_in_two_pieces_is_not_kept(worker: Worker) -> None:
    """One model broke off and was gone on with: that is not what it says undisturbed."""
    assert await worker.ask(Scripted(HALF, WHOLE)) == ("miss", HALF + WHOLE)
    assert await worker.ask(Scripted(WHOLE)) == ("miss", WHOLE)


async def test_an_answer_that_breaks_off_is_not_kept(worker: Worker) -> None:
    """And neither is the error that its client was told."""
    use, body = await worker.ask(Scripted(HALF))
    assert use == "miss"
    assert b'"error"' in body
    assert await worker.ask(Scripted(WHOLE)) == ("miss", WHOLE)
