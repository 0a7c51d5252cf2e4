"""Memory inside chats: a real gateway of two workers recalls, tells the engine, remembers, and says why."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url

from tests.support.gateway_process import DEADLINE_S, GatewayProcess, make_key, wait_for
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.polling import eventually
from tests.support.servers.engine import MODEL, EngineServer

Json = dict[str, Any]
PERSONA = {"role": "system", "content": "You are Bondhu."}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a gateway."""
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder, workers=2, BONDHU__EMBEDDER__DIMENSIONS=str(DIMENSIONS)) as process:
        yield process


@pytest.fixture(scope="module")
def engine(gateway: GatewayProcess) -> Iterator[EngineServer]:
    """Return the engine behind it, which is its embedder as well."""
    with EngineServer(gateway.ingress_port, embeds=True) as engine:
        gateway.until_ready(MODEL)
        yield engine


@pytest.fixture(scope="module")
def key(gateway: GatewayProcess) -> str:
    """Return a key that asks for memory by default."""
    return make_key(gateway.database_url, "one", tier="admin", memory=True)


class Friend:
    """A person who chats, in one conversation unless told otherwise."""

    def __init__(self, gateway: GatewayProcess, engine: EngineServer, key: str, user: str) -> None:
        self._gateway = gateway
        self._engine = engine
        self._headers = {"authorization": f"Bearer {key}", "x-bondhu-user": user}

    def say(self, *messages: str | Json, stream: bool = False, **headers: str) -> httpx.Response:
        """Ask; a string is what the person says. Returns the answer."""
        spoken = [{"role": "user", "content": each} if isinstance(each, str) else each for each in messages]
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(
            "POST", "/v1/chat/completions", {"model": "bondhu", "messages": spoken, "stream": stream}, named
        )

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> httpx.Response:
        """Ask on a connection of its own."""
        with httpx.Client(verify=False, timeout=DEADLINE_S) as client:
            return client.request(method, self._gateway.url + path, headers=self._headers | (headers or {}), json=body)

    def prompt(self) -> list[Json]:
        """Return the messages that the engine was told last."""
        messages: list[Json] = self._engine.requests[-1]["messages"]
        return messages

    def past(self) -> Json:
        """Return all that is kept of the person."""
        document: Json = self.ask("GET", "/api/v1/export").json()
        return document

    def texts(self) -> list[str]:
        """Return what has been said, in order."""
        return [turn["text"] for each in self.past()["conversations"] for turn in each["messages"]]


@pytest.fixture
def friend(gateway: GatewayProcess, engine: EngineServer, key: str, request: pytest.FixtureRequest) -> Friend:
    """Return somebody new."""
    return Friend(gateway, engine, key, request.node.name)


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_said_is_recalled_later_and_why_lists_it(friend: Friend, *, stream: bool) -> None:
    """Another conversation's turn comes back in the system message, after the persona, and the reply can explain it."""
    first = friend.say("My parrot is called Kiwi", stream=stream)
    assert first.status_code == 200, first.text
    assert (first.status_code, first.headers["x-bondhu-memory"]) == (200, "recalled=0")
    wait_for(lambda: len(friend.texts()) == 2, "the exchange to be stored")
    assert friend.texts()[0] == "My parrot is called Kiwi"
    second = friend.say(PERSONA, "What is my parrot called?", stream=stream, x_bondhu_conversation="later")
    assert int(second.headers["x-bondhu-memory"].removeprefix("recalled=")) >= 1
    prompt, question = friend.prompt()
    assert question == {"role": "user", "content": "What is my parrot called?"}
    parts = [part["text"] for part in prompt["content"]]
    assert (parts[0], len(parts)) == (PERSONA["content"], 3)
    assert "user said: My parrot is called Kiwi" in parts[-1]
    assert all(set(part) == {"type", "text"} for part in prompt["content"]), "marks are for the gateway alone"
    why = friend.ask("GET", f"/api/v1/messages/{completion_id(second)}/why").json()
    assert why["message"]["text"] == "w0 w1 w2"
    context = {each["item"]["text"]: each for each in why["given"]}
    assert context["My parrot is called Kiwi"]["rankers"]["lexical"]["rank"] >= 1
    assert friend.ask("GET", f"/api/v1/messages/{why['message']['id']}/why").json() == why


