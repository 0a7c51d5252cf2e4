"""Who talks to a friend is told that it is a program: at the start, after hours, once; who shows it otherwise, may."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from agents.safety.notices import BREAK, DISCLOSURE
from storage.agents.states import SqlStates, StateKey
from storage.database import open_engine
from storage.memory.owner import Owner
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.polling import eventually
from tests.support.servers.engine import EngineServer

ENGLISH = DISCLOSURE["en"]


@pytest.fixture(scope="module")
def friends(gateway: GatewayProcess, engine: EngineServer) -> str:
    """Return a key as it is made."""
    assert engine is not None
    return gateway.make_key("friends", tier="standard")


def say(gateway: GatewayProcess, key: str, user: str | None, model: str = "bondhu/chat", **sent: Any) -> httpx.Response:
    """Say hello."""
    headers = {"authorization": f"Bearer {key}"} | sent.pop("headers", {})
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2, **sent}
    if user is not None:
        body["user"] = user
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=DEADLINE_S)
    assert answer.status_code == 200, answer.text
    return answer


def words(answer: httpx.Response) -> str:
    """Return what was said."""
    return str(answer.json()["choices"][0]["message"]["content"])


def session(gateway: GatewayProcess, user: str, change: dict[str, str] | None = None) -> Any:
    """Return what is kept of when they were told; with `change`, after that is changed."""

    async def read() -> Any:
        database = open_engine(gateway.database_url)
        states = SqlStates(database, lambda: datetime.now(UTC))
        key = StateKey(Owner("friends", user), "notices", "", "session")
        kept = await states.load(key)
        if kept is not None and change is not None:
            assert await states.save(key, {**kept.value, **change}, expected=kept.version)
        await database.dispose()
        return None if kept is None else kept.value

    return asyncio.run(read())


def test_a_friend_says_what_it_is_once(gateway: GatewayProcess, friends: str) -> None:
    """At the start; not at the next turn; in any conversation of theirs."""
    first = say(gateway, friends, "maya")
    assert words(first) == f"{ENGLISH}\n\nw0 w1"
    assert first.headers["x-bondhu-notices"] == "disclosure"
    assert first.json()["choices"][0]["message"]["bondhu"]["events"][0] == {
        "type": "notice",
        "notice": "disclosure",
        "text": ENGLISH,
    }
    eventually(lambda: session(gateway, "maya") is not None, DEADLINE_S, "it to be kept")
    second = say(gateway, friends, "maya", headers={"x-bondhu-conversation": "another"})
    assert words(second) == "w0 w1"
    assert "x-bondhu-notices" not in second.headers


def test_after_three_hours_it_says_so_again_and_thinks_of_a_break(gateway: GatewayProcess, friends: str) -> None:
    """As long as they go on talking."""
    say(gateway, friends, "tariq")
    eventually(lambda: session(gateway, "tariq") is not None, DEADLINE_S, "it to be kept")
    ago = {name: (datetime.now(UTC) - timedelta(hours=4)).isoformat() for name in ("disclosed", "rested")}
    session(gateway, "tariq", ago)
    answer = say(gateway, friends, "tariq")
    assert answer.headers["x-bondhu-notices"] == "disclosure, break"
    assert words(answer) == f"{ENGLISH}\n\n{BREAK['en']}\n\nw0 w1"


def test_a_minor_is_told_every_hour(gateway: GatewayProcess, friends: str) -> None:
    """By the age that the application said."""
    auth = {"authorization": f"Bearer {friends}", "x-bondhu-user": "rafi"}
    put = httpx.put(f"{gateway.url}/api/v1/profile", json={"details": {"age": 14}}, headers=auth, timeout=DEADLINE_S)
    assert put.status_code == 200
    for user in ("rafi", "sam"):
        say(gateway, friends, user)
        eventually(lambda user=user: session(gateway, user) is not None, DEADLINE_S, "it to be kept")
        ago = {name: (datetime.now(UTC) - timedelta(minutes=80)).isoformat() for name in ("disclosed", "rested")}
        session(gateway, user, ago)
    assert say(gateway, friends, "rafi").headers["x-bondhu-notices"] == "disclosure, break"
    assert "x-bondhu-notices" not in say(gateway, friends, "sam").headers


def test_a_stream_begins_with_it(gateway: GatewayProcess, friends: str) -> None:
    """Before the first words of the model."""
    answer = say(gateway, friends, "streamed", stream=True)
    assert answer.text.index("computer program") < answer.text.index("w0")


def test_a_client_that_shows_it_itself_gets_it_beside_the_words(gateway: GatewayProcess, friends: str) -> None:
    """As an event; the words are the friend's alone."""
    answer = say(gateway, friends, "page", headers={"x-bondhu-notices": "event"})
    assert words(answer) == "w0 w1"
    assert answer.json()["choices"][0]["message"]["bondhu"]["events"][0]["text"] == ENGLISH


def test_nobody_in_particular_is_told_when_it_begins(gateway: GatewayProcess, friends: str) -> None:
    """Without a user nothing can be kept: a conversation without an answer in it has just begun."""
    assert words(say(gateway, friends, None)).startswith(ENGLISH)
    goes_on = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "So"},
    ]
    assert words(say(gateway, friends, None, messages=goes_on)) == "w0 w1"


def test_a_plain_model_says_nothing_of_it_unless_its_key_wants_it(gateway: GatewayProcess, friends: str) -> None:
    """A key's setting decides: agents, always, never."""
    assert words(say(gateway, friends, "plain", "bondhu")).strip() == "w0 w1"
    on, off = (gateway.make_key(f"key-{each}", tier="standard", notices=each) for each in ("on", "off"))
    assert words(say(gateway, on, "plain", "bondhu")).startswith(ENGLISH)
    assert words(say(gateway, off, "plain")) == "w0 w1"


def test_notices_are_not_remembered_as_the_friends_words(gateway: GatewayProcess, friends: str) -> None:
    """Memory has what the model said."""
    say(gateway, friends, "remembering", headers={"x-bondhu-memory": "on"})
    auth = {"authorization": f"Bearer {friends}", "x-bondhu-user": "remembering"}

    def texts() -> list[str]:
        document = httpx.get(f"{gateway.url}/api/v1/export", headers=auth, timeout=DEADLINE_S).json()
        return [each["text"] for talk in document["conversations"] for each in talk["messages"]]

    eventually(lambda: len(texts()) == 2, DEADLINE_S, "both to be kept")
    assert texts() == ["Hello", "w0 w1"]
