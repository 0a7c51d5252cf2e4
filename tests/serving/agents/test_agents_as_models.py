"""Agents as model ids on /v1/chat/completions, as the official client sees them."""

from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from sqlalchemy import create_engine, text

from tests.support.gateway_process import GatewayProcess, wait_for
from tests.support.servers.engine import EngineServer, text_of

Json = dict[str, Any]


def rows_of(gateway: GatewayProcess, request_id: str) -> list[Json]:
    """Return a request's rows in the ledger, once there is one."""
    database = create_engine(gateway.database_url.replace("+aiosqlite", ""))
    found: list[Json] = []

    def is_there() -> bool:
        with database.connect() as connection:
            query = text("SELECT * FROM requests WHERE request_id = :id")
            found[:] = [dict(row._mapping) for row in connection.execute(query, {"id": request_id})]
        return bool(found)

    wait_for(is_there, "the row")
    database.dispose()
    return found


def play(client: OpenAI, user: str, *texts: str, conversation: str = "c") -> Any:
    """Say the last of it, with what was said before as a client would send it; returns the message."""
    messages: list[Any] = [{"role": "user", "content": each} for each in texts]
    answer = client.chat.completions.create(
        model="bondhu/games", messages=messages, user=user, extra_headers={"x-bondhu-conversation": conversation}
    )
    return answer.choices[0].message


def game_of(message: Any) -> Json:
    """Return the data of a message's card of a game."""
    (card,) = [each for each in message.bondhu["events"] if each["type"] == "card" and each["kind"] == "game"]
    data: Json = card["data"]
    return data


def test_agents_are_listed(client: OpenAI) -> None:
    """GET /v1/models lists each agent beside the models, and GET /v1/models/{id} answers for it."""
    listed = {each.id: each.owned_by for each in client.models.list()}
    assert listed["bondhu/chat"] == listed["bondhu/games"] == listed["bondhu/auto"] == "bondhu"
    assert {"bondhu", "bondhu-demo"} <= listed.keys()
    assert client.models.retrieve("bondhu/chat").id == "bondhu/chat"
    with pytest.raises(NotFoundError):
        client.models.retrieve("bondhu/nobody")


def test_a_whole_answer_of_the_friend(client: OpenAI, engine: EngineServer) -> None:
    """The friend's answer has the model's words, ordinary fields, and the end of the run in the extension."""
    raw = client.chat.completions.with_raw_response.create(
        model="bondhu/chat", messages=[{"role": "user", "content": "Hello there"}], max_tokens=4
    )
    answer = raw.parse()
    assert answer.model == "bondhu/chat"
    assert raw.headers["x-bondhu-model"] == "bondhu/chat; model=bondhu-demo; revision=r; quantization=none"
    choice = answer.choices[0]
    assert choice.message.content == text_of(4).lstrip()
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4
    assert [each["type"] for each in choice.message.bondhu["events"]] == ["done"]  # type: ignore[attr-defined]
    prompt = engine.requests[-1]["messages"]
    assert prompt[0]["role"] == "system"
    assert prompt[-1] == {"role": "user", "content": "Hello there"}


