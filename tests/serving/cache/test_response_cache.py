"""The cache of answers on a real Redis: what is found again, by whom, for how long, and what is never kept."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from serving.cache.directives import CacheDirectives, read_directives
from serving.cache.erasure import ResponseErasure
from serving.cache.key import digest
from serving.cache.redis_store import PREFIX, ResponseStore
from serving.cache.response_cache import Makers, ResponseCache
from serving.cache.stored_response import StoredResponse
from serving.config.schema import CacheSettings
from serving.errors import InvalidRequest
from serving.protocol.owner import owner_of
from serving.protocol.request import CHAT, GenerationRequest, is_deterministic
from serving.resilience.redis import GuardedRedis, open_redis
from storage.memory.owner import Owner
from tests.support.databases.redis_process import RedisProcess

HELLO = [{"role": "user", "content": "Name a colour."}]
PLAIN = CacheDirectives()  # of a request that says nothing of the cache
ANSWER = StoredResponse(False, b'{"choices":[{"message":{"content":"Blue."},"finish_reason":"stop"}]}', "m; revision=r")
EVENTS = b'data: {"choices":[{"delta":{"content":"Blue."},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
DEADLINE_S = 30.0
MakeCache = Callable[..., ResponseCache]


class Model:
    """Who answers for the model; a test changes it."""

    def __init__(self) -> None:
        self.wanted = "f"
        self.known = {("f", ANSWER.label)}

    def __call__(self, _: str) -> Makers:
        """Who answers now."""
        return Makers(self.wanted, self.known)


@pytest.fixture
def model() -> Model:
    """Return a model with one engine."""
    return Model()


@pytest.fixture
async def make_cache(redis_process: RedisProcess, model: Model) -> AsyncIterator[MakeCache]:
    """Return a function that makes a worker's cache."""
    clients, eras = [], count()

    def make(timeout_s: float = 5.0, max_fields: int = 256, **rules: Any) -> ResponseCache:
        clients.append(open_redis(redis_process.url))
        redis = GuardedRedis(clients[-1], timeout_s=timeout_s, tolerated=(ResponseError,))
        store = ResponseStore(redis, max_fields=max_fields)
        rules = {"rules": CacheSettings(**rules), "makers": model, "semantic": None}
        return ResponseCache(store, **rules, new_era=lambda: f"era {next(eras)}")

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def cache(make_cache: MakeCache) -> ResponseCache:
    """Return a worker's cache."""
    return make_cache()


def new_request(app: str = "shop", user: str | None = "maya", model: str = "m", **fields: Any) -> GenerationRequest:
    """A chat that leaves nothing to chance, but for these fields."""
    body = {"model": "alias", "messages": HELLO, "temperature": 0, **fields}
    return GenerationRequest(CHAT, body, model, "r", app, user, "interactive", False)


async def found(
    cache: ResponseCache, request: GenerationRequest, directives: CacheDirectives = PLAIN
) -> StoredResponse | None:
    """What the cache has for it."""
    return await cache.lookup(request, directives).find()


async def answered(
    cache: ResponseCache,
    request: GenerationRequest,
    answer: StoredResponse = ANSWER,
    directives: CacheDirectives = PLAIN,
) -> str:
    """Ask, generate unless it is a hit, keep; returns how the cache was used."""
    lookup = cache.lookup(request, directives)
    if await lookup.find() is None:
        await lookup.keep(answer)
    return lookup.use


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return once `condition` holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110  # another process changes it
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "answer", [ANSWER, StoredResponse(True, EVENTS, ANSWER.label), replace(ANSWER, body=ANSWER.body * 99)]
)
async def test_the_same_request_gets_the_same_bytes(cache: ResponseCache, answer: StoredResponse) -> None:
    """What was generated once is found again as it was, with who made it: JSON, events, and what is compressed."""
    request = new_request(stream=answer.streams)
    assert await answered(cache, request, answer) == "miss"
    assert await found(cache, request) == answer
    assert await answered(cache, request) == "hit"


async def test_another_worker_finds_it(make_cache: MakeCache) -> None:
    """The cache is one for all that share Redis."""
    await answered(make_cache(), new_request())
    assert await found(make_cache(), new_request()) == ANSWER


