"""Every chat has a step before and after it: plain models and agents, whole and streamed, on the public endpoint."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from agents.safety.counts import SqlCounts
from agents.safety.helplines import DIRECTORIES
from agents.safety.risk import Category
from agents.safety.texts import BESIDE, GUIDANCE, MINORS, REPLACED, SELF_HARM
from storage.database import open_engine
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.polling import eventually
from tests.support.servers.engine import EngineServer

PLAIN = "I want to kill myself."
HINT = "I just want to sleep forever"


def say(gateway: GatewayProcess, key: str, text: str, model: str = "bondhu", **fields: Any) -> httpx.Response:
    """Say something; `headers` go with it, everything else is a field."""
    headers = {"authorization": f"Bearer {key}"} | fields.pop("headers", {})
    body = {"model": model, "messages": [{"role": "user", "content": text}]} | fields
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=DEADLINE_S)


def reply_of(answer: httpx.Response) -> tuple[str, str]:
    """Return the words of an answer, streamed or not, and how it ended."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("application/json"):
        (choice,) = answer.json()["choices"]
        return str(choice["message"]["content"]), str(choice["finish_reason"])
    events = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
    assert events.pop() == "[DONE]"
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, next(choice["finish_reason"] for choice in reversed(choices) if choice["finish_reason"])


@pytest.mark.parametrize("model", ["bondhu", "bondhu/chat", "bondhu/games", "bondhu/auto"])
@pytest.mark.parametrize("stream", [False, True])
def test_plain_danger_is_answered_by_no_model(
    gateway: GatewayProcess, engine: EngineServer, key: str, model: str, *, stream: bool
) -> None:
    """The fixed text with helplines of the country, for any model, and a header for the application."""
    before = len(engine.requests)
    answer = say(gateway, key, PLAIN, model, user="plain", stream=stream, headers={"x-bondhu-country": "nz"})
    text, finish = reply_of(answer)
    assert text.startswith(SELF_HARM["en"])
    assert "call or text 1737" in text
    assert finish == "stop"
    assert answer.headers["x-bondhu-safety"] == "self_harm; explicit; fixed_reply"
    assert answer.headers["x-bondhu-model"] == "bondhu-safety"
    assert len(engine.requests) == before


def test_the_country_is_known_from_the_profile_without_memory(
    gateway: GatewayProcess, engine: EngineServer, key: str
) -> None:
    """The application said it once."""
    auth = {"authorization": f"Bearer {key}", "x-bondhu-user": "siobhan"}
    put = httpx.put(
        f"{gateway.url}/api/v1/profile", json={"details": {"country": "IE"}}, headers=auth, timeout=DEADLINE_S
    )
    assert put.status_code == 200
    assert "116 123" in reply_of(say(gateway, key, PLAIN, user="siobhan"))[0]


def test_a_completion_and_an_agents_route_have_it_too(gateway: GatewayProcess, engine: EngineServer, key: str) -> None:
    """In their own shapes, and in the person's language."""
    auth = {"authorization": f"Bearer {key}"}
    body: dict[str, Any] = {"model": "bondhu", "prompt": PLAIN}
    answer = httpx.post(f"{gateway.url}/v1/completions", json=body, headers=auth, timeout=DEADLINE_S)
    assert answer.json()["choices"][0]["text"].startswith(SELF_HARM["en"])
    body = {"messages": [{"role": "user", "content": "আমি মরতে চাই"}], "user": "mitu"}
    answer = httpx.post(f"{gateway.url}/api/v1/agents/chat/runs", json=body, headers=auth, timeout=DEADLINE_S)
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"].startswith(SELF_HARM["bn"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["bondhu", "bondhu/chat", "bondhu/auto"])
def test_a_hint_is_answered_by_a_guided_model_with_help_beside_it(
    gateway: GatewayProcess, engine: EngineServer, key: str, model: str, *, stream: bool
) -> None:
    """What the model makes up of helplines is not said; what is true stands after its words."""
    answer = say(gateway, key, "I feel like a burden to everyone", model, user=f"hint-{model}-{stream}", stream=stream)
    text, finish = reply_of(answer)
    assert answer.headers["x-bondhu-safety"] == "self_harm; veiled; add_help"
    assert GUIDANCE[Category.SELF_HARM] in json.dumps(engine.requests[-1]["messages"])
    assert text.strip().startswith("w0 ")
    assert BESIDE["en"] in text
    assert text.count(DIRECTORIES[0].contact) == 1
    assert finish in ("stop", "length")


def test_the_lines_are_not_named_again_at_every_turn(gateway: GatewayProcess, engine: EngineServer, key: str) -> None:
    """Who hints again, and has them above, is just answered."""
    first = reply_of(say(gateway, key, "I feel like a burden to everyone"))[0]
    messages = [
        {"role": "user", "content": "I feel like a burden to everyone"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "I am a burden"},
    ]
    answer = say(gateway, key, "", messages=messages)
    assert answer.headers["x-bondhu-safety"] == "self_harm; veiled; add_help"
    assert DIRECTORIES[0].contact not in reply_of(answer)[0]


@pytest.mark.parametrize(
    "text", ["how do I kill -9 a process?", "you killed it!", "I'm dying of laughter", "I ran 5 kms"]
)
def test_what_only_sounds_like_danger_changes_nothing(
    gateway: GatewayProcess, engine: EngineServer, key: str, text: str
) -> None:
    """Idioms, games and code are answered as ever."""
    answer = say(gateway, key, text, max_tokens=3)
    assert reply_of(answer)[0].strip() == "w0 w1 w2"
    assert "x-bondhu-safety" not in answer.headers


