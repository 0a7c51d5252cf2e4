"""What docs/memory.md says of the API and of chats, sentence by sentence where no other test shows it."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.gateway_process import DEADLINE_S, GatewayProcess, make_key, wait_for
from tests.support.servers.engine import EngineServer

AT, ANSWER = "2026-01-01T12:00:00Z", "w0 w1 w2"
Json = dict[str, Any]


class Person:
    """Somebody of an application, by the name `user`."""

    def __init__(self, gateway: GatewayProcess, engine: EngineServer, key: str, user: str) -> None:
        self._url, self._engine = gateway.url, engine
        self._key, self.user = {"authorization": f"Bearer {key}"}, user

    def ask(
        self, method: str, path: str, body: Any = None, headers: Json | None = None, **params: Any
    ) -> httpx.Response:
        """Ask; `headers` takes the place of the one that names the person."""
        named = {"x-bondhu-user": self.user} if headers is None else headers
        with httpx.Client(verify=False, timeout=DEADLINE_S) as client:
            return client.request(method, self._url + path, headers=self._key | named, json=body, params=params)

    def say(self, *texts: str, body: Json | None = None, **headers: str) -> httpx.Response:
        """Chat with memory; the texts are of the person and of the friend in turns."""
        roles = ("user", "assistant")
        messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
        named = {"x-bondhu-user": self.user, "x-bondhu-memory": "on", "cache-control": "no-cache"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(
            "POST", "/v1/chat/completions", {"model": "bondhu", "messages": messages, **(body or {})}, named
        )

    def stored(self, *texts: str, **headers: str) -> httpx.Response:
        """Chat, and wait until the reply is stored."""
        answer = self.say(*texts, **headers)
        assert self.ask("GET", f"/api/v1/messages/{answer.json()['id']}/why").status_code == 200
        return answer

    def prompt(self) -> str:
        """What the engine was told of the person last: its system message."""
        first = self._engine.requests[-1]["messages"][0]
        return json.dumps(first, ensure_ascii=False) if first["role"] == "system" else ""

    def texts(self) -> list[str]:
        """What was said, in order."""
        data = self.ask("GET", "/api/v1/messages").json()["data"]
        return [each["text"] for each in reversed(data)]


@pytest.fixture
def of_app(page_gateway: GatewayProcess, page_engine: EngineServer) -> Callable[[str, str], Person]:
    """Return what makes a person of an application."""
    keys: dict[str, str] = {}

    def make(app: str, user: str) -> Person:
        if app not in keys:
            keys[app] = make_key(page_gateway.database_url, app, tier="admin")
        return Person(page_gateway, page_engine, keys[app], user)

    return make


@pytest.fixture
def ann(of_app: Callable[[str, str], Person], request: pytest.FixtureRequest) -> Person:
    """Return somebody new."""
    return of_app("sentences", request.node.name)


def turn(number: int, text: str, speaker: str = "user") -> Json:
    """Return a turn of January 2026."""
    return {"external_id": f"m{number}", "speaker": speaker, "text": text, "said_at": f"2026-01-{number:02}T12:00:00Z"}


def test_a_person_is_named_in_a_header_a_body_or_a_query(ann: Person) -> None:
    """In the query where the body is a document of its own, too."""
    nobody: Json = {}
    assert ann.ask("POST", "/api/v1/memories", {"text": "Likes tea", "user": ann.user}, nobody).status_code == 201
    assert ann.ask("PUT", "/api/v1/profile", {"name": "Ann"}, nobody, user=ann.user).status_code == 200
    assert ann.ask("PUT", "/api/v1/profile", {"name": "Ann", "user": ann.user}, nobody).status_code == 400
    names = (ann.user, ann.user.upper(), f"{ann.user} ")
    found = [ann.ask("GET", "/api/v1/counts", None, nobody, user=name).json()["memories"] for name in names]
    assert found == [1, 0, 0], "names count letter for letter"
    assert ann.ask("POST", "/api/v1/import", {}, nobody, user=ann.user).json()["name"] == "Ann"
    other = ann.ask("GET", "/api/v1/counts", None, {"x-bondhu-user": "other"}, user=ann.user)
    assert other.json()["error"]["param"] == "user"


def test_bounds_are_as_told(ann: Person) -> None:
    """1,000 messages in a request, 20 tags of a memory."""
    turns = [{**turn(1, "x"), "external_id": str(number)} for number in range(1001)]
    refused = ann.ask("POST", "/api/v1/conversations", {"external_id": "c", "messages": turns})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "messages")
    assert ann.ask("POST", "/api/v1/conversations", {"external_id": "c", "messages": turns[1:]}).json()["added"] == 1000
    tags = [str(number) for number in range(21)]
    assert ann.ask("POST", "/api/v1/memories", {"text": "x", "tags": tags[1:]}).status_code == 201
    assert ann.ask("POST", "/api/v1/memories", {"text": "x", "tags": tags}).json()["error"]["param"] == "tags"


def test_turns_are_listed_by_speaker_and_time(ann: Person) -> None:
    """Last said first; a conversation has the times of the first and the last."""
    turns = [turn(1, "one"), turn(2, "two", "Bob"), turn(3, "three"), turn(4, "four")]
    ann.ask("POST", "/api/v1/conversations", {"external_id": "c", "messages": turns})
    between = {"from": "2026-01-02T00:00:00Z", "to": "2026-01-04T12:00:00Z"}
    listed = ann.ask("GET", "/api/v1/messages", speaker="user", **between).json()["data"]
    assert [each["text"] for each in listed] == ["three"]
    assert ann.texts()[-1] == "four"
    (card,) = ann.ask("GET", "/api/v1/conversations").json()["data"]
    assert (card["first_said_at"], card["last_said_at"]) == ("2026-01-01T12:00:00Z", "2026-01-04T12:00:00Z")


def test_receipts_count_what_was_reached(ann: Person) -> None:
    """Of a conversation the memories that quote it and its summaries as well; a reply goes by its completion's id."""
    turns = [{**turn(1, "I have a cat"), "id": "t1"}, {**turn(2, "And a dog"), "id": "t2"}]
    quoting = {"id": "cat", "text": "Has a cat", "quote": "a cat", "message_id": "t1", "created_at": AT}
    summary = {"id": "sum", "text": "Cat and dog", "kind": "summary", "sources": ["t1", "t2"], "created_at": AT}
    kept = {"id": "tea", "text": "Likes tea", "conversation": "c", "created_at": AT}
    document = {"conversations": [{"external_id": "c", "messages": turns}], "memories": [quoting, summary, kept]}
    assert ann.ask("POST", "/api/v1/import", document).status_code == 200
    receipt = ann.ask("DELETE", "/api/v1/conversations", external_id="c").json()
    assert (receipt["complete"], receipt["reached"]) == (True, {"messages": 2, "memories": 2, "set_aside": 0})
    assert [each["id"] for each in ann.ask("GET", "/api/v1/memories").json()["data"]] == ["tea"]
    answer = ann.stored("My parrot is called Kiwi")
    receipt = ann.ask("DELETE", f"/api/v1/messages/{answer.json()['id']}").json()
    assert (receipt["complete"], receipt["reached"]["messages"]) == (True, 1)
    assert ann.texts() == ["My parrot is called Kiwi"]


