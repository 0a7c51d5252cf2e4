"""A person's past over HTTP, on a real gateway of two workers: every route, and what it keeps from strangers."""

import asyncio
import json
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from agents import catalogue
from agents.inbox.box import Box, Message, change_box
from storage.agents.states import SqlStates
from storage.database import open_engine
from storage.media.playlists import SqlPlaylists
from storage.memory.owner import Owner
from tests.support.gateway_process import DEADLINE_S, GatewayProcess, wait_for
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.engine import MODEL, EngineServer

AT = "2026-01-01T12:00:00Z"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a gateway with an embedder, and an engine that answers with all that it is told."""
    folder = tmp_path_factory.mktemp("gateway")
    process = GatewayProcess(folder, workers=2, BONDHU__EMBEDDER__DIMENSIONS=str(DIMENSIONS))
    with EngineServer(process.ingress_port, echoes=True, embeds=True), process:
        process.until_ready(MODEL)
        yield process


@pytest.fixture(scope="module")
def keys(gateway: GatewayProcess) -> dict[str, str]:
    """Return a key without limits, with memory, for each of two applications."""
    return {app: gateway.make_key(app, tier="admin", memory=True) for app in ("one", "two")}


AGENTS = (*catalogue.AGENTS, catalogue.ROUTER)
SAYS = {
    "chat": "The secret word of my safe is",
    "games": "play hangman with",
    "music": "I love songs by",
    "video": "I like videos about",
    "personality": "start the personality test, says",
    "auto": "play some music by",
}
ASKS = ("What is the secret word of the safe?", "show my playlists", "show my watch later list")


class Client:
    """Asks as an application for a user, on a new connection each time, so that any worker may answer."""

    def __init__(self, gateway: GatewayProcess, key: str | None, user: str | None = None) -> None:
        self._url = gateway.url
        self._headers = ({"authorization": f"Bearer {key}"} if key else {}) | ({"x-bondhu-user": user} if user else {})

    def __call__(self, method: str, path: str, body: Any = None, **params: Any) -> httpx.Response:
        """Return the answer."""
        with httpx.Client(verify=False, timeout=DEADLINE_S) as client:
            content = None if body is None else json.dumps(body)
            headers = self._headers | {"content-type": "application/json"}
            return client.request(method, self._url + path, headers=headers, content=content, params=params)


def error(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    """Return status, code and parameter of a refusal."""
    body = answer.json()["error"]
    return answer.status_code, body["code"], body["param"]


def turn(number: int, text: str, speaker: str = "Ann") -> dict[str, str]:
    """Return a message."""
    return {"external_id": f"m{number}", "speaker": speaker, "text": text, "said_at": f"2026-01-01T12:{number:02}:00Z"}


def test_a_past_is_taken_in_and_recalled(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    """History moves in twice without a duplicate, is quoted by a memory, and comes back ranked with its reasons."""
    ann = Client(gateway, keys["one"], "recall-ann")
    history = {"external_id": "c1", "messages": [turn(1, "I adopted a dog called Rex"), turn(2, "He is brown", "Bob")]}
    ingested = ann("POST", "/api/v1/conversations", history).json()
    assert (ingested["added"], ingested["existing"], ingested["differing"]) == (2, 0, [])
    again = ann("POST", "/api/v1/conversations", history).json()
    assert (again["added"], again["existing"], again["messages"]) == (0, 2, ingested["messages"])
    source = next(each["id"] for each in ingested["messages"] if each["external_id"] == "m1")
    new = {"id": "rex", "text": "Has a dog called Rex", "quote": "adopted a dog", "message_id": source}
    assert ann("POST", "/api/v1/memories", new).status_code == 201
    assert ann("POST", "/api/v1/memories", new).status_code == 200
    assert [each["id"] for each in ann("GET", "/api/v1/memories/rex/sources").json()["data"]] == [source]
    assert ann("GET", "/api/v1/memories/none/sources").status_code == 404
    for _ in range(4):  # whichever worker answers
        answer = ann("POST", "/api/v1/recall", {"query": "What is the dog called?", "limit": 2})
        found = answer.json()["data"]
        assert {each["item"]["text"] for each in found} == {"Has a dog called Rex", "I adopted a dog called Rex"}
        assert all(set(each["rankers"]) == {"single", "window", "lexical"} for each in found)
        assert found[0]["score"] >= found[1]["score"]
    short = ann("POST", "/api/v1/recall", {"query": "What is the dog called?", "budget_tokens": 9}).json()["data"]
    assert len(short) == 1
    assert ann("PUT", "/api/v1/profile", {"name": "Bob", "details": {"zone": "UTC"}}).status_code == 200
    assert ann("GET", "/api/v1/profile").json() == {"name": "Bob", "details": {"zone": "UTC"}}


def test_why_names_the_messages_of_a_summary(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    """Recall, lists, and the reasons of a reply have them; a summary goes with one of them."""
    zoe = Client(gateway, keys["one"], "summary-zoe")
    turns = [{**turn(n, text, "user"), "id": f"t{n}"} for n, text in enumerate(("I grow orchids.", "They bloom."))]
    summary = {"id": "s", "kind": "summary", "text": "They grow orchids, which bloom.", "created_at": AT}
    document = {
        "conversations": [{"external_id": "c", "messages": turns}],
        "memories": [{**summary, "sources": ["t0", "t1"]}],
    }
    assert zoe("POST", "/api/v1/import", document).status_code == 200
    unknown = {"memories": [{**summary, "id": "other", "sources": ["none"]}]}
    assert zoe("POST", "/api/v1/import", unknown).status_code == 400
    (listed,) = zoe("GET", "/api/v1/memories", kind="summary").json()["data"]
    assert len(listed["sources"]) == 2
    question = {"model": "bondhu", "messages": [{"role": "user", "content": "What do you know of my orchids?"}]}
    id_ = zoe("POST", "/v1/chat/completions", question).json()["id"]
    wait_for(lambda: zoe("GET", f"/api/v1/messages/{id_}/why").status_code == 200, "the reply to be stored")
    context = [each["item"] for each in zoe("GET", f"/api/v1/messages/{id_}/why").json()["given"]]
    assert [each["sources"] for each in context if each["object"] == "memory"] == [listed["sources"]]
    found = [each["item"] for each in zoe("POST", "/api/v1/recall", {"query": "orchids"}).json()["data"]]
    assert [each["sources"] for each in found if each["object"] == "memory"] == [listed["sources"]]
    assert zoe("DELETE", f"/api/v1/messages/{listed['sources'][0]}").json()["complete"]
    assert zoe("GET", "/api/v1/memories").json()["data"] == []


def test_a_past_is_listed_counted_and_searched_in_part(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    """Conversations, messages and tags; a search of one conversation, as a persona; an import says what it did."""
    ian = Client(gateway, keys["one"], "lists-ian")
    for name in ("one", "two"):
        ian("POST", "/api/v1/conversations", {"external_id": name, "messages": [turn(1, f"Tea at the café {name}")]})
    for id_, own in (("plain", {"tags": ["drinks"]}), ("maya", {"persona": "maya"})):
        assert ian("POST", "/api/v1/memories", {"id": id_, "text": f"Likes tea, {id_}", **own}).status_code == 201
    listed = ian("GET", "/api/v1/conversations", limit="1").json()
    assert [(each["external_id"], each["messages"]) for each in listed["data"]] == [("two", 1)]
    assert listed["has_more"]
    rest = ian("GET", "/api/v1/conversations", after="two").json()["data"]
    assert [each["external_id"] for each in rest] == ["one"]
    found = ian("GET", "/api/v1/messages", search="CAFE ONE").json()["data"]
    assert [(each["conversation"], each["text"]) for each in found] == [("one", "Tea at the café one")]
    assert error(ian("GET", "/api/v1/messages", after="x")) == (400, None, "after")
    assert error(ian("GET", "/api/v1/conversations", after="x")) == (400, None, "after")
    assert [each["id"] for each in ian("GET", "/api/v1/memories", tag="drinks").json()["data"]] == ["plain"]
    counts = ian("GET", "/api/v1/counts").json()
    assert (counts["conversations"], counts["messages"], counts["memories"]) == (2, 2, 2)
    assert (counts["speakers"], counts["tags"]) == ({"Ann": 2}, {"drinks": 1})

    def recalled(**own: Any) -> set[str]:
        data = ian("POST", "/api/v1/recall", {"query": "tea", "min_relevance": 0, **own}).json()["data"]
        return {each["item"]["id" if each["item"]["object"] == "memory" else "text"] for each in data}

    assert recalled() == {"plain", "Tea at the café one", "Tea at the café two"}
    assert recalled(only={"conversation": "two"}) == {"Tea at the café two"}
    assert recalled(only={"kind": ["fact"]}, persona="maya") == {"plain", "maya"}
    assert ian("POST", "/api/v1/recall", {"query": "Hi!"}).json()["data"] == []
    wrong = ian("POST", "/api/v1/recall", {"query": "tea", "timezone": "Mars/Base"})
    assert error(wrong) == (400, None, "timezone")
    document = ian("GET", "/api/v1/export").json()
    document["profile"] = {"name": "Ian", "details": {"timezone": "Europe/Oslo"}}
    document["agents"] = [{"agent": "games", "name": "score", "value": {}}]
    told = Client(gateway, keys["one"], "lists-ina")("POST", "/api/v1/import", document).json()
    assert (told["conversations"], told["messages"]) == ({"new": 2, "known": 0}, {"new": 2, "known": 0})
    assert (told["taken"], told["not_imported"]) == (["name", "details.timezone"], {"agents": 1})


def test_memories_are_edited_pinned_paged_and_forgotten(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    """A change of a state that has passed is refused; pages follow each other; what is forgotten is not found."""
    ann = Client(gateway, keys["one"], "edit-ann")
    made = [ann("POST", "/api/v1/memories", {"text": f"Number {n}", "kind": "goal"}).json() for n in range(3)]
    pinned = ann("PATCH", f"/api/v1/memories/{made[0]['id']}", {"pinned": True, "changed_in": made[0]["changed_in"]})
    assert (pinned.json()["pinned"], pinned.json()["text"]) == (True, "Number 0")
    late = ann("PATCH", f"/api/v1/memories/{made[0]['id']}", {"text": "x", "changed_in": made[0]["changed_in"]})
    assert error(late) == (409, "memory_changed", "changed_in")
    page = ann("GET", "/api/v1/memories", limit=2, kind="goal").json()
    assert ([each["text"] for each in page["data"]], page["has_more"]) == (["Number 2", "Number 1"], True)
    rest = ann("GET", "/api/v1/memories", limit=2, after=page["data"][-1]["id"]).json()
    assert ([each["text"] for each in rest["data"]], rest["has_more"]) == (["Number 0"], False)
    assert [each["text"] for each in ann("GET", "/api/v1/memories", pinned=True).json()["data"]] == ["Number 0"]
    marked = ann("PATCH", f"/api/v1/memories/{made[2]['id']}", {"painful_at": AT, "muted": True}).json()
    assert (marked["painful_at"], marked["muted"]) == (AT, True)
    assert [each["text"] for each in ann("GET", "/api/v1/memories", muted=True).json()["data"]] == ["Number 2"]
    found = ann("POST", "/api/v1/recall", {"query": "number"}).json()["data"]
    assert {each["item"]["text"]: each["factors"]["painful"] for each in found} == {"Number 0": 1.0, "Number 1": 1.0}
    receipt = ann("DELETE", f"/api/v1/memories/{made[1]['id']}").json()
    assert (receipt["object"], receipt["complete"]) == ("erasure_receipt", True)
    assert error(ann("GET", f"/api/v1/memories/{made[1]['id']}")) == (404, "memory_not_found", None)
    assert ann("POST", "/api/v1/forget", {}).json()["complete"]
    assert ann("GET", "/api/v1/memories").json()["data"] == []
    assert error(ann("DELETE", "/api/v1/conversations", external_id="c9"))[1] == "conversation_not_found"


def test_an_id_in_two_conversations_is_not_guessed(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    """It is refused with their names, until one is named; so are two users, and a query that no route knows."""
    ann = Client(gateway, keys["one"], "ids-ann")
    for name in ("c1", "c2"):
        ann("POST", "/api/v1/conversations", {"external_id": name, "messages": [turn(1, f"In {name}")]})
    refused = ann("DELETE", "/api/v1/messages/m1")
    assert error(refused) == (409, "message_ambiguous", "conversation")
    assert "'c1', 'c2'" in refused.json()["error"]["message"]
    receipt = ann("DELETE", "/api/v1/messages/m1", conversation="c1").json()
    assert (receipt["complete"], receipt["user"], receipt["asked"]) == (True, "ids-ann", "message m1")
    assert receipt["reached"]["messages"] == 1
    assert ann("DELETE", "/api/v1/messages/m1").json()["complete"]
    assert error(ann("POST", "/api/v1/recall", {"query": "x", "user": "somebody"})) == (400, None, "user")
    assert error(ann("GET", "/api/v1/memories", kindd="goal")) == (400, None, "kindd")


def test_refusals_name_the_field(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    """Every wrong field is a 400 in OpenAI's envelope that names it."""
    ann = Client(gateway, keys["one"], "wrong-ann")
    nobody = Client(gateway, keys["one"])
    assert error(nobody("GET", "/api/v1/memories")) == (400, None, "user")
    for body, param in (
        ({"text": ""}, "text"),
        ({"text": "x" * 40_000}, "text"),
        ({"text": "a\0b"}, "text"),
        ({"text": "x", "kind": "idea"}, "kind"),
        ({"text": "x", "confidence": 2}, "confidence"),
        ({"text": "x", "event_at": "2026-01-01"}, "event_at"),
        ({"text": "x", "event_at": "0001-01-01T00:00:00+14:00"}, "event_at"),
        ({"text": "x", "valid_from": AT, "valid_until": AT}, "valid_until"),
        ({"text": "x", "message_id": "nothing"}, "message_id"),
        ({"text": "x", "quote": "nothing"}, "quote"),
        ({"text": "x", "colour": "red"}, "colour"),
        ({"text": "x", "user": "u" * 300}, "user"),
    ):
        assert error(ann("POST", "/api/v1/memories", body)) == (400, None, param), body
    assert error(ann("POST", "/api/v1/conversations", {"external_id": "c", "messages": [turn(1, "")]}))[2] == (
        "messages.0.text"
    )
    for details in ({"a": "\ud800"}, {"\ud800": 1}, {"a": [float("nan")]}):
        assert error(ann("PUT", "/api/v1/profile", {"details": details}))[0] == 400
    assert ann("PUT", "/api/v1/profile", {"details": {"a": "b\0"}}).status_code == 200
    assert ann("GET", "/api/v1/profile").json()["details"] == {"a": "b\0"}
    assert error(ann("POST", "/api/v1/forget", {"app": "two"})) == (400, None, "app")
    assert error(ann("GET", "/api/v1/memories", after="nothing"))[0] == 404
    large = {"external_id": "c", "messages": [turn(1, "x" * 30_000)] * 200}
    assert error(ann("POST", "/api/v1/conversations", large))[0] == 413


