"""One generation, many readers: shared, resumed, handed over; two real gateways on one Redis, a scripted engine."""

import asyncio
import json
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from serving.limits.redis_store import LimitStore
from serving.resilience.redis import GuardedRedis, open_redis
from tests.support.gateway_process import DEADLINE_S, GatewayProcess, value, wait_for
from tests.support.servers.engine import MODEL, PROMPT_TOKENS, EngineServer, text_of

PATH = "/v1/chat/completions"
TOKENS = 8
Row = dict[str, Any]


def asking(text: str, **fields: Any) -> dict[str, Any]:
    """A greedy request, which is shared with its like."""
    messages = [{"role": "user", "content": text}]
    return {"model": "bondhu", "messages": messages, "max_tokens": TOKENS, "temperature": 0, "stream": True} | fields


class Pair:
    """Two gateways that share everything but their process, and one application's client of them."""

    def __init__(self, gateways: list[GatewayProcess], engine: EngineServer, app: str, key: str) -> None:
        self.gateways = gateways
        self.engine = engine
        self.app = app
        self.key = key
        self.http = httpx.AsyncClient(timeout=DEADLINE_S, headers={"authorization": f"Bearer {key}"})

    @classmethod
    async def open(cls, gateways: list[GatewayProcess], engine: EngineServer, app: str) -> "Pair":
        """Make the application's key."""
        return cls(gateways, engine, app, await asyncio.to_thread(gateways[0].make_key, app))

    @asynccontextmanager
    async def stream(self, gateway: int, body: Any, **headers: str) -> AsyncIterator["Events"]:
        """Ask a gateway for a stream."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = self.gateways[gateway].url + PATH
        async with self.http.stream("POST", url, content=content, headers=named) as response:
            yield Events(response)

    async def text(self, gateway: int, body: Any, **headers: str) -> str:
        """The whole text that a gateway streams."""
        async with self.stream(gateway, body, **headers) as events:
            return await events.rest()

    async def plain(self, gateway: int, body: Any, **headers: str) -> httpx.Response:
        """An answer that is no stream."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(self.gateways[gateway].url + PATH, json=body, headers=named)

    async def rows(self, number: int) -> list[Row]:
        """The application's rows in the ledger, once there are so many, in the order of their beginning."""
        rows: list[Row] = []

        def are_there() -> bool:
            nonlocal rows
            with sqlite3.connect(self.gateways[0].var_dir / "bondhu.db") as database:
                database.row_factory = sqlite3.Row
                query = "SELECT * FROM requests WHERE app = ? ORDER BY started_at, id"
                rows = [dict(row) for row in database.execute(query, [self.app])]
            return len(rows) >= number

        await eventually(are_there, f"{number} rows in the ledger")
        assert len(rows) == number
        return rows

    def connections(self) -> int:
        """How many clients read a recording."""
        return sum(int(value(gateway.scrape(), "bondhu_recordings", what="readers") or 0) for gateway in self.gateways)

    def trusts_redis(self) -> bool:
        """Whether both gateways ask Redis."""
        samples = [gateway.scrape() for gateway in self.gateways]
        names = ("redis", "redis-streams")
        return all(value(each, "bondhu_breaker_open", breaker=name) == 0 for each in samples for name in names)

    async def are_open(self, number: int) -> None:
        """Return once the gateways work on so many requests."""
        await eventually(lambda: self.connections() == number, f"{number} open requests")

    async def limits_add_up(self) -> None:
        """Wait until nothing is reserved any more; then reserved = settled + refunded."""
        store = LimitStore(GuardedRedis(open_redis(self.gateways[0].redis.url), timeout_s=5.0), window_s=60, hold_s=60)
        totals: dict[str, int] = {}

        async def is_settled() -> bool:
            nonlocal totals
            totals = await store.totals(self.app)
            return totals["open_requests"] == 0

        await eventually(is_settled, "every reservation to be closed")
        assert totals["reserved_requests"] > 0
        for unit in ("requests", "tokens"):
            assert totals[f"reserved_{unit}"] == totals[f"settled_{unit}"] + totals[f"refunded_{unit}"]