@pytest.mark.parametrize(
    "other",
    [
        new_request(app="blog"),
        new_request(user="arif"),
        new_request(user=None),
        new_request(model="n"),
        new_request(stream=True),
        new_request(temperature=0, max_tokens=5),
        new_request(messages=[{"role": "system", "content": "Be brief."}, *HELLO]),
        new_request(messages=[{"role": "user", "content": "Name a colour!"}]),
        replace(new_request(), path="/v1/completions"),
    ],
    ids=lambda other: f"{other.app} {other.user} {other.model} {sorted(other.parsed)}",
)
async def test_anybody_and_anything_else_is_a_miss(cache: ResponseCache, other: GenerationRequest) -> None:
    """Another application, user, model or request never gets it."""
    await answered(cache, new_request())
    assert await answered(cache, other) == "miss"


async def test_the_caller_is_not_part_of_the_key(cache: ResponseCache) -> None:
    """The alias that names the model, and fields that only label a request, change nothing; nor does their order."""
    await answered(cache, new_request(user="maya"))
    same = {"metadata": {"trace": "7"}, "temperature": 0, "messages": HELLO, "model": "m", "user": "maya"}
    assert await answered(cache, replace(new_request(), parsed=same)) == "hit"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 0}, True),
        ({"temperature": 1e-6}, True),
        ({"temperature": 0.7, "top_k": 1}, True),
        ({"temperature": 1, "seed": 7}, True),
        ({}, False),
        ({"temperature": None, "seed": None}, False),
        ({"temperature": 0.7}, False),
        ({"temperature": 0.7, "top_k": 5}, False),
        ({"temperature": "0"}, False),
    ],
)
def test_what_leaves_nothing_to_chance(fields: dict[str, Any], expected: bool) -> None:
    """Greedy, one candidate a token, or a seed; a model's own default temperature is not known."""
    assert is_deterministic(fields) is expected


async def test_a_sampled_answer_is_kept_only_as_a_kind(cache: ResponseCache) -> None:
    """Without a kind the cache is not asked; with one it is, and another kind is another question."""
    sampled = new_request(temperature=0.7)
    assert [await answered(cache, sampled) for _ in range(2)] == ["bypass", "bypass"]
    stats, genres = CacheDirectives(kind="stats"), CacheDirectives(kind="genres")
    assert [await answered(cache, sampled, directives=stats) for _ in range(2)] == ["miss", "hit"]
    assert await answered(cache, sampled, directives=genres) == "miss"


async def test_an_answer_ends_with_its_time(make_cache: MakeCache, redis_process: RedisProcess) -> None:
    """Each kind has its own: what is over is not found, what is not is; and Redis forgets the last of it by itself."""
    cache = make_cache(ttl_s={"brief": 0.5, "short": 2.0})
    await answered(cache, new_request(), directives=CacheDirectives(kind="brief"))
    await answered(cache, new_request(), directives=CacheDirectives(kind="short"))

    async def is_over() -> bool:
        return await found(cache, new_request(), CacheDirectives(kind="brief")) is None

    await eventually(is_over)
    assert await found(cache, new_request(), CacheDirectives(kind="short")) == ANSWER
    client = open_redis(redis_process.url)

    async def is_empty() -> bool:
        return not await client.keys(PREFIX + "*")

    await eventually(is_empty)
    await client.aclose()


async def test_no_cache_asks_the_model_and_keeps_its_answer(cache: ResponseCache) -> None:
    """RFC 9111: the kept answer is not used, the new one takes its place."""
    newer = replace(ANSWER, body=ANSWER.body.replace(b"Blue", b"Red"))
    await answered(cache, new_request())
    assert await answered(cache, new_request(), newer, CacheDirectives(reads=False)) == "bypass"
    assert await found(cache, new_request()) == newer


async def test_no_store_leaves_nothing(cache: ResponseCache) -> None:
    """It is not looked for and not kept."""
    assert await answered(cache, new_request(), directives=CacheDirectives(reads=False, keeps=False)) == "bypass"
    assert await answered(cache, new_request()) == "miss"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, CacheDirectives()),
        ({"cache-control": "no-cache"}, CacheDirectives(reads=False)),
        ({"cache-control": "max-age=0"}, CacheDirectives(reads=False)),
        ({"cache-control": "private, No-Store"}, CacheDirectives(reads=False, keeps=False)),
        ({"x-bondhu-cache": "off"}, CacheDirectives(mode="off", reads=False, keeps=False)),
        ({"x-bondhu-cache": "semantic"}, CacheDirectives(mode="semantic")),
        ({"x-bondhu-cache-kind": "stats", "cache-control": "no-transform"}, CacheDirectives(kind="stats")),
    ],
)
def test_headers_say_what_the_client_wants(headers: dict[str, str], expected: CacheDirectives) -> None:
    """Cache-Control as RFC 9111 has it, and the two headers of our own."""
    assert read_directives(headers, {"stats": 900.0}) == expected


