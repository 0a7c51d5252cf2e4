"""Questions that mean the same: which may share an answer, which never do, and that the embedder may be away."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any

import numpy
import pytest

from memory.contrast_terms import contrast_terms, is_reordered, word_order
from serving.cache.directives import CacheDirectives
from serving.cache.personal import is_personal
from serving.cache.redis_store import ResponseStore
from serving.cache.response_cache import Makers, ResponseCache
from serving.cache.semantic import SemanticCache, question_of
from serving.cache.stored_response import StoredResponse
from serving.config.schema import CacheSettings, SemanticCacheSettings
from serving.errors import EngineUnavailable
from serving.protocol.request import CHAT, GenerationRequest
from serving.resilience.redis import GuardedRedis, open_redis
from tests.support.databases.redis_process import RedisProcess

DIMENSIONS = 64
CAPITAL = "What is the capital of France?"
PLAIN = CacheDirectives()  # of a request that says nothing of the cache
ANSWER = StoredResponse(
    False, b'{"choices":[{"message":{"content":"Paris."},"finish_reason":"stop"}]}', "m; revision=r"
)
SEMANTIC = CacheDirectives(mode="semantic")


class Words:
    """An embedder to which a text is its words: the cosine of two tells how many they have in common."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.problem: Exception | None = None
        self.hangs = False
        self.dimensions = DIMENSIONS

    async def __call__(self, texts: list[str]) -> tuple[bytes, int]:
        """Embed."""
        self.texts += texts
        if self.problem:
            raise self.problem
        if self.hangs:
            await asyncio.Event().wait()
        row = numpy.zeros(self.dimensions, "<f4")
        for word in re.findall(r"\w+", texts[0].lower()):
            row[hashlib.sha256(word.encode()).digest()[0] % self.dimensions] += 1
        return (row / numpy.linalg.norm(row)).tobytes(), 5


@pytest.fixture
def embedder() -> Words:
    """Return the embedder."""
    return Words()


@pytest.fixture
async def cache(redis_process: RedisProcess, embedder: Words) -> AsyncIterator[ResponseCache]:
    """Return a cache that takes questions for the same from a cosine of 0.7."""
    client = open_redis(redis_process.url)
    yield ResponseCache(
        ResponseStore(GuardedRedis(client, timeout_s=5.0), max_fields=256),
        rules=CacheSettings(semantic=SemanticCacheSettings(enabled=True)),
        makers=lambda _: Makers("f", {("f", ANSWER.label)}),
        semantic=SemanticCache(
            embedder, embedder="words", dimensions=DIMENSIONS, threshold=0.7, timeout_s=0.1, max_questions=2
        ),
        new_era=lambda: "era",
    )
    await client.aclose()