class Events:
    """A stream's events as they come."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.ids: list[str] = []
        self.error: str | None = None
        self.done = False
        self._lines = response.aiter_lines()
        self.content = ""

    async def until(self, text: str) -> None:
        """Read until the text so far is `text`."""
        while self.content != text:
            await self._next()

    async def rest(self) -> str:
        """Read to the end; the text of the whole."""
        try:
            while True:
                await self._next()
        except StopAsyncIteration:
            return self.content

    async def _next(self) -> None:
        line = await anext(self._lines)
        if line.startswith("id: "):
            self.ids.append(line[4:])
        elif line == "data: [DONE]":
            self.done = True
        elif line.startswith("data: "):
            event = json.loads(line[6:])
            if "error" in event:
                self.error = event["error"]["code"]
            for choice in event.get("choices", ()):
                self.content += choice["delta"].get("content") or ""


async def eventually(condition: Any, what: str) -> None:
    """Poll until `condition` holds."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            holds = condition()
            if await holds if asyncio.iscoroutine(holds) else holds:
                return
            await asyncio.sleep(0.02)
    raise AssertionError(what)


SETTINGS = {
    "BONDHU__STREAMS__COALESCE": "all",
    "BONDHU__GATEWAY__DRAIN_S": "1",
    "BONDHU__LEDGER__WRITE_S": "0.05",
    "BONDHU__LEDGER__ADOPT_S": "0.2",
    "BONDHU__GATEWAY__DIRECTORY_POLL_S": "0.1",
}


def knows_the_engine(gateway: GatewayProcess) -> bool:
    """Whether it can answer."""
    return bool(gateway.get("/ready").json()["models"].get(MODEL, {}).get("ready"))


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[GatewayProcess], EngineServer]]:
    """Two gateways on one Redis, and their engine."""
    folder = tmp_path_factory.mktemp("streams")
    first = GatewayProcess(folder, **SETTINGS)
    second = GatewayProcess(folder, beside=first, **SETTINGS)
    with EngineServer(first.ingress_port) as engine, first, second:
        yield [first, second], engine


@pytest.fixture
async def pair(
    processes: tuple[list[GatewayProcess], EngineServer], request: pytest.FixtureRequest
) -> AsyncIterator[Pair]:
    """Return both gateways, ready, with an application of the test's own."""
    gateways, engine = processes
    engine.allow(None)
    engine.requests.clear()
    engine.aborted = 0
    for gateway in gateways:
        if not gateway.is_running:
            gateway.start()
        wait_for(partial(knows_the_engine, gateway), "the engine to be known")
    made = await Pair.open(gateways, engine, request.node.name[:60])
    yield made
    await made.http.aclose()


@pytest.mark.parametrize("other", [0, 1], ids=["one-worker", "two-workers"])
async def test_identical_requests_are_computed_once(pair: Pair, other: int) -> None:
    """Both get all of it, the second with a row that has no tokens."""
    pair.engine.allow(2)
    async with pair.stream(0, asking("Hello")) as first:
        await first.until(text_of(2))
        async with pair.stream(other, asking("Hello")) as second:
            await second.until(text_of(2))
            pair.engine.allow(None)
            assert await first.rest() == await second.rest() == text_of(TOKENS)
            assert first.done
            assert second.done
            assert not first.ids
            assert second.response.headers["x-request-id"] != first.response.headers["x-request-id"]
    assert len(pair.engine.requests) == 1
    one, two = await pair.rows(2)
    assert (one["outcome"], one["cache"], one["completion_tokens"]) == ("ok", "miss", TOKENS)
    assert (two["outcome"], two["cache"], two["completion_tokens"], two["prompt_tokens"]) == ("ok", "shared", 0, 0)
    await pair.limits_add_up()


