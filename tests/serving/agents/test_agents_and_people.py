"""What agents know and keep of people: memory, choices, export, and that one's is not another's."""

from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.support.gateway_process import DEADLINE_S, GatewayProcess, wait_for
from tests.support.polling import eventually
from tests.support.servers.engine import EngineServer

Json = dict[str, Any]


class Person:
    """Somebody who talks to agents, with memory, in one conversation."""

    def __init__(self, gateway: GatewayProcess, key: str, user: str) -> None:
        self._url = gateway.url
        self._headers = {"authorization": f"Bearer {key}", "x-bondhu-user": user, "x-bondhu-memory": "on"}

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Ask on a connection of its own."""
        with httpx.Client(timeout=DEADLINE_S) as client:
            return client.request(method, self._url + path, headers=self._headers, json=body)

    def say(self, text: str, model: str = "bondhu/chat") -> httpx.Response:
        """Say something to an agent."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 3}
        answer = self.ask("POST", "/v1/chat/completions", body)
        assert answer.status_code == 200, answer.text
        return answer

    def past(self) -> Json:
        """Return all that is kept."""
        document: Json = self.ask("GET", "/api/v1/export").json()
        return document


@pytest.fixture
def person(gateway: GatewayProcess, engine: EngineServer, key: str, request: pytest.FixtureRequest) -> Person:
    """Return somebody new."""
    assert engine is not None
    return Person(gateway, key, request.node.name)


def test_the_friends_prompt_has_the_past_once(person: Person, engine: EngineServer) -> None:
    """What is recalled is in one place of the prompt, marked off, with its source; and `why` names it."""
    person.say("My cat is called Pixel")
    eventually(lambda: len(person.past()["conversations"][0]["messages"]) == 2, 10, "the reply to be kept")
    answer = person.say("What is my cat called?")
    assert answer.headers["x-bondhu-memory"] == "recalled=2"  # theirs, and the friend's answer to it
    prompt = str(engine.requests[-1]["messages"])
    assert prompt.count("My cat is called Pixel") == 1
    assert "private" not in prompt
    message = answer.json()["choices"][0]["message"]
    sources = [each for each in message["bondhu"]["events"] if each["type"] == "source"]
    assert [each["why"] for each in sources if "My cat is called Pixel" in each["title"]]
    eventually(lambda: len(person.past()["conversations"][0]["messages"]) == 4, 10, "the reply to be kept")
    messages = person.past()["conversations"][0]["messages"]
    assert [each["text"] for each in messages] == [
        "My cat is called Pixel",
        "w0 w1 w2",
        "What is my cat called?",
        "w0 w1 w2",
    ]
    why = person.ask("GET", f"/api/v1/messages/{messages[-1]['id']}/why")
    assert why.status_code == 200
    assert "My cat is called Pixel" in why.text


def test_a_request_to_forget_is_executed_and_confirmed(person: Person, engine: EngineServer) -> None:
    """What a person wants forgotten in a chat with the friend is gone before it answers, which it is told of."""
    person.say("My parrot is called Kiwi")
    answer = person.say("forget about my parrot")
    assert "forgot=1" in answer.headers["x-bondhu-memory"]
    prompt = str(engine.requests[-1]["messages"])
    assert "no longer in your memory: 1" in prompt
    assert "Kiwi" not in prompt


def test_a_game_recalls_nothing(person: Person, engine: EngineServer) -> None:
    """It is taken in like any talk, and nobody's past is looked up for a move."""
    person.say("I love my cat Pixel")
    before = len(engine.requests)
    answer = person.say("play hangman", "bondhu/games")
    assert answer.headers["x-bondhu-memory"] == "recalled=0"
    assert len(engine.requests) == before
    assert "play hangman" in str(person.past()["conversations"])