def test_requests_count(gateway: GatewayProcess) -> None:
    """Each is a request of the limits and of the ledger, by its route, for its user."""
    ann = Client(gateway, gateway.make_key("limited"), "counted-ann")
    answer = ann("GET", "/api/v1/memories/nothing")
    limits = ann("GET", "/api/v1/memories").headers
    assert (limits["x-ratelimit-limit-requests"], limits["x-ratelimit-remaining-requests"]) == ("100", "98")
    wait_for(lambda: ann("GET", f"/v1/usage/{answer.headers['x-request-id']}").status_code == 200, "the row")
    row = ann("GET", f"/v1/usage/{answer.headers['x-request-id']}").json()
    assert (row["endpoint"], row["user"], row["outcome"]) == ("/api/v1/memories/{id}", "counted-ann", "client_error")


# What is asked on every route, by somebody who knows another's ids. A route that is not here fails the test.
WALK: dict[tuple[str, str], tuple[Any, dict[str, str]]] = {
    ("post", "/v1/chat/completions"): (
        {"model": "bondhu", "messages": [{"role": "user", "content": "What is the secret word of the safe?"}]},
        {},
    ),
    ("post", "/v1/completions"): ({"model": "bondhu", "prompt": ["Hi"]}, {}),
    ("post", "/v1/responses"): ({"model": "bondhu", "input": "What is the secret word of the safe?"}, {}),
    ("post", "/v1/messages"): (
        {
            "model": "bondhu",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "What is the secret word of the safe?"}],
        },
        {},
    ),
    ("post", "/v1/messages/count_tokens"): (
        {"model": "bondhu", "messages": [{"role": "user", "content": "What is the secret word of the safe?"}]},
        {},
    ),
    ("post", "/tokenize"): ({"model": "bondhu", "prompt": "Hi"}, {}),
    ("post", "/detokenize"): ({"model": "bondhu", "tokens": [1]}, {}),
    ("post", "/v1/embeddings"): ({"model": "all-minilm-l6-v2", "input": "Hi"}, {}),
    ("get", "/v1/models"): (None, {}),
    ("get", "/v1/models/{model}"): (None, {}),
    ("get", "/v1/usage/{request_id}"): (None, {}),
    ("get", "/api/v1/usage"): (None, {"group_by": "app,user"}),
    ("get", "/api/v1/users/{user}/consent"): (None, {}),
    ("put", "/api/v1/users/{user}/consent"): ({"allow_external": False, "allow_sensitive": False}, {}),
    ("delete", "/api/v1/users/{user}/consent"): (None, {}),
    ("get", "/health"): (None, {}),
    ("get", "/ready"): (None, {}),
    ("get", "/api/v1/chat/health"): (None, {}),
    ("get", "/api/v1/health/report"): (None, {}),
    ("get", "/metrics"): (None, {}),
    ("get", "/api/v1/memories"): (None, {"limit": "100"}),
    ("get", "/api/v1/memories/{id}"): (None, {}),
    ("get", "/api/v1/memories/{id}/sources"): (None, {}),
    ("get", "/api/v1/memories/{id}/former"): (None, {}),
    ("get", "/api/v1/conversations"): (None, {}),
    ("get", "/api/v1/messages"): (None, {"conversation": "{conversation}"}),
    ("get", "/api/v1/counts"): (None, {}),
    ("patch", "/api/v1/memories/{id}"): ({"pinned": True}, {}),
    ("delete", "/api/v1/memories/{id}"): (None, {}),
    ("post", "/api/v1/memories"): ({"text": "mine", "supersedes": "{id}"}, {}),
    ("post", "/api/v1/conversations"): ({"external_id": "{conversation}", "messages": [turn(7, "mine")]}, {}),
    ("delete", "/api/v1/conversations"): (None, {"external_id": "{conversation}"}),
    ("get", "/api/v1/messages/{message}/why"): (None, {}),
    ("get", "/api/v1/messages/{message}/former"): (None, {}),
    ("delete", "/api/v1/messages/{message}"): (None, {}),
    ("get", "/api/v1/agents"): (None, {}),
    ("post", "/api/v1/agents/{agent}/runs"): (
        {"messages": [{"role": "user", "content": "What is the secret word of the safe?"}]},
        {},
    ),
    ("post", "/api/v1/proposals/{proposal}/confirm"): ({}, {}),
    ("post", "/api/v1/proposals/{proposal}/undo"): ({}, {}),
    ("get", "/api/v1/personas"): (None, {}),
    ("put", "/api/v1/personas"): ({"tone": {"length": "short"}}, {}),
    ("post", "/api/v1/jobs"): ({"kind": "extract"}, {}),
    ("get", "/api/v1/jobs"): (None, {}),
    ("get", "/api/v1/jobs/{job}"): (None, {}),
    ("post", "/api/v1/jobs/{job}/cancel"): (None, {}),
    ("get", "/api/v1/personality/items"): (None, {}),
    ("post", "/api/v1/personality/answers"): ({"answers": {"1": 5}}, {}),
    ("get", "/api/v1/personality"): (None, {}),
    ("put", "/api/v1/personality"): ({"reads_language": True}, {}),
    ("delete", "/api/v1/personality"): (None, {}),
    ("get", "/api/v1/inbox"): (None, {}),
    ("post", "/api/v1/inbox/{message}/read"): (None, {}),
    ("delete", "/api/v1/inbox/{message}"): (None, {}),
    ("get", "/api/v1/inbox/settings"): (None, {}),
    ("put", "/api/v1/inbox/settings"): ({"enabled": True}, {}),
    ("get", "/api/v1/stats"): (None, {}),
    ("put", "/api/v1/stats/moods"): ({"allowed": True}, {}),
    ("get", "/api/v1/recommendations"): (None, {}),
    ("get", "/api/v1/genres"): (None, {}),
    ("get", "/api/v1/services"): (None, {}),
    ("post", "/api/v1/services/{service}/link"): ({"account": "mine"}, {}),
    ("get", "/api/v1/services/{service}/callback"): (None, {"state": "x", "code": "x"}),
    ("delete", "/api/v1/services/{service}"): (None, {}),
    ("get", "/api/v1/wishes"): (None, {}),
    ("get", "/api/v1/wishes/{wish}"): (None, {}),
    ("post", "/api/v1/wishes/{wish}/undo"): (None, {}),
    ("post", "/api/v1/wishes/{wish}/confirm"): (None, {}),
    ("get", "/api/v1/muted-topics"): (None, {}),
    ("delete", "/api/v1/muted-topics/{topic}"): (None, {}),
    ("delete", "/api/v1/wishes/{wish}"): (None, {}),
    ("post", "/api/v1/recall"): ({"query": "What is the secret word of the safe?", "limit": 100}, {}),
    ("get", "/api/v1/profile"): (None, {}),
    ("put", "/api/v1/profile"): ({"name": "me"}, {}),
    ("get", "/api/v1/export"): (None, {}),
    ("post", "/api/v1/import"): ({"memories": [{"id": "{id}", "text": "mine", "created_at": AT}]}, {}),
    ("post", "/api/v1/forget"): ({}, {}),
}