@pytest.mark.parametrize(
    ("one", "two", "headers"),
    [
        (asking("a"), asking("b"), {}),
        (asking("a", temperature=1), asking("a", temperature=1), {}),
        (asking("a"), asking("a"), {"cache_control": "no-cache"}),
        (asking("a"), asking("a"), {"x_bondhu_user": "maya"}),
        (asking("a"), asking("a", stream=False), {}),
    ],
    ids=["bodies", "samples", "wish", "users", "plain"],
)
async def test_requests_that_differ_are_not_shared(pair: Pair, one: Row, two: Row, headers: dict[str, str]) -> None:
    """Other bodies, samples for an application, a wish for an own answer, another end user."""
    pair.engine.allow(2)
    async with pair.stream(0, one) as first:
        await first.until(text_of(2))
        second = asyncio.create_task(pair.plain(0, two, **headers))
        await eventually(lambda: len(pair.engine.requests) == 2, "the engine to be asked twice")
        pair.engine.allow(None)
        assert (await second).status_code == 200
        assert await first.rest() == text_of(TOKENS)


async def test_one_persons_samples_are_shared(pair: Pair) -> None:
    """Who presses twice is answered once, sampled or not."""
    body = asking("a", temperature=1, user="maya", stream=False)
    pair.engine.allow(2)
    requests = [asyncio.create_task(pair.plain(gateway, body)) for gateway in (0, 0, 1)]
    await pair.are_open(3)
    pair.engine.allow(None)
    answers = [await each for each in requests]
    assert len({answer.content for answer in answers}) == 1
    assert len(pair.engine.requests) == 1


@pytest.mark.parametrize("other", [0, 1], ids=["one-worker", "two-workers"])
async def test_who_leaves_takes_nothing_from_who_stays(pair: Pair, other: int) -> None:
    """The first client leaves, the second gets all; the engine is asked once and not interrupted."""
    pair.engine.allow(2)
    async with pair.stream(0, asking("Stay")) as first:
        await first.until(text_of(2))
        staying = asyncio.create_task(pair.text(other, asking("Stay")))
        await pair.are_open(2)
    await eventually(lambda: pair.connections() == 1, "the first connection to be closed")
    pair.engine.allow(None)
    assert await staying == text_of(TOKENS)
    assert (len(pair.engine.requests), pair.engine.aborted) == (1, 0)


@pytest.mark.parametrize("other", [0, 1], ids=["one-worker", "two-workers"])
async def test_the_last_who_leaves_frees_the_engine(pair: Pair, other: int) -> None:
    """Both rows say aborted, the first with what the engine counted."""
    pair.engine.allow(2)
    async with pair.stream(0, asking("Leave")) as first, pair.stream(other, asking("Leave")) as second:
        await first.until(text_of(2))
        await second.until(text_of(2))
    await eventually(lambda: pair.engine.aborted == 1, "the engine to be left")
    rows = await pair.rows(2)
    assert [row["outcome"] for row in rows] == ["aborted", "aborted"]
    assert [row["completion_tokens"] for row in rows] == [2, 0]
    await pair.limits_add_up()


@pytest.mark.parametrize("sent_events", [0, 3], ids=["nothing-yet", "mid-stream"])
async def test_a_reader_elsewhere_survives_the_owner(pair: Pair, sent_events: int) -> None:
    """SIGKILL of the worker that computes: the reader at the other gets a whole answer, and both have a row."""
    pair.engine.allow(sent_events)
    first = asyncio.create_task(pair.text(0, asking("Survive")))
    await eventually(lambda: len(pair.engine.requests) == 1, "the engine to be asked")
    async with pair.stream(1, asking("Survive")) as second:
        await second.until(text_of(sent_events))
        pair.gateways[0].kill()
        pair.engine.allow(None)
        assert await second.rest() == text_of(TOKENS)
        assert second.done
    with pytest.raises(httpx.TransportError):
        await first
    assert len(pair.engine.requests) == 2
    pair.gateways[0].start()
    rows = await pair.rows(2)
    assert {row["outcome"]: row["completion_tokens"] for row in rows} == {"lost": 0, "ok": TOKENS - sent_events}
    await pair.limits_add_up()