def test_an_application_is_forgotten_whole(of_app: Callable[[str, str], Person]) -> None:
    """All of its users with their profiles, and nobody of another."""
    ann, bob, eve = of_app("leaving", "ann"), of_app("leaving", "bob"), of_app("staying", "ann")
    for person in (ann, bob, eve):
        person.ask("POST", "/api/v1/memories", {"text": "Likes tea"})
        person.ask("PUT", "/api/v1/profile", {"name": "Somebody"})
    receipt = ann.ask("POST", "/api/v1/forget", {"app": "leaving"}, {}).json()
    assert (receipt["complete"], receipt["app"], receipt["user"]) == (True, "leaving", None)
    assert [each.ask("GET", "/api/v1/counts").json()["memories"] for each in (ann, bob, eve)] == [0, 0, 1]
    assert [each.ask("GET", "/api/v1/profile").json()["name"] for each in (ann, bob, eve)] == [None, None, "Somebody"]


def test_what_a_chat_stores(ann: Person) -> None:
    """The last message and the reply, in the conversation `chat`; `why` has the relevance, and an export has no why."""
    ann.ask("POST", "/api/v1/memories", {"text": "Has a parrot called Kiwi"})
    answer = ann.stored("Hello", "Hi there", "What is my parrot called?")
    (conversation,) = ann.ask("GET", "/api/v1/export").json()["conversations"]
    assert conversation["external_id"] == "chat"
    said = [(each["speaker"], each["text"]) for each in conversation["messages"]]
    assert said == [("user", "What is my parrot called?"), ("assistant", "w0 w1 w2")]
    assert all(each["said_at"].endswith(("Z", "+00:00")) for each in conversation["messages"])
    (given,) = ann.ask("GET", f"/api/v1/messages/{answer.json()['id']}/why").json()["given"]
    assert 0 < given["relevance"] <= 1
    assert "relevance" not in ann.ask("GET", "/api/v1/export").text
    (found,) = ann.ask("POST", "/api/v1/recall", {"query": "parrot", "only": {"kind": ["fact"]}}).json()["data"]
    assert 0 < found["relevance"] <= 1


