"""One contract, three kinds of `ChatModel`: a provider's, an engine's server, and a chain of others."""

import time
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from models.chat import ChatMessage, ChatModel, ChatReply, ChatRequest, TextDelta, Unavailable
from models.gemini.client import Gemini
from serving.cache.directives import CacheDirectives
from serving.cache.redis_store import ResponseStore
from serving.cache.response_cache import Makers, ResponseCache
from serving.config.schema import CacheSettings
from serving.errors import EngineUnavailable
from serving.generation.chain_model import ChainModel, TakenByTheRun
from serving.generation.degraded import Degraded
from serving.generation.external import ExternalTarget
from serving.generation.pipeline import Generation, Plan
from serving.generation.target import Target, TargetCall, TargetFailed
from serving.observability.tracing import NoTracing
from serving.privacy.consent import Allowed
from serving.privacy.detector import detector
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, GenerationRequest
from serving.resilience.drain import Drain
from serving.resilience.redis import GuardedRedis, open_redis
from tests.support.gateway_process import free_port
from tests.support.models.openai_chat import OpenAIChat
from tests.support.servers import gemini as google
from tests.support.servers.gemini import GeminiServer
from tests.support.servers.script import ScriptServer

REQUEST = ChatRequest([ChatMessage("user", "hello there")], max_tokens=50)
Fail = Callable[[int], None]
Made = tuple[ChatModel, Fail]


class Absent:
    """A target of which no engine runs."""

    model = "absent"

    async def answer(self, call: TargetCall) -> None:
        """Fail."""
        raise TargetFailed("unavailable", EngineUnavailable("No engine."))


def gemini_of(server: GeminiServer) -> Gemini:
    """A client of that server."""
    return Gemini(
        model="gemini-2.5-flash",
        api_key=server.key,
        base_url=server.url,
        thinking_tokens=0,
        ttft_timeout_s=60,
        stall_timeout_s=60,
        total_timeout_s=60,
        max_answer_bytes=2**24,
        now=time.time,
        new_id=lambda: "n",
    )


def chain_of(*targets: Target) -> ChainModel:
    """The model that an agent asks, with that chain."""
    cache = ResponseCache(
        ResponseStore(GuardedRedis(open_redis("redis://127.0.0.1:9")), max_fields=1),
        rules=CacheSettings(),
        makers=lambda _: Makers("", set()),
        semantic=None,
        new_era=str,
    )
    degraded = Degraded(text=str, crisis_text=str, detect=detector({}), now=time.time, new_id=str)

    def generate(request: GenerationRequest, record: RequestRecord) -> Generation:
        plan = Plan(
            request=request,
            chain=targets,
            limiter=TakenByTheRun(),
            lookup=lambda request: cache.lookup(request, CacheDirectives(reads=False, keeps=False)),
            memory=None,
            degraded=degraded,
            tier="",
            tokens=1,
            timeout_s=60,
            drain=Drain(0),
        )
        return Generation(plan, record)

    request = GenerationRequest(CHAT, {}, "m", "r", "app", None, "interactive", True)
    record = RequestRecord({"id": "run"}, time.monotonic, lambda *_: None)
    return ChainModel("chain", request=request, new_record=record.part, generate=generate)


@pytest.fixture(params=["provider", "engine", "chain"])
async def made(request: pytest.FixtureRequest) -> AsyncIterator[Made]:
    """Return a model of each kind, and what makes its next answer an error of a status."""
    if request.param == "engine":
        with ScriptServer(free_port()) as engine:
            async with aiohttp.ClientSession() as session:
                engine.retry_after = "7"
                engine.always = "You said: hello there"
                yield OpenAIChat(session, base_url=engine.base_url, model="m"), engine.answers.append
        return
    with GeminiServer() as server:
        gemini = gemini_of(server)

        def fail(status: int) -> None:
            server.script(google.broken(status))

        if request.param == "provider":
            yield gemini, fail
        else:

            async def allowed(_: GenerationRequest) -> Allowed:
                return Allowed(True, True, "key")

            outside = ExternalTarget(
                "outside",
                gemini,
                tracing=NoTracing(),
                allowed=allowed,
                detect=detector({}),
                audit=lambda _: None,
                user_hash=lambda *_: "",
            )
            yield chain_of(Absent(), outside), fail
        await gemini.close()


async def streamed(model: ChatModel) -> list[TextDelta | ChatReply]:
    """All that a stream has."""
    return [each async for each in model.stream(REQUEST)]


async def test_a_whole_answer(made: Made) -> None:
    """Its text, why it ended, and who gave it."""
    reply = await made[0].complete(REQUEST)
    assert reply.text == "You said: hello there"
    assert reply.finish_reason == "stop"
    assert reply.usage.completion_tokens > 0
    assert reply.model


async def test_a_stream_is_pieces_and_then_all_of_it(made: Made) -> None:
    """The last item is the one reply, and the pieces are its text."""
    *pieces, reply = await streamed(made[0])
    assert isinstance(reply, ChatReply)
    assert len(pieces) > 1
    assert "".join(each.text for each in pieces if isinstance(each, TextDelta)) == reply.text


async def test_a_broken_model_is_unavailable(made: Made) -> None:
    """Whole or streamed, with the same failure of `models.chat`."""
    model, fail = made
    fail(503)
    with pytest.raises(Unavailable):
        await model.complete(REQUEST)
    fail(503)
    with pytest.raises(Unavailable):
        await streamed(model)