def test_a_stream_of_the_friend(client: OpenAI) -> None:
    """A stream tells the text as it comes, its finish reason and usage once, and events in deltas of their own."""
    stream = client.chat.completions.create(
        model="bondhu/chat",
        messages=[{"role": "user", "content": "Hello"}],
        max_tokens=5,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    texts = [delta.content for delta in deltas if delta.content]
    assert "".join(texts) == text_of(5).lstrip()
    assert len(texts) == 5
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5
    extensions = [delta.bondhu for delta in deltas if getattr(delta, "bondhu", None)]
    assert [event["type"] for each in extensions for event in each["events"]] == ["done"]


def test_a_game_goes_on_in_its_conversation(client: OpenAI) -> None:
    """A game is kept between requests, of one conversation; another conversation has none."""
    begun = game_of(play(client, "maya", "play tic-tac-toe"))
    assert begun["game"] == "tictactoe"
    after = play(client, "maya", "5")
    assert game_of(after) != begun
    elsewhere = play(client, "maya", "5", conversation="other")
    assert not [each for each in elsewhere.bondhu["events"] if each["type"] == "card" and each["kind"] == "game"]


def test_two_people_do_not_share_a_game(client: OpenAI) -> None:
    """Another person in a conversation of the same name sees nothing of the game."""
    play(client, "ana", "play hangman")
    other = play(client, "ben", "e")
    assert not [each for each in other.bondhu["events"] if each["type"] == "card" and each["kind"] == "game"]
    assert game_of(play(client, "ana", "e"))["game"] == "hangman"


def test_a_row_has_the_steps_of_its_run(client: OpenAI, gateway: GatewayProcess, key: str) -> None:
    """Routes, tools, proposals and model calls, in order, each with its outcome; and not a word of what was said."""
    said = "Please make me a calm playlist for my zebra Fitzwilliam"
    steps: dict[str, list[Json]] = {}
    for id_, text_ in (("steps-asked", said), ("steps-yes", "yes"), ("steps-talk", "My zebra sleeps well")):
        client.chat.completions.create(
            model="bondhu/auto",
            user="zoe",
            messages=[{"role": "user", "content": text_}],
            extra_headers={"x-request-id": id_, "x-bondhu-conversation": "steps"},
        )
        [row] = rows_of(gateway, id_)
        assert not [word for word in ("zebra", "calm", "sleeps") if word in str(row["steps"]).casefold()]
        answer = gateway.get(f"/v1/usage/{id_}", key).json()
        steps[id_] = answer["steps"]
        assert all(each["ms"] >= 0 and 0 <= each["at_ms"] <= answer["latency_s"] * 1000 for each in steps[id_])
    kinds = {id_: [(each["kind"], each["name"] or each["detail"]) for each in some] for id_, some in steps.items()}
    assert kinds["steps-asked"] == [
        ("agent", "auto"),
        ("route", "music by rule"),
        ("proposal", ""),
        ("route", "make_playlist by rule"),
        ("parameters", "make_playlist"),
        ("tool", "make_playlist"),
    ]
    assert kinds["steps-yes"] == [("agent", "auto"), ("route", "music as it asked"), ("proposal", "applied")]
    assert kinds["steps-talk"] == [
        ("agent", "auto"),
        ("route", "chat by default"),
        ("recall", "0 recalled"),
        ("model", "bondhu-demo"),
    ]
    assert {each["outcome"] for some in steps.values() for each in some} == {"done"}


def test_a_run_has_one_row(client: OpenAI, gateway: GatewayProcess) -> None:
    """A run is one row, with the tokens of what its model was asked; a move of a game asks nobody and costs nothing."""
    headers = {"x-request-id": "a-run-of-the-friend"}
    client.chat.completions.create(
        model="bondhu/chat", messages=[{"role": "user", "content": "Hi"}], max_tokens=6, extra_headers=headers
    )
    (row,) = rows_of(gateway, "a-run-of-the-friend")
    assert (row["model_asked"], row["model"], row["outcome"]) == ("bondhu/chat", "bondhu-demo", "ok")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (7, 6)
    headers = {"x-request-id": "a-move"}
    raw = client.chat.completions.with_raw_response.create(
        model="bondhu/games", messages=[{"role": "user", "content": "play trivia"}], user="cy", extra_headers=headers
    )
    assert raw.headers["x-bondhu-model"] == "bondhu/games"
    (row,) = rows_of(gateway, "a-move")
    assert (row["model"], row["prompt_tokens"], row["completion_tokens"]) == (None, 0, 0)


def test_auto_hands_on(client: OpenAI) -> None:
    """`bondhu/auto` has a game played by who plays, and says who answered."""
    answer = client.chat.completions.create(
        model="bondhu/auto", messages=[{"role": "user", "content": "let's play hangman"}], user="dot"
    )
    message: Any = answer.choices[0].message
    assert message.bondhu["events"][0]["detail"] == "games by rule"
    assert game_of(message)["game"] == "hangman"


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        ("bondhu/games", {}, "user"),
        ("bondhu/games", {"user": "eve", "tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ("bondhu/chat", {"n": 2}, "n"),
        (
            "bondhu/games",
            {"user": "eve", "extra_body": {"structured_outputs": {"choice": ["a"]}}},
            "structured_outputs",
        ),
        ("bondhu/chat", {"extra_body": {"bondhu": {"persona": "nobody"}}}, "bondhu.persona"),
        ("bondhu/chat", {"extra_body": {"bondhu": {"mood": "x"}}}, "bondhu.mood"),
        ("bondhu/chat", {"extra_body": {"persona": "dost"}}, "persona"),
    ],
)
def test_what_an_agent_does_not_take_is_refused_by_name(client: OpenAI, model: str, fields: Json, param: str) -> None:
    """It is a 400 that names the field as the client wrote it."""
    with pytest.raises(BadRequestError) as refused:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}], **fields)
    assert refused.value.param == param


def test_agents_only_chat(client: OpenAI) -> None:
    """/v1/completions refuses an agent's id."""
    with pytest.raises(BadRequestError) as refused:
        client.completions.create(model="bondhu/chat", prompt="hi")
    assert refused.value.param == "model"


def test_messages_of_any_shape_reach_the_model(client: OpenAI, engine: EngineServer) -> None:
    """Parts that are strings, a developer's prompt, calls whose arguments are an object, an absent content."""
    call: Any = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Sylhet"}}}
    messages: Any = [
        {"role": "developer", "content": ["Be brief."]},
        {"role": "user", "content": ["What is it like", {"type": "text", "text": "outside?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    client.chat.completions.create(model="bondhu/chat", messages=messages)
    system, question, called, result = engine.requests[-1]["messages"]
    assert "Be brief." in system["content"]
    assert [part["text"] for part in question["content"]] == ["What is it like", "outside?"]
    assert called["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Sylhet"}'}
    assert result == {"role": "tool", "content": "rain", "tool_call_id": "c1"}


def test_the_client_s_tools_reach_the_model(client: OpenAI, engine: EngineServer) -> None:
    """The friend passes a client's tools on."""
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    client.chat.completions.create(model="bondhu/chat", messages=[{"role": "user", "content": "hi"}], tools=[tool])
    assert engine.requests[-1]["tools"][0]["function"]["name"] == "weather"