def test_nothing_is_shown_without_a_key(gateway: GatewayProcess) -> None:
    """Whatever the body, who has no valid key is told that first."""
    for key in (None, "bd-wrong"):
        for (method, path), (body, params) in WALK.items():
            if path.startswith("/api/v1/") and not path.endswith("/callback"):  # whose `state` is its key
                for sent in (body, None, {"model": "bondhu"}):
                    assert Client(gateway, key)(method.upper(), path, sent, **params).status_code == 401, (method, path)


def test_no_secret_crosses(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    """Of people of one application and of two, nobody gets to see or touch another's, on any route there is."""
    people = {
        (app, user): f"{app}x{user}x{word}"
        for (app, user), word in zip(
            [("one", "canary-a"), ("one", "canary-b"), ("two", "canary-a")],
            ("quetzal", "ocelot", "narwhal"),
            strict=True,
        )
    }
    ids = {who: plant(gateway, who, Client(gateway, keys[who[0]], who[1]), secret) for who, secret in people.items()}
    document = Client(gateway, None)("GET", "/openapi.json").json()
    routes = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert routes == set(WALK)
    before = {who: content(Client(gateway, keys[who[0]], who[1])) for who in people}
    for who, secret in people.items():
        assert before[who].count(secret) > 6, "the canary is there to be seen"
        assert number_of(secret) in before[who]
    for whose in people:
        for who in [("one", "stranger"), *(each for each in people if each != whose)]:
            others = [secret for owner, secret in people.items() if owner != who]
            walk(Client(gateway, keys[who[0]], who[1]), ids[whose], others + [number_of(each) for each in others])
            assert content(Client(gateway, keys[whose[0]], whose[1])) == before[whose]
            if who in people:
                ids[who] = plant(gateway, who, Client(gateway, keys[who[0]], who[1]), people[who])
                before[who] = content(Client(gateway, keys[who[0]], who[1]))


def number_of(secret: str) -> str:
    """Return the secret as a score of somebody's personality, which has no words."""
    return str(1 + zlib.crc32(secret.encode()) % 4_000_000 / 1e6)


async def leave(gateway: GatewayProcess, owner: Owner, secret: str) -> None:
    """Leave a message in somebody's inbox, as the worker does, and a playlist."""
    engine = open_engine(gateway.database_url)
    message = Message("m-" + secret[::-1], f"before:{secret}", "planned", f"Tomorrow it is: {secret}", secret, AT)
    states = SqlStates(engine, lambda: datetime.now(UTC))
    assert await change_box(states, owner, lambda box: Box(seen=()).with_message(message)) is not None
    song = {"id": f"{secret}/x", "artist": secret, "title": secret, "year": 2000}
    playlists = SqlPlaylists(engine, lambda: datetime.now(UTC))
    await playlists.create(owner, key=secret, name=secret, items=[song], wanted={})
    await engine.dispose()


def plant(gateway: GatewayProcess, who: tuple[str, str], client: Client, secret: str) -> dict[str, str]:
    """Give a person a past with their secret in every field; return the ids of it."""
    asyncio.run(leave(gateway, Owner(*who), secret))
    assert secret in client("GET", "/api/v1/inbox").text
    own = {"scores": {"openness": float(number_of(secret))}}
    assert number_of(secret) in client("PUT", "/api/v1/personality", own).text
    messages = [turn(1, f"The secret word of the safe is {secret}", secret)]
    name = secret[::-1]  # no secret itself: who asks for it may see it again
    ingested = client("POST", "/api/v1/conversations", {"external_id": name, "messages": messages}).json()
    new = {"text": f"Safe: {secret}", "quote": secret, "message_id": ingested["messages"][0]["id"], "speaker": secret}
    made = client("POST", "/api/v1/memories", new).json()
    client("PATCH", f"/api/v1/memories/{made['id']}", {"text": f"The safe: {secret}", "tags": [secret]})
    assert secret in client("GET", f"/api/v1/memories/{made['id']}/former").text
    client("PUT", "/api/v1/profile", {"name": secret, "details": {"word": secret}})
    (body,) = WALK["post", "/v1/chat/completions"][:1]
    answer = client("POST", "/v1/chat/completions", body)
    assert secret in answer.text, "what is remembered is told"
    why = f"/api/v1/messages/{answer.json()['id']}/why"
    wait_for(lambda: secret in client("GET", why).text, "the reply to be stored")
    client(
        "POST",
        "/v1/chat/completions",
        {**body, "messages": [{"role": "user", "content": f"My pet puzzle is about {secret}"}]},
    )
    forgotten = client(
        "POST",
        "/v1/chat/completions",
        {**body, "messages": [{"role": "user", "content": "Forget about my pet puzzle"}]},
    )
    wish = forgotten.headers["x-bondhu-memory"].split("undo=")[1]
    for agent in AGENTS:  # each keeps what it keeps of it
        said = {"messages": [{"role": "user", "content": f"{SAYS[agent]} {secret}"}]}
        assert client("POST", f"/api/v1/agents/{agent}/runs", said).status_code == 200, agent
    job = client("POST", "/api/v1/jobs", {"kind": "extract"}).json()["id"]
    ids = {"{id}": made["id"], "{message}": answer.json()["id"], "{job}": job}
    return {**ids, "{conversation}": name, "{wish}": wish, "{inbox}": f"m-{name}"}


def content(client: Client) -> str:
    """Return all that is kept of a person, and what they recall."""
    recalled = client("POST", "/api/v1/recall", {"query": "What is the secret word of the safe?"}).json()["data"]
    aside = client("GET", "/api/v1/wishes").text
    return client("GET", "/api/v1/export").text + aside + json.dumps([each["item"] for each in recalled])


def walk(client: Client, ids: dict[str, str], secrets: list[str]) -> None:
    """Ask on every route with another's ids; their secrets are in no answer."""

    def fill(text: str) -> str:
        for name, value in ids.items():
            text = text.replace(name, value)
        return text

    for agent in AGENTS:
        for text in ASKS:
            said = {"messages": [{"role": "user", "content": text}]}
            answer = client("POST", f"/api/v1/agents/{agent}/runs", said)
            for secret in secrets:
                assert secret not in answer.text + str(answer.headers), (agent, text)
    for (method, path), (body, params) in WALK.items():
        request = None if body is None else json.loads(fill(json.dumps(body)))
        query = {name: fill(value) for name, value in params.items()}
        path = path.replace("inbox/{message}", "inbox/{inbox}").replace("{agent}", "chat")
        url = re.sub(r"\{\w+\}", "x", fill(path))
        answer = client(method.upper(), url, request, **query)
        assert answer.status_code < 500 or answer.status_code == 503, (method, path, answer.text)
        for secret in secrets:
            assert secret not in answer.text + str(answer.headers), (method, path)