@pytest.mark.parametrize("other", [0, 1], ids=["same-worker", "other-worker"])
async def test_a_stream_is_resumed_where_it_broke(pair: Pair, other: int) -> None:
    """Last-Event-ID: what follows it, then live; the engine is asked once, the resuming row has no tokens."""
    pair.engine.allow(3)
    async with pair.stream(0, asking("Go on"), x_bondhu_on_disconnect="grace:60s") as first:
        await first.until(text_of(3))
    async with pair.stream(other, b"", last_event_id=first.ids[-2]) as second:
        await second.until(" w2")
        pair.engine.allow(None)
        assert first.content + (await second.rest()).removeprefix(" w2") == text_of(TOKENS)
        assert second.done
    assert second.ids[0] == first.ids[-1]
    assert len(set(first.ids + second.ids)) == len(first.ids) + len(second.ids) - 1
    one, two = await pair.rows(2)
    assert (one["outcome"], one["completion_tokens"], one["cache"]) == ("ok", TOKENS, "miss")
    assert (two["outcome"], two["completion_tokens"], two["cache"]) == ("ok", 0, "resumed")
    assert await pair.text(other, b"{}", last_event_id=first.ids[-1]) == text_of(TOKENS)[len(text_of(3)) :]
    await pair.limits_add_up()


async def test_a_resumed_stream_survives_its_worker(pair: Pair) -> None:
    """SIGKILL of the worker after the client's network broke: another goes on from the text, once."""
    pair.engine.allow(3)
    async with pair.stream(1, asking("Go on"), x_bondhu_on_disconnect="finish") as first:
        await first.until(text_of(3))
        pair.gateways[1].kill()
        pair.engine.allow(None)
        with pytest.raises(httpx.TransportError):
            await first.rest()
    assert first.content + await pair.text(0, b"[]", last_event_id=first.ids[-1]) == text_of(TOKENS)
    pair.gateways[1].start()
    rows = await pair.rows(2)
    assert {row["outcome"]: row["completion_tokens"] for row in rows} == {"lost": 0, "ok": TOKENS - 3}
    assert await pair.text(1, b"", last_event_id=first.ids[-1]) == text_of(TOKENS)[len(text_of(3)) :]


async def test_grace_ends(pair: Pair) -> None:
    """Nobody came back: the engine is left, the row says aborted with its counts, and the stream is unknown."""
    pair.engine.allow(3)
    async with pair.stream(0, asking("Wait"), x_bondhu_on_disconnect="grace:0.2s") as first:
        await first.until(text_of(3))
    await eventually(lambda: pair.engine.aborted == 1, "the engine to be left")
    (row,) = await pair.rows(1)
    assert (row["outcome"], row["completion_tokens"]) == ("aborted", 3)
    assert row["prompt_tokens"] == PROMPT_TOKENS
    for gateway in (0, 1):
        async with pair.stream(gateway, b"", last_event_id=first.ids[-1]) as second:
            assert second.response.status_code == 404
    await pair.limits_add_up()


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_finish_needs_no_client(pair: Pair, stream: bool) -> None:
    """The answer is completed without its client."""
    pair.engine.allow(3)
    body = asking("Alone", stream=stream)
    request = asyncio.create_task(pair.plain(0, body, x_bondhu_on_disconnect="finish"))
    await eventually(lambda: len(pair.engine.requests) == 1, "the engine to be asked")
    request.cancel()
    await eventually(lambda: pair.connections() == 0, "the connection to be closed")
    pair.engine.allow(None)
    (row,) = await pair.rows(1)
    assert (row["outcome"], row["completion_tokens"]) == ("ok", TOKENS)
    assert pair.engine.aborted == 0


