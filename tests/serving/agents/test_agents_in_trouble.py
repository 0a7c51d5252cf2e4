"""Agents within limits, without engines and without a database."""

import json
from pathlib import Path
from typing import Any

import httpx

from agents.safety.helplines import DIRECTORIES
from agents.safety.texts import SELF_HARM
from tests.support.gateway_process import DEADLINE_S, GatewayProcess, wait_for
from tests.support.servers.engine import MODEL, EngineServer
from tests.support.servers.gemini import GeminiServer


def say(gateway: GatewayProcess, key: str, text: str, model: str = "bondhu/chat", **fields: Any) -> httpx.Response:
    """Say something to an agent."""
    body = {"model": model, "messages": [{"role": "user", "content": text}]} | fields
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=DEADLINE_S)


def content_of(answer: httpx.Response) -> str:
    """Return the words of a whole answer."""
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def test_without_any_engine_agents_still_answer(tmp_path: Path) -> None:
    """The friend says that it is away, a game goes on, and a crisis has the text that names help."""
    with GatewayProcess(tmp_path) as gateway:
        key = gateway.make_key("diary", tier="standard")
        away = say(gateway, key, "How are you?")
        assert content_of(away)
        assert away.headers["x-bondhu-model"] == "bondhu/chat"
        assert "card" in say(gateway, key, "play hangman", "bondhu/games", user="maya").text
        for model in ("bondhu/chat", "bondhu/games", "bondhu/auto"):
            crisis = say(gateway, key, "I want to kill myself.", model, user="maya")
            assert content_of(crisis).startswith(SELF_HARM["en"])
            hint = say(gateway, key, "I feel like a burden to everyone", model, user="maya")
            assert DIRECTORIES[0].contact in content_of(hint)
            assert content_of(hint).count(DIRECTORIES[0].contact) == 1


def test_a_run_keeps_to_its_limits(tmp_path: Path) -> None:
    """A run whose tokens or time are over ends in an answer that says which limit it was, and closes the engine."""
    limits = {"BONDHU__AGENTS__LIMITS__MAX_S": "1.5", "BONDHU__AGENTS__LIMITS__MAX_TOKENS": "64"}
    with GatewayProcess(tmp_path, workers=2, **limits) as gateway, EngineServer(gateway.ingress_port) as engine:
        key = gateway.make_key("diary", tier="standard")
        gateway.until_ready(MODEL)
        say(gateway, key, "hello", max_tokens=5000)
        assert engine.requests[-1]["max_tokens"] == 64
        engine.allow(0)
        late = say(gateway, key, "hello again")
        assert content_of(late)
        wait_for(lambda: engine.aborted == 1, "the engine to be left")


def test_a_tier_s_limit_counts_a_run_once(tmp_path: Path) -> None:
    """A run is one request of its key's limits, whatever it asks its model; the limit refuses the next."""
    limits = {"BONDHU__TIERS": '{"free": {"requests_per_minute": 2}}'}
    with GatewayProcess(tmp_path, workers=2, **limits) as gateway, EngineServer(gateway.ingress_port):
        key = gateway.make_key("diary", tier="free")
        gateway.until_ready(MODEL)
        assert say(gateway, key, "one").headers["x-ratelimit-remaining-requests"] == "1"
        assert say(gateway, key, "two").headers["x-ratelimit-remaining-requests"] == "0"
        assert say(gateway, key, "three").status_code == 429


def test_what_an_agent_knows_stays_in_the_house(tmp_path: Path) -> None:
    """Where only a model outside can answer it, the friend's persona leaves, and nothing that is remembered."""
    with GeminiServer() as gemini:
        external = json.dumps({"gemini": {"model": "gemini-2.5-flash", "base_url": gemini.url}})
        settings = {"GEMINI_API_KEY": gemini.key, "BONDHU__EXTERNAL": external}
        settings["BONDHU__CONSENT__APP_COVERS_USERS"] = "true"
        with GatewayProcess(tmp_path, **settings) as gateway:
            key = gateway.make_key("diary", tier="standard", allow_external=True, memory=True)
            headers = {"authorization": f"Bearer {key}", "x-bondhu-user": "maya"}
            profile = {"name": "Maya", "details": {"city": "Sylhet"}}
            put = httpx.put(f"{gateway.url}/api/v1/profile", json=profile, headers=headers, timeout=DEADLINE_S)
            assert put.status_code == 200
            answer = say(gateway, key, "What shall we cook?", user="maya")
            assert content_of(answer)
            assert "model=gemini" in answer.headers["x-bondhu-model"]
            assert "withheld=memory" in answer.headers["x-bondhu-degraded"]
            sent = json.dumps(gemini.requests[-1].body)
            assert "You are Dost" in sent
            assert "Sylhet" not in sent


def test_what_is_said_while_recall_is_too_slow_is_kept(tmp_path: Path) -> None:
    """By a plain model and by an agent: the answer has nothing of the past, and the past has both turns."""
    gateway = GatewayProcess(tmp_path, BONDHU__MEMORY__CHAT__TIMEOUT_S="0.000001")
    with EngineServer(gateway.ingress_port), gateway:
        key = gateway.make_key("diary", tier="standard", memory=True, notices="off")
        wait_for(lambda: say(gateway, key, "hello", MODEL, user="nobody").status_code == 200, "the model")
        for model in (MODEL, "bondhu/chat"):
            answer = say(gateway, key, "My cat is called Pixel", model, user=model)
            assert content_of(answer)
            assert answer.headers["x-bondhu-memory"] == "away"

            def turns(user: str = model) -> list[str]:
                headers = {"authorization": f"Bearer {key}", "x-bondhu-user": user}
                stored = httpx.get(f"{gateway.url}/api/v1/export", headers=headers, timeout=DEADLINE_S).json()
                return [turn["speaker"] for each in stored["conversations"] for turn in each["messages"]]

            wait_for(lambda turns=turns: turns() == ["user", "assistant"], "both turns to be stored")