@pytest.mark.parametrize("header", ["x-bondhu-cache", "x-bondhu-cache-kind"])
def test_an_unknown_directive_is_refused_with_what_is_accepted(header: str) -> None:
    """The error names the header and its values."""
    with pytest.raises(InvalidRequest, match="exact" if header == "x-bondhu-cache" else "stats, genres") as refused:
        read_directives({header: "nonsense"}, ("stats", "genres"))
    assert refused.value.param == header


@pytest.mark.parametrize(
    "body",
    [
        EVENTS.removesuffix(b"data: [DONE]\n\n"),
        EVENTS.replace(b"stop", b"abort"),
        EVENTS.replace(b'"stop"', b"null"),
        b'data: {"error":{"message":"engine"}}\n\n',
        b"",
    ],
)
async def test_what_is_not_complete_is_not_kept(cache: ResponseCache, body: bytes) -> None:
    """A stream that was cut, aborted, or ended with an error."""
    request = new_request(stream=True)
    await answered(cache, request, StoredResponse(True, body, ANSWER.label))
    assert await found(cache, request) is None


async def test_a_text_that_speaks_of_endings_is_no_ending(cache: ResponseCache) -> None:
    """What a model says about finish reasons is text."""
    body = orjson.dumps({"content": '"finish_reason":"abort" data: [DONE]'})
    whole = replace(ANSWER, body=b'{"choices":[{"message":' + body + b',"finish_reason":"stop"}]}')
    await answered(cache, new_request(), whole)
    assert await found(cache, new_request()) == whole


async def test_an_answer_above_the_bound_is_not_kept(make_cache: MakeCache) -> None:
    """One huge answer does not take the room of many."""
    cache = make_cache(max_answer_bytes=50)
    await answered(cache, new_request())
    assert await found(cache, new_request()) is None


async def test_a_changed_model_answers_for_itself(cache: ResponseCache, model: Model) -> None:
    """After a new configuration, or new weights under the same one, nothing that was made before is used."""
    await answered(cache, new_request())
    model.wanted, model.known = "g", {("g", ANSWER.label)}
    assert await found(cache, new_request()) is None
    model.wanted, model.known = "f", {("f", "m; revision=other")}
    assert await found(cache, new_request()) is None


async def test_while_no_engine_answers_the_cache_does(cache: ResponseCache, model: Model) -> None:
    """With every engine gone, what was kept still serves."""
    await answered(cache, new_request())
    model.known = set()
    assert await answered(cache, new_request()) == "hit"


async def test_while_one_configuration_replaces_another_nothing_is_kept(cache: ResponseCache, model: Model) -> None:
    """Nobody can tell which of the two made the answer."""
    model.known = {("f", ANSWER.label), ("e", ANSWER.label)}
    await answered(cache, new_request())
    model.known = {("f", ANSWER.label)}
    assert await found(cache, new_request()) is None


async def test_a_person_is_forgotten_and_nobody_else(cache: ResponseCache, redis_process: RedisProcess) -> None:
    """All answers of one end user go from Redis at once; others' stay."""
    other = new_request(user="arif")
    for request in (new_request(), new_request(max_tokens=5), other):
        await answered(cache, request)
    await cache.forget("shop", "maya")
    assert await found(cache, new_request()) is None
    assert await found(cache, new_request(max_tokens=5)) is None
    assert await found(cache, other) == ANSWER
    client = open_redis(redis_process.url)
    kept = [key async for key in client.scan_iter(PREFIX + "*answers")]
    assert kept == [f"{PREFIX}{{{owner_of('shop', 'arif')}}}:answers".encode()]
    await client.aclose()


async def test_an_application_is_forgotten_and_no_other(cache: ResponseCache) -> None:
    """All answers of all its end users go, and a second look says so; another application's stay."""
    other = new_request(app="zoo")
    for request in (new_request(), new_request(user="arif"), new_request(user=None), other):
        await answered(cache, request)
    erasure = ResponseErasure(cache)
    assert await erasure.count("shop") == 3
    assert await erasure.count(Owner("shop", "arif")) == 1
    await erasure.forget(Owner("shop", "arif"))
    assert (await erasure.count("shop"), await erasure.count(Owner("shop", "arif"))) == (2, 0)
    await erasure.forget("shop")
    assert await erasure.count("shop") == 0
    assert await found(cache, other) == ANSWER