def test_why_waits_for_a_reply_that_is_being_stored(friend: Friend, gateway: GatewayProcess) -> None:
    """Another writer holds the database when the client has its answer; an unknown id is 404."""
    writer = sqlite3.connect(
        make_url(gateway.database_url).database or "", isolation_level=None, check_same_thread=False
    )
    writer.execute("BEGIN IMMEDIATE")
    id_ = completion_id(friend.say("My parrot is called Kiwi"))
    release = threading.Timer(0.5, writer.rollback)
    release.start()
    why = friend.ask("GET", f"/api/v1/messages/{id_}/why")
    release.join()
    writer.close()
    assert (why.status_code, why.json()["message"]["text"]) == (200, "w0 w1 w2")
    assert friend.ask("GET", "/api/v1/messages/nothing/why").status_code == 404
    assert friend.ask("GET", "/api/v1/messages/chatcmpl-nothing/why").status_code == 404


def test_profile_and_pinned_come_before_what_changes(friend: Friend) -> None:
    """What is always told stands in front of what was recalled, and is among the reasons."""
    friend.ask("PUT", "/api/v1/profile", {"name": "Asha", "details": {"city": "Khulna"}})
    made = friend.ask("POST", "/api/v1/memories", {"text": "Is allergic to nuts", "pinned": True}).json()
    friend.ask("POST", "/api/v1/memories", {"text": "Likes tea in the evening"})
    answer = friend.say("What tea should I drink this evening?")
    stable, recalled = [part["text"] for part in friend.prompt()[0]["content"]][-2:]
    assert stable.splitlines() == ["They are called Asha.", "city: Khulna", "Always remember: Is allergic to nuts"]
    assert "Likes tea in the evening" in recalled
    assert "allergic" not in recalled
    wait_for(lambda: len(friend.texts()) == 2, "the exchange to be stored")
    assert friend.past()["conversations"][0]["messages"][0]["speaker"] == "Asha"
    why = friend.ask("GET", f"/api/v1/messages/{completion_id(answer)}/why").json()
    assert why["given"][-1]["item"]["id"] == made["id"]
    assert why["given"][-1]["factors"] == {"pinned": 1.0}


def test_asked_again_it_is_the_same_turn(friend: Friend) -> None:
    """Another answer to one message takes the earlier one's place; what went before tells turns apart."""
    before: Json = {"role": "assistant", "content": "How are you?"}
    further: Json = {"role": "assistant", "content": "Really?"}
    for messages in ((before, "Fine"), (before, "Fine"), (before, "Fine", further, "Fine")):
        friend.say(*messages, cache_control="no-cache")
    wait_for(lambda: len(friend.texts()) == 4, "the exchanges to be stored")
    assert friend.texts() == ["Fine", "w0 w1 w2"] * 2


def test_without_memory_requested_nothing_is_kept(
    friend: Friend, gateway: GatewayProcess, engine: EngineServer
) -> None:
    """`off` wins over the key, no user has no memory, and an ordinary key has none."""
    assert "x-bondhu-memory" not in friend.say("Forget me not", x_bondhu_memory="off").headers
    ordinary = Friend(gateway, engine, make_key(gateway.database_url, "one", tier="admin"), "ordinary")
    assert "x-bondhu-memory" not in ordinary.say("Forget me not").headers
    assert friend.texts() == ordinary.texts() == []
    assert ordinary.say("Remember me", x_bondhu_memory="on").headers["x-bondhu-memory"] == "recalled=0"


def test_a_reply_to_what_was_forgotten_meanwhile_is_not_kept(friend: Friend, engine: EngineServer) -> None:
    """Somebody is forgotten while their friend answers: nothing of them comes back with the answer's end."""
    friend.say("My safe's number is 4711")
    wait_for(lambda: len(friend.texts()) == 2, "the exchange to be stored")
    engine.allow(1)
    requests_before = len(engine.requests)
    answering = threading.Thread(target=lambda: friend.say("What is my safe's number?", stream=True))
    answering.start()
    wait_for(
        lambda: len(engine.requests) > requests_before and len(friend.texts()) == 3,
        "the question to be asked and stored",
    )
    assert friend.ask("POST", "/api/v1/forget", {}).json()["complete"]
    engine.allow(None)
    answering.join(DEADLINE_S)
    assert friend.texts() == []
    assert friend.past()["memories"] == []


def test_what_is_forgotten_is_no_reason_any_more(friend: Friend) -> None:
    """A deleted memory is gone from what replies were given."""
    made = friend.ask("POST", "/api/v1/memories", {"text": "Plays the sitar"}).json()
    answer = friend.say("Do I play the sitar?")
    why = f"/api/v1/messages/{completion_id(answer)}/why"
    wait_for(lambda: friend.ask("GET", why).status_code == 200, "the reply to be stored")
    assert [each["item"]["id"] for each in friend.ask("GET", why).json()["given"]] == [made["id"]]
    receipt = friend.ask("DELETE", f"/api/v1/memories/{made['id']}").json()
    assert (receipt["complete"], receipt["remaining"]["given"]) == (True, 0)
    assert friend.ask("GET", why).json()["given"] == []