@pytest.mark.parametrize("model", ["bondhu", "bondhu/chat"])
def test_a_reply_that_harms_is_not_shown(gateway: GatewayProcess, engine: EngineServer, key: str, model: str) -> None:
    """Whole: not a word of it. Streamed: it ends at the phrase, whose end is not sent, and the engine is let go."""
    text, finish = reply_of(say(gateway, key, "be honest with me", model, user="honest"))
    assert (text, finish) == (REPLACED["en"], "content_filter")
    text, finish = reply_of(say(gateway, key, "be honest with me", model, user="honest", stream=True))
    assert "miss you" not in text
    assert text.endswith(REPLACED["en"])
    assert finish == "content_filter"


def test_only_a_friend_may_not_claim_to_be_human(gateway: GatewayProcess, engine: EngineServer, key: str) -> None:
    """A plain model may be writing somebody's story."""
    assert reply_of(say(gateway, key, "who are you really", "bondhu/chat"))[0] == REPLACED["en"]
    assert reply_of(say(gateway, key, "who are you really"))[0].startswith("I am a real human")


def test_a_stopped_reply_is_remembered_as_it_was_sent(gateway: GatewayProcess, engine: EngineServer, key: str) -> None:
    """The friend's memory has the sentence that stood in its place, and the cache has nothing."""
    headers = {"x-bondhu-memory": "on", "x-bondhu-user": "stopped"}
    say(gateway, key, "be honest with me", stream=True, headers=headers)
    auth = {"authorization": f"Bearer {key}", "x-bondhu-user": "stopped"}

    def kept() -> str:
        return httpx.get(f"{gateway.url}/api/v1/export", headers=auth, timeout=DEADLINE_S).text

    eventually(lambda: REPLACED["en"] in kept(), DEADLINE_S, "the reply to be kept")
    assert "miss you" not in kept()

    def is_repeated() -> bool:
        before = len(engine.requests)
        say(gateway, key, "be honest with me", stream=True, temperature=0, user="stopped")
        return len(engine.requests) > before

    assert is_repeated()
    eventually(is_repeated, DEADLINE_S, "an answer of its own, once the first is over")


def test_in_danger_a_sentence_waits_until_it_was_read(gateway: GatewayProcess, engine: EngineServer, key: str) -> None:
    """A minor is streamed whole sentences, and none that may not be said."""
    auth = {"authorization": f"Bearer {key}", "x-bondhu-user": "rafi"}
    put = httpx.put(f"{gateway.url}/api/v1/profile", json={"details": {"age": 15}}, headers=auth, timeout=DEADLINE_S)
    assert put.status_code == 200
    text, finish = reply_of(say(gateway, key, "what about tonight", "bondhu/chat", user="rafi", stream=True))
    assert text == f"Let's talk.\n\n{REPLACED['en']}"
    assert finish == "content_filter"
    assert reply_of(say(gateway, key, "talk sexy to me", "bondhu/chat", user="rafi"))[0].startswith(MINORS["en"])


def test_an_application_with_a_step_of_its_own_is_left_alone(gateway: GatewayProcess, engine: EngineServer) -> None:
    """Its key says why; and a job is nobody."""
    own = gateway.make_key("clinic", tier="standard", own_safety="clinicians read along")
    answer = say(gateway, own, PLAIN, max_tokens=2)
    assert (reply_of(answer)[0].strip(), "x-bondhu-safety" in answer.headers) == ("w0 w1", False)
    assert reply_of(say(gateway, own, "be honest with me"))[0].endswith("all I have to say about it.")
    other = gateway.make_key("jobs", tier="standard")
    assert reply_of(say(gateway, other, PLAIN, max_tokens=2, headers={"x-bondhu-class": "job"}))[0].strip() == "w0 w1"
    whole_tier = gateway.make_key("ward", tier="clinics")
    assert reply_of(say(gateway, whole_tier, PLAIN, max_tokens=2))[0].strip() == "w0 w1"
    numbers = gateway.scrape()
    for by in ("key", "tier", "job"):
        assert numbers["bondhu_safety_unchecked_requests_total", frozenset({("by", by)})] >= 1


def test_the_persons_words_are_kept_also_then(gateway: GatewayProcess, engine: EngineServer, key: str) -> None:
    """A chat with memory remembers what was said in a crisis, and what was answered."""
    auth = {"authorization": f"Bearer {key}", "x-bondhu-user": "kept", "x-bondhu-memory": "on"}
    assert reply_of(say(gateway, key, PLAIN, headers=auth))[0].startswith(SELF_HARM["en"])

    def texts() -> list[str]:
        document = httpx.get(f"{gateway.url}/api/v1/export", headers=auth, timeout=DEADLINE_S).json()
        return [each["text"] for talk in document["conversations"] for each in talk["messages"]]

    eventually(lambda: len(texts()) == 2, DEADLINE_S, "both to be kept")
    assert texts()[0] == PLAIN


def test_referrals_are_counted_without_anybody(gateway: GatewayProcess, engine: EngineServer, key: str) -> None:
    """By month and kind, in SQL."""

    async def read() -> int:
        database = open_engine(gateway.database_url)
        year = dict((await SqlCounts(database).read(2026)).items())
        year |= await SqlCounts(database).read(2027)
        await database.dispose()
        return sum(number for count, number in year.items() if count.category == "abuse")

    before = asyncio.run(read())
    answer = say(gateway, key, "My husband hits me when he drinks", user="counted")
    assert answer.headers["x-bondhu-safety"].startswith("abuse; ")
    eventually(lambda: asyncio.run(read()) == before + 1, DEADLINE_S, "the count")