async def test_what_is_generated_while_a_person_is_forgotten_is_not_kept(cache: ResponseCache) -> None:
    """A request that was under way leaves nothing behind; the next one does again."""
    under_way = cache.lookup(new_request(), CacheDirectives())
    await under_way.find()
    await cache.forget("shop", "maya")
    await under_way.keep(ANSWER)
    assert await found(cache, new_request()) is None
    await answered(cache, new_request())
    assert await found(cache, new_request()) == ANSWER


async def test_one_person_cannot_fill_the_cache(make_cache: MakeCache) -> None:
    """Beyond the bound, what would expire next goes first."""
    cache = make_cache(max_fields=3, ttl_s={"long": 900.0, "short": 60.0})
    await answered(cache, new_request(), directives=CacheDirectives(kind="short"))
    for tokens in range(3):
        await answered(cache, new_request(max_tokens=tokens + 1), directives=CacheDirectives(kind="long"))
    assert await found(cache, new_request(), CacheDirectives(kind="short")) is None
    assert [await found(cache, new_request(max_tokens=n), CacheDirectives(kind="long")) for n in (1, 2, 3)] == [
        ANSWER
    ] * 3


async def test_redis_holds_no_word_of_a_prompt_nor_a_name(cache: ResponseCache, redis_process: RedisProcess) -> None:
    """Keys and fields are digests."""
    await answered(cache, new_request())
    client = open_redis(redis_process.url)
    keys = await client.keys("*")
    fields = await client.hkeys(next(key for key in keys if key.endswith(b":answers")))
    for name in (b"maya", b"shop", b"colour"):
        assert not [each for each in (*keys, *fields) if name in each]
    await client.aclose()


@given(
    one=st.tuples(st.text(), st.none() | st.text()),
    other=st.tuples(st.text(), st.none() | st.text()),
)
def test_owners_are_distinguished(one: tuple[str, str | None], other: tuple[str, str | None]) -> None:
    """No two pairs of application and user share answers, whatever their names; nobody is not a user without name."""
    assert (owner_of(*one) == owner_of(*other)) is (one == other)


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "stop", "n"]), st.integers(0, 3) | st.text(max_size=2)))
def test_a_digest_knows_every_field(fields: dict[str, Any]) -> None:
    """In any order the same; with one more, or another value, another."""
    request = new_request()
    first = digest(request, fields)
    assert digest(request, dict(reversed(fields.items()))) == first
    assert digest(request, {**fields, "d": 0}) != first
    assert digest(request, fields, "kind") != first
    for name in fields:
        assert digest(request, {**fields, name: "another"}) != first


@pytest.mark.parametrize("way", ["killed", "frozen"])
async def test_without_redis_requests_go_on_and_it_is_used_again_later(
    make_cache: MakeCache, redis_process: RedisProcess, way: str
) -> None:
    """Nothing is found, nothing raises, after a few tries nobody asks; once it is back it is found to be."""
    cache = make_cache(timeout_s=0.05)
    watching = asyncio.create_task(cache.store.redis.run())
    await answered(cache, new_request())
    if way == "killed":
        await asyncio.to_thread(redis_process.kill)
    else:
        redis_process.send(signal.SIGSTOP)
    for _ in range(3):
        assert await answered(cache, new_request()) == "bypass"
    assert cache.store.redis.breaker.is_open
    if way == "killed":
        await asyncio.to_thread(redis_process.start)
    else:
        redis_process.send(signal.SIGCONT)

    async def is_used() -> bool:
        return await answered(cache, new_request()) == "hit"

    await eventually(is_used)
    watching.cancel()


async def test_a_full_redis_is_no_outage(cache: ResponseCache, redis_process: RedisProcess) -> None:
    """What it refuses to keep is not kept; what it has is found."""
    await answered(cache, new_request())
    client = open_redis(redis_process.url)
    await client.config_set("maxmemory", "1")
    for tokens in range(1, 6):
        assert await answered(cache, new_request(max_tokens=tokens)) == "miss"
    assert await found(cache, new_request()) == ANSWER
    assert not cache.store.redis.breaker.is_open
    await client.aclose()


async def test_switched_off_it_does_nothing(make_cache: MakeCache) -> None:
    """`cache.enabled: false`."""
    cache = make_cache(enabled=False)
    assert [await answered(cache, new_request()) for _ in range(2)] == ["bypass", "bypass"]