async def test_a_strangers_stream_does_not_exist(pair: Pair) -> None:
    """Another application, another end user, another path, an unknown and a malformed id: one and the same 404."""
    stranger = await Pair.open(pair.gateways, pair.engine, pair.app + "-stranger")
    body = asking("Mine", user="maya")
    async with pair.stream(0, body, x_bondhu_on_disconnect="finish") as first:
        await first.rest()
    last = first.ids[0]
    unknown = last.replace(last[:4], "0000")
    answers = [
        await each.plain(gateway, {}, last_event_id=id_, x_bondhu_user=user)
        for gateway in (0, 1)
        for each, id_, user in [
            (stranger, last, "maya"),
            (pair, last, "noor"),
            (pair, unknown, "maya"),
            (pair, "nonsense", "maya"),
        ]
    ]
    await stranger.http.aclose()
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["error"]["code"] == "stream_not_found"
    for gateway in (0, 1):
        assert await pair.text(gateway, {}, last_event_id=last, x_bondhu_user="maya") == text_of(TOKENS)


@pytest.mark.parametrize("named", ["grace", "grace:15", "grace:121s", "grace:-1s", "later", "grace:1e3s"])
async def test_a_wrong_directive_is_named(pair: Pair, named: str) -> None:
    """400 with the header's name and what it may be."""
    answer = await pair.plain(0, asking("a"), x_bondhu_on_disconnect=named)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "x-bondhu-on-disconnect"
    assert "grace:15s" in answer.json()["error"]["message"]


async def test_openais_client_reads_events_with_ids(pair: Pair) -> None:
    """Ids are no obstacle to the official client."""
    client = AsyncOpenAI(base_url=pair.gateways[0].url + "/v1", api_key=pair.key)
    stream = await client.chat.completions.create(
        **asking("Hello"), extra_headers={"x-bondhu-on-disconnect": "grace:15s"}
    )
    texts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    await client.close()
    assert "".join(texts) == text_of(TOKENS)


async def test_sigterm_ends_streams_in_order(pair: Pair) -> None:
    """One is completed, those that cannot be told so; those that can go on elsewhere or after a restart; status 0."""
    pair.engine.allow(3)
    headers = {"x_bondhu_on_disconnect": "grace:60s"}
    async with pair.stream(0, asking("Restart"), **headers) as kept:
        await kept.until(text_of(3))
    async with (
        AsyncExitStack() as stack,
        pair.stream(0, asking("Short", max_tokens=3)) as short,
        pair.stream(0, asking("Cut", temperature=1)) as cut,
        pair.stream(0, asking("Hand over"), **headers) as handed,
        pair.stream(1, asking("Elsewhere")) as elsewhere,
    ):
        await elsewhere.until(text_of(3))
        followed = await stack.enter_async_context(pair.stream(0, asking("Elsewhere")))
        for each in (short, cut, handed, followed):
            await each.until(text_of(3))
        status = asyncio.create_task(asyncio.to_thread(pair.gateways[0].stop))
        assert await followed.rest() == text_of(3)
        assert followed.error == "shutting_down"
        assert await cut.rest() == text_of(3)
        assert (cut.error, cut.done) == ("shutting_down", False)
        await handed.rest()
        assert handed.error == "shutting_down"
        await short.rest()
        assert short.done
        assert await status == 0
        pair.engine.allow(None)
        assert await elsewhere.rest() == text_of(TOKENS)
    assert handed.content + await pair.text(1, b"", last_event_id=handed.ids[-1]) == text_of(TOKENS)
    await asyncio.to_thread(pair.gateways[0].start)
    wait_for(partial(knows_the_engine, pair.gateways[0]), "the engine to be known")
    assert kept.content + await pair.text(0, b"", last_event_id=kept.ids[-1]) == text_of(TOKENS)
    rows = await pair.rows(8)
    ends = [(row["outcome"], row["error_code"], row["completion_tokens"]) for row in rows]
    assert sorted(ends, key=str) == [
        *[("degraded", "handed_over", 3)] * 2,
        ("ok", None, 3),
        *[("ok", None, TOKENS - 3)] * 2,
        ("ok", None, TOKENS),
        ("unavailable", "shutting_down", 0),  # who read along with the one elsewhere
        ("unavailable", "shutting_down", 3),
    ]
    await pair.limits_add_up()