def test_a_persona_is_chosen_for_good(person: Person, engine: EngineServer) -> None:
    """PUT /api/v1/personas changes who answers from then on; a wrong one is named."""
    listed = person.ask("GET", "/api/v1/personas").json()
    ids = [each["id"] for each in listed["data"]]
    assert {"dost", "guru"} <= set(ids)
    assert listed["chosen"]["persona"] is None
    chosen = {"persona": "guru", "tone": {"length": "long"}}
    assert person.ask("PUT", "/api/v1/personas", chosen).status_code == 200
    assert person.ask("GET", "/api/v1/personas").json()["chosen"]["persona"] == "guru"
    prompts = []
    for name in ("guru", "dost"):
        body = {"messages": [{"role": "user", "content": "hi"}], "persona": name}
        person.ask("POST", "/api/v1/agents/chat/runs", body)
        prompts.append(str(engine.requests[-1]["messages"][0]["content"])[:40])
    person.say("hi")
    assert str(engine.requests[-1]["messages"][0]["content"])[:40] == prompts[0] != prompts[1]
    wrong = person.ask("PUT", "/api/v1/personas", {"persona": "nobody"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "persona")


def test_an_export_has_what_agents_keep(person: Person, gateway: GatewayProcess, key: str) -> None:
    """A person's game is in their export and in nobody else's, and goes with them."""
    person.say("play hangman", "bondhu/games")
    (kept,) = person.past()["agents"]
    assert (kept["agent"], kept["name"], kept["value"]["active"]["game"]) == ("games", "game", "hangman")
    assert Person(gateway, key, "somebody else").past()["agents"] == []
    document = person.past()
    assert person.ask("POST", "/api/v1/import", document).status_code == 200
    assert person.ask("POST", "/api/v1/forget", {}).status_code == 200
    assert person.past()["agents"] == []


def test_a_run_by_its_own_endpoint(person: Person) -> None:
    """POST /api/v1/agents/{id}/runs answers with text, events and usage; a wrong body or agent is named."""
    listed = person.ask("GET", "/api/v1/agents").json()["data"]
    assert {"chat": "bondhu/chat", "games": "bondhu/games"}.items() <= {
        each["id"]: each["model"] for each in listed
    }.items()
    body = {"messages": [{"role": "user", "content": "play tic-tac-toe"}], "conversation": "mine"}
    answer = person.ask("POST", "/api/v1/agents/games/runs", body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-bondhu-model"] == "bondhu/games"
    run = answer.json()
    assert run["text"]
    assert run["usage"]["total_tokens"] == 0
    assert [each["type"] for each in run["events"]] == ["tool_step", "card", "done"]
    unknown = person.ask("POST", "/api/v1/agents/nobody/runs", body)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    wrong = person.ask("POST", "/api/v1/agents/games/runs", {**body, "mood": "x"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "mood")


@pytest.mark.parametrize("how", ["confirm", "undo"])
def test_what_was_not_proposed_cannot_be_settled(person: Person, how: str) -> None:
    """Another person's proposal is a 404."""
    answer = person.ask("POST", f"/api/v1/proposals/none/{how}", {"conversation": "mine"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "proposal_not_found")


def test_a_client_that_leaves_ends_the_run(
    client: OpenAI, engine: EngineServer, gateway: GatewayProcess, key: str
) -> None:
    """The engine's answer is aborted when the client of a streamed run goes away, and what it took is in the ledger."""
    aborted = engine.aborted
    engine.allow(2)
    try:
        stream = client.chat.completions.create(
            model="bondhu/chat",
            messages=[{"role": "user", "content": "Tell me"}],
            max_tokens=50,
            stream=True,
            extra_headers={"x-request-id": "left-alone"},
        )
        words = (chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
        next(words), next(words)  # both that the engine may give, so that the gateway has seen them too
        stream.close()
        wait_for(lambda: engine.aborted > aborted, "the engine to be left")
        wait_for(lambda: gateway.get("/v1/usage/left-alone", key).json().get("status") == "ended", "the row")
        row = gateway.get("/v1/usage/left-alone", key).json()
        assert (row["outcome"], row["model"], row["completion_tokens"]) == ("aborted", "bondhu-demo", 2)
    finally:
        engine.allow(None)


def test_a_run_can_be_read_again(gateway: GatewayProcess, engine: EngineServer, key: str) -> None:
    """A run that is recorded goes on without its client, and its stream is read again from where it broke off."""
    assert engine is not None
    headers = {"authorization": f"Bearer {key}", "x-bondhu-on-disconnect": "finish", "x-bondhu-user": "rea"}
    body = {"model": "bondhu/chat", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "stream": True}
    url = f"{gateway.url}/v1/chat/completions"
    whole = httpx.post(url, json=body, headers=headers, timeout=DEADLINE_S).text
    events = whole.strip().split("\n\n")
    third = events[2].splitlines()[0].removeprefix("id: ")
    again = httpx.post(url, json={}, headers={**headers, "last-event-id": third}, timeout=DEADLINE_S).text
    assert again.strip().split("\n\n") == events[3:]