def test_intents_are_executed_before_the_friend_answers(friend: Friend) -> None:
    """Remembered with its quote, then forgotten with everything that names it; the model knows, and is told truly."""
    first = friend.say("Please remember that my sister lives in Porto.")
    assert first.headers["x-bondhu-memory"] == "recalled=0, remembered=1"
    (memory,) = friend.past()["memories"]
    assert memory["quote"] == "my sister lives in Porto"
    assert "noted just now" in friend.prompt()[0]["content"][-1]["text"]
    again = friend.say("Please remember that my sister lives in Porto.", cache_control="no-cache")
    assert "remembered" not in again.headers["x-bondhu-memory"]
    stored = f"/api/v1/messages/{completion_id(again)}/why"
    wait_for(lambda: friend.ask("GET", stored).status_code == 200, "the other answer to be stored")
    gone = friend.say("Forget that my sister lives in Porto.")
    outcome, undo = gone.headers["x-bondhu-memory"].split(", undo=")
    assert outcome.endswith("forgot=1"), "a turn and the memory that quotes it"
    note = friend.prompt()[0]["content"][-1]["text"]
    assert 'no longer in your memory: 1 about "my sister lives in Porto"' in note
    assert json.dumps(friend.prompt()[0]).count("Porto") == 1, "only what the person has just named"
    assert friend.past()["memories"] == []
    assert not any("Porto" in text for text in friend.texts())
    assert friend.say("Forget that I like chess.").headers["x-bondhu-memory"].endswith("forgot=0")
    assert "nothing was found" in json.dumps(friend.prompt()[0])
    wish = next(each for each in friend.ask("GET", "/api/v1/wishes").json()["data"] if each["id"] == undo)
    assert wish["memories"] == 2, "what the first answer said, too"
    assert "Porto" not in json.dumps(wish)
    items = friend.ask("GET", f"/api/v1/wishes/{undo}").json()["items"]
    assert any(each["kind"] == "memory" and "Porto" in each["text"] for each in items)


def test_a_wish_can_be_undone_once(friend: Friend) -> None:
    """By the id that the reply's header tells; then there is no such wish any more."""
    friend.say("My sister Asha lives in Porto")
    gone = friend.say("Forget about Asha").headers["x-bondhu-memory"].split(", undo=")[1]
    assert not any("Porto" in text for text in friend.texts())
    undone = friend.ask("POST", f"/api/v1/wishes/{gone}/undo").json()
    assert (undone["object"], undone["id"], undone["memories"]) == ("wish.undone", gone, 0)
    assert any("Porto" in text for text in friend.texts())
    assert friend.ask("GET", "/api/v1/wishes").json()["data"] == []
    for method, path in (("POST", f"/api/v1/wishes/{gone}/undo"), ("DELETE", f"/api/v1/wishes/{gone}")):
        again = friend.ask(method, path)
        assert (again.status_code, again.json()["error"]["code"]) == (404, "wish_not_found")


def test_a_wish_can_be_made_final(friend: Friend) -> None:
    """At once, not after a day."""
    friend.say("My sister Asha lives in Porto")
    gone = friend.say("Forget about Asha").headers["x-bondhu-memory"].split(", undo=")[1]
    assert friend.ask("POST", f"/api/v1/wishes/{gone}/confirm").json()["deleted"] is True
    assert friend.ask("DELETE", f"/api/v1/wishes/{gone}").status_code == 404
    assert friend.ask("GET", f"/api/v1/wishes/{gone}").status_code == 404
    assert friend.ask("POST", f"/api/v1/wishes/{gone}/undo").status_code == 404


def test_the_same_words_said_again_mean_another_thing(friend: Friend) -> None:
    """Each time the exchange before; "undo" brings back the last."""
    friend.say("I sold my boat")
    wait_for(lambda: len(friend.texts()) == 2, "the exchange to be stored")
    friend.say("I bought a kite")
    wait_for(lambda: len(friend.texts()) == 4, "the second one to be stored")
    assert "forgot=2" in friend.say("Forget that.").headers["x-bondhu-memory"]
    assert "forgot=0" not in friend.say("Forget that.").headers["x-bondhu-memory"]
    assert not any("boat" in text or "kite" in text for text in friend.texts())
    assert "restored=" in friend.say("undo").headers["x-bondhu-memory"]
    assert "set aside last is back" in json.dumps(friend.prompt()[0])