def ask(text: str, *, system: str = "Be brief.", user: str | None = "maya", **fields: Any) -> GenerationRequest:
    """A sampled chat with one question."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    body = {"model": "alias", "messages": messages, "temperature": 0.7, **fields}
    return GenerationRequest(CHAT, body, "m", "r", "shop", user, "interactive", False)


async def answered(
    cache: ResponseCache,
    request: GenerationRequest,
    directives: CacheDirectives = PLAIN,
    answer: StoredResponse = ANSWER,
) -> str:
    """Ask, generate unless it is a hit, keep; returns how the cache was used."""
    lookup = cache.lookup(request, directives)
    if await lookup.find() is None:
        await lookup.keep(answer)
    return lookup.use


async def test_a_similar_question_gets_the_answer(cache: ResponseCache) -> None:
    """In other words, and sampled: still the answer that is there."""
    assert await answered(cache, ask(CAPITAL)) == "miss"
    again = cache.lookup(ask("Please, what is the capital city of France?"), CacheDirectives())
    assert await again.find() == ANSWER
    assert again.use == "hit"


@pytest.mark.parametrize(
    "other",
    [
        ask("What is the capital of Germany?"),
        ask(CAPITAL, system="Be long-winded."),
        ask(CAPITAL, user="arif"),
        ask(CAPITAL, temperature=0.2),
        ask(CAPITAL, stream=True),
    ],
)
async def test_another_name_person_prompt_or_setting_is_a_miss(cache: ResponseCache, other: GenerationRequest) -> None:
    """However alike the questions are."""
    await answered(cache, ask(CAPITAL))
    assert await answered(cache, other) == "miss"


async def test_nobody_waits_for_an_embedding_that_cannot_help(cache: ResponseCache, embedder: Words) -> None:
    """Before an answer a question is embedded only where there is one to compare with, and never for the same again."""
    first = cache.lookup(ask(CAPITAL), CacheDirectives())
    await first.find()
    assert not embedder.texts
    await first.keep(ANSWER)
    assert await cache.lookup(ask("What is the capital of Spain?"), CacheDirectives()).find() is None
    assert await cache.lookup(ask(CAPITAL), CacheDirectives()).find() == ANSWER
    assert embedder.texts == [CAPITAL]


async def test_the_same_words_in_another_order_are_another_question(cache: ResponseCache) -> None:
    """An embedding hardly tells who eats whom."""
    await answered(cache, ask("Do cats eat mice?"))
    assert await answered(cache, ask("Do mice eat cats?")) == "miss"


async def test_only_the_newest_questions_are_compared(cache: ResponseCache) -> None:
    """A row has its bound: here, two."""
    questions = ["is mango tasty", "which tree grows papaya", "name some tropical fruit with seeds"]
    for text in questions:
        assert await answered(cache, ask(text)) == "miss"
    found = [await cache.lookup(ask(f"{text}, please?"), CacheDirectives()).find() for text in questions]
    assert found == [None, ANSWER, ANSWER]


@pytest.mark.parametrize("way", ["unavailable", "hangs", "another model"])
async def test_without_the_embedder_it_is_a_miss(cache: ResponseCache, embedder: Words, way: str) -> None:
    """Nothing raises, nothing hangs."""
    await answered(cache, ask(CAPITAL))
    embedder.problem = EngineUnavailable("away") if way == "unavailable" else None
    embedder.hangs = way == "hangs"
    embedder.dimensions = 32 if way == "another model" else DIMENSIONS
    assert await answered(cache, ask("What's the capital of France?")) == "miss"


async def test_forgetting_a_person_forgets_their_questions(cache: ResponseCache) -> None:
    """Also what is only similar is not found any more."""
    await answered(cache, ask(CAPITAL))
    await cache.forget("shop", "maya")
    assert await cache.lookup(ask("What's the capital of France?"), CacheDirectives()).find() is None


async def test_personal_questions_are_compared_only_when_requested(cache: ResponseCache) -> None:
    """The header says that it may be."""
    sad = ask("Why am I so sad today?")
    assert [await answered(cache, sad) for _ in range(2)] == ["bypass", "bypass"]
    assert [await answered(cache, sad, SEMANTIC) for _ in range(2)] == ["miss", "hit"]


async def test_without_a_user_questions_are_compared_only_when_requested(cache: ResponseCache) -> None:
    """Nobody knows whether two such requests come from one person."""
    nameless = ask(CAPITAL, user=None)
    assert [await answered(cache, nameless) for _ in range(2)] == ["bypass", "bypass"]
    assert [await answered(cache, nameless, SEMANTIC) for _ in range(2)] == ["miss", "hit"]


async def test_only_identical_requests_hit_when_requested(cache: ResponseCache) -> None:
    """`x-bondhu-cache: exact`."""
    await answered(cache, ask(CAPITAL, temperature=0))
    similar = ask("What's the capital of France?", temperature=0)
    assert await answered(cache, similar, CacheDirectives(mode="exact")) == "miss"
    assert await answered(cache, ask(CAPITAL), CacheDirectives(mode="exact")) == "bypass"


HISTORY = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"structured_outputs": {"regex": "a"}},
        {"logprobs": True},
        {"n": 2},
        {"some_future_field": 1},
        {"messages": [*HISTORY, {"role": "user", "content": CAPITAL}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": CAPITAL}]}]},
        {"messages": [{"role": "user", "content": CAPITAL * 20}]},
        {"messages": [{"role": "assistant", "content": CAPITAL}]},
        {"messages": [CAPITAL]},
        {"messages": "Hi"},
        {"messages": []},
    ],
)
def test_only_plain_first_questions_are_compared(fields: dict[str, Any]) -> None:
    """Not with tools, formats, histories, pictures or anything that is not known to be harmless; also when asked."""
    assert question_of(ask(CAPITAL), even_personal=True) == CAPITAL
    assert question_of(ask(CAPITAL, **fields), even_personal=True) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I boil an egg?", False),
        ("Which planet is closest to the sun?", False),
        ("What should I tell my sister?", True),
        ("Is he angry with her?", True),
        ("I\u2019m fine", True),  # as phones write it
        ("How do I tell mom?", True),
        ("Feeling low again", True),
        ("আমার মন খারাপ", True),
        ("¿Cómo estás?", True),
    ],
)
def test_what_is_personal(text: str, expected: bool) -> None:
    """People, feelings, bodies, and every language that the words do not cover."""
    assert is_personal(text) is expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("When is Easter in 2027?", "When is Easter in 2028?"),
        ("Convert 10 miles to kilometres", "Convert 10 kilometres to miles"),
        ("Films before 1950", "Films after 1950"),
        ("Is Pluto a planet?", "Is Ceres a planet?"),
        ("Which birds can fly?", "Which birds can't fly?"),
        ("Turn on dark mode", "Turn off dark mode"),
        ("The tallest tower", "The smallest tower"),
        ("A train from Rome to Naples", "A train from Naples to Rome"),
        ("Give me two songs", "Give me three songs"),
        ("What is C++?", "What is C#?"),
        ("Paris weather", "London weather"),
    ],
)
def test_a_turned_word_is_another_question(one: str, other: str) -> None:
    """Numbers, units, order, names, negation, direction, strength, signs."""
    assert contrast_terms(one) != contrast_terms(other)


def test_paraphrases_have_the_same_contrast_terms() -> None:
    """What only asks in another way is none."""
    assert contrast_terms("Who wrote Emma?") == contrast_terms("Tell me, please: who wrote Emma?")
    assert contrast_terms("the 20th of July") == contrast_terms("20 July")
    assert contrast_terms("What's France's capital?") == contrast_terms("What is the capital of France?")


def test_order_matters_only_among_the_same_words() -> None:
    """Other words are for the embedding to judge."""
    assert is_reordered(word_order("cats eat mice"), word_order("do mice eat cats"))
    assert not is_reordered(word_order("cats eat mice"), word_order("cats eat mice at night"))
    assert not is_reordered(word_order("cats eat mice"), word_order("Cats eat mice!"))
