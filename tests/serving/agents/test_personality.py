"""Twenty phrases, as a form and in conversation: scored with intervals, corrected, used, shown, deleted in one call."""

from typing import Any

import httpx
import pytest

from agents.personality.items import ITEMS
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.servers.engine import EngineServer

Json = dict[str, Any]
OUTGOING = {1: 5, 6: 1, 11: 5, 16: 1}


class Person:
    """Somebody of an application."""

    def __init__(self, gateway: GatewayProcess, key: str, user: str) -> None:
        self._url = gateway.url
        self._headers = {"authorization": f"Bearer {key}", "x-bondhu-user": user}

    def __call__(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Ask."""
        with httpx.Client(timeout=DEADLINE_S) as client:
            return client.request(method, self._url + path, headers=self._headers, json=body)

    def say(self, text: str, model: str = "bondhu/personality") -> Json:
        """Say something to an agent; return its message."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 2}
        answer = self("POST", "/v1/chat/completions", body)
        assert answer.status_code == 200, answer.text
        message: Json = answer.json()["choices"][0]["message"]
        return message

    def scores(self) -> dict[str, Json]:
        """Return what is made of them, by trait."""
        return {each["trait"]: each for each in self("GET", "/api/v1/personality").json()["scores"]}


@pytest.fixture(scope="module")
def selves(gateway: GatewayProcess) -> str:
    """Return a key of an application that asks a lot."""
    return gateway.make_key("selves", tier="premium", notices="off")


@pytest.fixture
def person(gateway: GatewayProcess, engine: EngineServer, selves: str, request: pytest.FixtureRequest) -> Person:
    """Return somebody new."""
    assert engine is not None
    return Person(gateway, selves, request.node.name)


def test_a_form_is_scored_with_intervals_and_used_for_tone(person: Person, engine: EngineServer) -> None:
    """Reversed items count the other way; what follows is shown, and the friend's prompt has it."""
    assert len(person("GET", "/api/v1/personality/items").json()["data"]) == 20
    answer = person("POST", "/api/v1/personality/answers", {"answers": OUTGOING}).json()
    (score,) = answer["scores"]
    assert (score["trait"], score["estimate"], score["items"]) == ("extraversion", 5.0, 4)
    assert 3 < score["low"] < 5
    assert score["high"] == 5
    assert answer["used_for"]["tone"] == {"warmth": "cheerful"}
    person.say("Hello", "bondhu/chat")
    assert "Be cheerful." in str(engine.requests[-1]["messages"])
    chosen = person("PUT", "/api/v1/personas", {"tone": {"warmth": "calm"}})
    assert chosen.status_code == 200
    person.say("Hello again", "bondhu/chat")
    assert "Be calm and gentle." in str(engine.requests[-1]["messages"]), "what they chose outranks it"


def test_few_answers_say_little(person: Person) -> None:
    """One item is no score, two have a wider interval than four."""
    person("POST", "/api/v1/personality/answers", {"answers": {"1": 5}})
    assert person.scores() == {}
    person("POST", "/api/v1/personality/answers", {"answers": {"6": 1}})
    two = person.scores()["extraversion"]
    person("POST", "/api/v1/personality/answers", {"answers": {"11": 5, "16": 1}})
    assert two["low"] < person.scores()["extraversion"]["low"]


def test_their_own_word_outranks_it_and_one_call_deletes_all(person: Person) -> None:
    """Also in the export; a correction can be taken back."""
    person("POST", "/api/v1/personality/answers", {"answers": OUTGOING})
    person("PUT", "/api/v1/personality", {"scores": {"extraversion": 2}})
    assert person.scores()["extraversion"] | {"items": 4} == {
        "trait": "extraversion",
        "estimate": 2.0,
        "low": 2.0,
        "high": 2.0,
        "source": "own_word",
        "items": 4,
    }
    assert "personality" in person("GET", "/api/v1/export").text
    person("PUT", "/api/v1/personality", {"scores": {"extraversion": None}})
    assert person.scores()["extraversion"]["estimate"] == 5.0
    assert person("DELETE", "/api/v1/personality").json()["deleted"]
    assert person.scores() == {}
    assert "personality" not in person("GET", "/api/v1/export").text


def test_language_counts_only_when_allowed_and_then_little(person: Person) -> None:
    """Nothing without the opt-in, nothing of few messages, and nearly the whole scale as its interval."""
    turns = [
        {
            "external_id": str(number),
            "speaker": "user",
            "text": "I worry, I am so anxious and sad and upset",
            "said_at": AT,
        }
        for number in range(60)
    ]
    ingested = person("POST", "/api/v1/conversations", {"external_id": "c", "messages": turns})
    assert ingested.status_code < 300, ingested.text
    assert person.scores() == {}
    person("PUT", "/api/v1/personality", {"reads_language": True})
    score = person.scores()["neuroticism"]
    assert score["source"] == "language"
    assert 3 < score["estimate"] < 3.5
    assert score["high"] - score["low"] > 2.5
    person("PUT", "/api/v1/personality", {"reads_language": False})
    assert person.scores() == {}


AT = "2026-01-01T00:00:00Z"


def test_it_is_asked_in_conversation_and_can_be_left(person: Person) -> None:
    """A phrase at a time, with buttons; what is no answer is asked again; the router knows who waits."""
    first = person.say("I'd like to take a personality test", "bondhu/auto")
    assert ITEMS[0].text in first["content"]
    card = next(each for each in first["bondhu"]["events"] if each["type"] == "card")
    assert [each["says"] for each in card["actions"]] == ["1", "2", "3", "4", "5"]
    assert ITEMS[1].text in person.say("5", "bondhu/auto")["content"]
    assert "number from 1 to 5" in person.say("blue", "bondhu/auto")["content"]
    person.say("stop")
    assert ITEMS[1].text in person.say("continue")["content"]
    person("POST", "/api/v1/personality/answers", {"answers": {str(item.number): 4 for item in ITEMS[1:19]}})
    assert ITEMS[19].text in person.say("go on")["content"]
    last = person.say("very accurate")
    assert "That was all" in last["content"]
    assert len(person.scores()) == 5
    person.say("delete my answers")
    assert person.scores() == {}


def test_wrong_answers_are_refused_by_name(person: Person) -> None:
    """Numbers of items and of answers."""
    for body in ({"answers": {"21": 3}}, {"answers": {"1": 6}}, {"answers": {}}):
        assert person("POST", "/api/v1/personality/answers", body).status_code == 400
    assert person("PUT", "/api/v1/personality", {"scores": {"charm": 3}}).status_code == 400