def test_a_long_turn_is_shortened_to_what_the_question_is_about(friend: Friend) -> None:
    """It would not fit as a whole, and nothing that was said is unreachable."""
    filler = "We walked along the river and talked about the weather. " * 60
    friend.say(filler + "My parrot is called Kiwi. " + filler)

    def prompt_of_the_question() -> str:
        friend.say("What is my parrot called?", x_bondhu_conversation="later")
        return json.dumps(friend.prompt())

    # a recall that a busy machine makes wait too long is left out
    eventually(lambda: "My parrot is called Kiwi." in prompt_of_the_question(), 60, "the excerpt to be told")
    prompt = json.dumps(friend.prompt())
    assert len(prompt) < len(filler)


def test_what_is_unclear_is_asked_back(friend: Friend) -> None:
    """The model knows that nothing was forgotten, so it cannot say so."""
    friend.say("My sister Asha sings")
    answer = friend.say("Forget everything")
    assert "forgot" not in answer.headers["x-bondhu-memory"]
    assert "nothing was forgotten or changed" in json.dumps(friend.prompt()[0])
    assert "My sister Asha sings" in friend.texts()


def test_a_muted_topic_is_listed_and_lifted(friend: Friend) -> None:
    """What is said of it later is not told either, until then."""
    friend.say("Never mention my uncle Zoltan again.")
    (topic,) = friend.ask("GET", "/api/v1/muted-topics").json()["data"]
    assert topic["about"] == "my uncle Zoltan"
    friend.say("My uncle Zoltan sold the boat")
    friend.say("What did my uncle Zoltan sell?", x_bondhu_conversation="later")
    assert "boat" not in json.dumps(friend.prompt())
    assert friend.ask("DELETE", f"/api/v1/muted-topics/{topic['id']}").json()["deleted"] is True
    assert friend.ask("DELETE", f"/api/v1/muted-topics/{topic['id']}").status_code == 404
    friend.say("So what did my uncle Zoltan sell?", x_bondhu_conversation="later")
    assert "boat" in json.dumps(friend.prompt())


def test_what_is_not_to_be_brought_up_is_not(friend: Friend) -> None:
    """Muted in one conversation, it is not told in another."""
    friend.say("My uncle Zoltan sold the boat")
    wait_for(lambda: len(friend.texts()) == 2, "the exchange to be stored")
    assert friend.say("Don't bring up my uncle Zoltan again.").headers["x-bondhu-memory"].endswith("muted=1")
    friend.say("What did my uncle Zoltan sell?", x_bondhu_conversation="later")
    assert "boat" not in json.dumps(friend.prompt())


def test_what_cannot_be_stored_does_not_stand_in_the_way(friend: Friend) -> None:
    """NUL is left out, of a very long message the beginning is kept, and what is no message the engine refuses."""
    assert friend.say("Nu\0l " + "x" * 40_000).status_code == 200
    wait_for(lambda: len(friend.texts()) == 2, "the exchange to be stored")
    assert friend.texts()[0] == ("Nul " + "x" * 40_000)[:32_768]
    assert friend.ask("POST", "/api/v1/import", friend.past()).status_code == 200
    for messages in ([], [None], "Hello", {}):
        answer = friend.ask("POST", "/v1/chat/completions", {"model": "bondhu", "messages": messages})
        assert "x-bondhu-memory" not in answer.headers
        assert answer.json().get("error", {}).get("code") != "internal_error"


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"x-bondhu-memory": "maybe"}, "x-bondhu-memory"),
        ({"x-bondhu-memory": "on", "x-bondhu-user": ""}, "user"),
        ({"x-bondhu-conversation": "c" * 257}, "x-bondhu-conversation"),
    ],
)
def test_a_wrong_header_is_named(friend: Friend, headers: dict[str, str], param: str) -> None:
    """A 400 that says which and what is accepted."""
    body = {"model": "bondhu", "messages": [{"role": "user", "content": "Hi"}]}
    error = friend.ask("POST", "/v1/chat/completions", body, headers).json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def completion_id(answer: httpx.Response) -> str:
    """Return the id of a completion, streamed or not."""
    text = answer.text
    first = text.split("\n\n")[0].removeprefix("data: ") if text.startswith("data: ") else text
    return str(json.loads(first)["id"])