def in_protocol(path: str, texts: tuple[str, ...]) -> Json:
    """The body of a chat in which both said these in turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
    model = "bondhu/chat" if path == "agent" else "bondhu"
    rest: Json = {"input": messages} if path == "/v1/responses" else {"messages": messages}
    return {"model": model, **({"max_tokens": 3} if path == "/v1/messages" else {}), **rest}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "agent", "/v1/responses", "/v1/messages"])
def test_another_answer_and_an_edited_message_replace(ann: Person, path: str) -> None:
    """By every protocol, and of agents; `why` of the earlier answer says what replaced it, and it can be deleted."""
    headers = {"x-bondhu-user": ann.user, "x-bondhu-memory": "on", "cache-control": "no-cache"}
    headers |= {"x-bondhu-conversation": "c"}
    route = "/v1/chat/completions" if path == "agent" else path

    def say(*texts: str) -> Json:
        """The reply, once it is stored; it follows these texts, and nothing follows it."""
        assert ann.ask("POST", route, in_protocol(path, texts), headers).status_code == 200
        wait_for(lambda: [each["text"] for each in turns()][:-1] == list(texts), "the reply")
        return turns()[-1]

    def turns() -> list[Json]:
        data: list[Json] = ann.ask("GET", "/api/v1/messages", conversation="c").json()["data"]
        return data[::-1]

    first = say("I have a cat")
    assert ann.ask("POST", route, in_protocol(path, ("I have a cat",)), headers).status_code == 200
    wait_for(lambda: turns()[-1]["id"] != first["id"], "another answer")
    second = turns()[-1]
    assert [each["speaker"] for each in turns()] == ["user", "assistant"]
    why = ann.ask("GET", f"/api/v1/messages/{first['external_id']}/why").json()
    assert (why["message"]["text"], why["replaced_by"]) == (first["text"], second["external_id"])
    former = ann.ask("GET", f"/api/v1/messages/{second['id']}/former").json()["data"]
    assert [each["text"] for each in former] == [first["text"]]
    said = "I have a cat", second["text"]
    tom = say(*said, "It is called Tom")
    say(*said, "It is called Kim")
    former = ann.ask("GET", f"/api/v1/messages/{turns()[2]['id']}/former").json()["data"]
    assert {each["text"] for each in former} == {"It is called Tom", tom["text"]}
    assert ann.ask("GET", "/api/v1/memories").json()["data"] == []
    assert ann.ask("DELETE", f"/api/v1/messages/{first['external_id']}").json()["complete"]
    assert ann.ask("GET", f"/api/v1/messages/{second['id']}/former").json()["data"] == []
    assert ann.ask("GET", "/api/v1/messages/none/former").status_code == 404


def test_what_the_request_contains_is_not_recalled_again(ann: Person) -> None:
    """Its turns stand in it as they came."""
    ann.ask("POST", "/api/v1/conversations", {"external_id": "c", "messages": [turn(1, "My parrot is called Kiwi")]})
    ann.say("What is my parrot called?", x_bondhu_conversation="other")
    assert "Kiwi" in ann.prompt()
    ann.say("My parrot is called Kiwi", "Nice", "What is my parrot called?", x_bondhu_conversation="another")
    assert "Kiwi" not in ann.prompt()


def test_what_is_recalled_stands_in_the_order_in_which_it_was_said(ann: Person) -> None:
    """However it was ranked."""
    turns = [turn(3, "My parrot eats nuts"), turn(1, "My parrot is called Kiwi"), turn(2, "My parrot is green")]
    ann.ask("POST", "/api/v1/conversations", {"external_id": "c", "messages": turns})
    ann.say("What do you know of my parrot?", x_bondhu_conversation="other")
    prompt = ann.prompt()
    assert 0 < prompt.index("Kiwi") < prompt.index("green") < prompt.index("nuts")


def test_what_is_contested_is_told_until_it_is_settled(ann: Person) -> None:
    """The model sees that it is not known which holds; after one is deleted it does not."""
    ann.ask("POST", "/api/v1/memories", {"id": "porto", "text": "Lives in Porto", "event_at": AT})
    ann.ask("POST", "/api/v1/memories", {"id": "oslo", "text": "Lives in Oslo"})
    data = ann.ask("POST", "/api/v1/recall", {"query": "Where do I live?"}).json()["data"]
    assert {each["item"]["id"]: each["contested_by"] for each in data} == {"porto": ["oslo"], "oslo": ["porto"]}
    ann.say("Where do I live?", x_bondhu_conversation="other")
    assert ann.prompt().count("it is not known which holds") == 2
    ann.ask("DELETE", "/api/v1/memories/porto")
    ann.say("Where do I live?", x_bondhu_conversation="another")
    assert "Lives in Oslo" in ann.prompt()
    assert "contested" not in ann.prompt()


@pytest.mark.parametrize(
    "question",
    [
        "Where did I live before?",
        "Wo habe ich früher gewohnt?",
        "¿Dónde vivía antes?",
        "मैं पहले कहाँ रहती थी?",
        "আমি আগে কোথায় থাকতাম?",
    ],
)
def test_a_question_for_what_is_over_finds_both(ann: Person, question: str) -> None:
    """The model is told until when each held; a question of now finds what holds."""
    for new in (
        {"id": "porto", "text": "Lives in Porto", "valid_until": "2025-05-06T00:00:00Z"},
        {"id": "oslo", "text": "Lives in Oslo", "valid_from": "2025-05-06T00:00:00Z"},
    ):
        ann.ask("POST", "/api/v1/memories", new)
    ask = {"query": f"{question} Lives", "min_relevance": 0}
    if question.endswith("before?"):
        ask["query"] = f"Lives. {question}"
    found = [each["item"]["id"] for each in ann.ask("POST", "/api/v1/recall", ask).json()["data"]]
    assert sorted(found) == ["oslo", "porto"]
    now = ann.ask("POST", "/api/v1/recall", {"query": "Lives where?", "min_relevance": 0}).json()["data"]
    assert [each["item"]["id"] for each in now] == ["oslo"]
    ann.say("Where in Porto did I live before?")
    assert "Lives in Porto (until 2025-05-06)" in ann.prompt()


def test_a_memory_of_a_persona_is_told_as_that_one(ann: Person) -> None:
    """The one that the request names, or that the person has chosen, of the friend; a plain model is none."""
    ann.ask("POST", "/api/v1/memories", {"text": "Calls tea char", "pinned": True, "persona": "didi"})
    ann.ask("POST", "/api/v1/memories", {"text": "Takes tea with salt", "persona": "didi"})
    question, friend = "How do I take my tea with?", {"model": "bondhu/chat"}

    def told(conversation: str, body: Json) -> list[bool]:
        assert ann.say(question, body=body, x_bondhu_conversation=conversation).status_code == 200
        prompt = ann.prompt()
        return ["Always remember: Calls tea char" in prompt, "Takes tea with salt" in prompt]

    assert told("plain", {}) == told("other", {**friend, "bondhu": {"persona": "guru"}}) == [False, False]
    assert told("named", {**friend, "bondhu": {"persona": "didi"}}) == [True, True]
    assert ann.ask("PUT", "/api/v1/personas", {"persona": "didi"}).status_code == 200
    assert told("chosen", friend) == [True, True]
    refused = ann.say(question, body={"bondhu": {"persona": "didi"}})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "bondhu")


def test_what_an_intent_did_is_told_to_the_client(ann: Person) -> None:
    """A topic is muted and lifted; the reply to a request to forget is not stored."""
    ann.stored("My uncle Zoltan sold the boat")
    assert "muted=" in ann.stored("Never mention my uncle Zoltan again.").headers["x-bondhu-memory"]
    assert "lifted=" in ann.stored("You can talk about my uncle Zoltan again.").headers["x-bondhu-memory"]
    replies = ann.texts().count("w0 w1 w2")
    assert "forgot=3" in ann.say("Forget about Zoltan").headers["x-bondhu-memory"]
    assert "restored=" in ann.stored("undo").headers["x-bondhu-memory"]
    assert ann.texts().count("w0 w1 w2") == replies + 1, "that to the undo, and none to the request to forget"


def test_what_is_kept_of_answers_goes_with_a_memory(ann: Person) -> None:
    """A response that is cached for the person is made anew after any deletion of theirs."""
    made = ann.ask("POST", "/api/v1/memories", {"text": "Likes tea"}).json()
    body = {"model": "bondhu", "messages": [{"role": "user", "content": "Name a drink"}], "temperature": 0}

    def cached() -> str:
        return ann.ask("POST", "/v1/chat/completions", body).headers["x-bondhu-cache"]

    wait_for(lambda: cached().startswith("hit"), "the response to be cached")
    receipt = ann.ask("DELETE", f"/api/v1/memories/{made['id']}").json()
    assert (receipt["complete"], receipt["remaining"]["streams"]) == (True, 0)
    assert not cached().startswith("hit")


def test_a_deletion_that_redis_missed_is_sent_again(ann: Person, page_gateway: GatewayProcess) -> None:
    """It is a 503 after SQL is done; once Redis is back, the same again reaches the cached responses."""
    ann.ask("POST", "/api/v1/conversations", {"external_id": "c", "messages": [turn(1, "My parrot is called Kiwi")]})
    for id_ in ("tea", "salt"):
        ann.ask("POST", "/api/v1/memories", {"id": id_, "text": f"Likes {id_}"})
    body = {"model": "bondhu", "messages": [{"role": "user", "content": "Name a bird"}], "temperature": 0}

    def is_cached() -> bool:
        return ann.ask("POST", "/v1/chat/completions", body).headers["x-bondhu-cache"].startswith("hit")

    deletions: list[Callable[[], httpx.Response]] = [
        lambda: ann.ask("DELETE", "/api/v1/memories/tea"),
        lambda: ann.ask("DELETE", "/api/v1/conversations", external_id="c"),
        lambda: ann.say("Hello", "Hi", "Forget that I like salt"),
        lambda: ann.ask("POST", "/api/v1/forget", {}),
    ]
    wait_for(is_cached, "the response to be cached")
    page_gateway.redis.kill()
    refused = [delete() for delete in deletions[:-1]]
    assert [(each.status_code, each.json()["error"]["code"]) for each in refused] == [(503, "cache_unavailable")] * 3
    page_gateway.redis.start()
    assert [ann.ask("GET", "/api/v1/counts").json()[name] for name in ("memories", "conversations")] == [0, 0]
    for delete, status in zip(deletions, (404, 404, 200, 200), strict=True):
        wait_for(is_cached, "the response to be cached")
        wait_for(lambda delete=delete, status=status: delete().status_code == status, "Redis to be used again")
        assert not is_cached()