async def test_redis_may_vanish(pair: Pair) -> None:
    """Frozen or killed in mid-stream: readers at both workers get all; without it a worker shares and resumes alone."""
    engine, redis = pair.engine, pair.gateways[0].redis
    freeze, thaw = partial(redis.send, signal.SIGSTOP), partial(redis.send, signal.SIGCONT)
    for away, back in ((freeze, thaw), (redis.kill, redis.start)):
        engine.allow(2)
        async with pair.stream(0, asking("Before"), x_bondhu_on_disconnect="grace:60s") as one:
            await one.until(text_of(2))
            async with pair.stream(1, asking("Before"), x_bondhu_on_disconnect="grace:60s") as two:
                await two.until(text_of(2))
                away()
                engine.allow(None)
                assert await one.rest() == await two.rest() == text_of(TOKENS)
        engine.requests.clear()
        engine.allow(2)
        async with pair.stream(0, asking("After"), x_bondhu_on_disconnect="grace:60s") as one:
            await one.until(text_of(2))
            async with pair.stream(0, asking("After"), x_bondhu_on_disconnect="grace:60s") as two:
                await two.until(text_of(2))
        engine.allow(None)
        assert two.content + await pair.text(0, b"", last_event_id=two.ids[-1]) == text_of(TOKENS)
        assert len(engine.requests) == 1
        back()
        await eventually(pair.trusts_redis, "Redis to be trusted again")
    await pair.rows(10)


@pytest.mark.parametrize("other", [0, 1], ids=["same-worker", "other-worker"])
@pytest.mark.parametrize("whom", [{"user": "maya"}, {"app": ""}], ids=["person", "application"])
async def test_streams_of_the_forgotten_are_gone(pair: Pair, whom: Row, other: int) -> None:
    """One that is read is read to its end; none is there to come back to, at any worker; another's stays."""
    finish = {"x_bondhu_on_disconnect": "finish"}
    stranger = await Pair.open(pair.gateways, pair.engine, pair.app + "-stranger")
    ended = []
    for reader, gateway in ((pair, 0), (pair, 1), (stranger, 0)):
        async with reader.stream(gateway, asking(f"Ended {gateway}", user="maya"), **finish) as events:
            await events.rest()
            ended.append(events.ids[0])
    pair.engine.allow(3)
    async with pair.stream(0, asking("Running", user="maya"), **finish) as running:
        await running.until(text_of(3))
        body = {name: value or pair.app for name, value in whom.items()}
        receipt = (await pair.http.post(pair.gateways[other].url + "/api/v1/forget", json=body)).json()
        assert receipt["complete"]
        assert receipt["remaining"]["streams"] == 0
        pair.engine.allow(None)
        assert await running.rest() == text_of(TOKENS)

    async def is_gone(gateway: int, last: str) -> bool:
        answer = await pair.plain(gateway, {}, last_event_id=last, x_bondhu_user="maya")
        return answer.status_code == 404

    for gateway in (0, 1):
        for last in (*ended[:2], running.ids[0]):
            await eventually(partial(is_gone, gateway, last), "the stream to be gone")
        assert await stranger.text(gateway, {}, last_event_id=ended[2], x_bondhu_user="maya") == text_of(TOKENS)
    await stranger.http.aclose()
