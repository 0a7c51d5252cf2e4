"""Nothing private leaves by accident: a real gateway without engines, whose only way to answer is a model outside."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from serving.config.load import load_settings
from serving.engines.wire import routing
from storage import api_keys
from storage.database import open_engine
from tests.support.gateway_process import ROOT, GatewayProcess, wait_for
from tests.support.servers.gemini import GeminiServer, broken

Json = dict[str, Any]

WORKERS = 2
MEMORY = {"bondhu": {"private": "memory"}}
HELLO: Json = {"role": "user", "content": "What shall we cook?"}
CONFESSION: Json = {"role": "user", "content": "My doctor says I am pregnant."}
CRISIS: Json = {"role": "user", "content": "I want to kill myself."}
RECALLED: Json = {"role": "system", "content": "Maya has two cats.", **MEMORY}
SYSTEM: Json = {"role": "system", "content": "You are a friend."}


@pytest.fixture(scope="module")
def gemini() -> Iterator[GeminiServer]:
    """The model outside."""
    with GeminiServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, gemini: GeminiServer) -> Iterator[GatewayProcess]:
    """Two workers, and no engine."""
    external = json.dumps({"gemini": {"model": "gemini-2.5-flash", "base_url": gemini.url}})
    settings = {"GEMINI_API_KEY": gemini.key, "BONDHU__EXTERNAL": external}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), workers=WORKERS, **settings) as process:
        yield process


class Client:
    """An application with a key of its own, and who it asks for."""

    def __init__(self, gateway: GatewayProcess, app: str, *, sensitive: bool = False, external: bool = True) -> None:
        self._url = gateway.url
        self._audit = gateway.var_dir / "audit"

        async def make() -> str:
            engine = open_engine(gateway.database_url)
            allowed = {"allow_external": external, "allow_sensitive": sensitive}
            made = await api_keys.create_key(engine, app=app, name="", now=datetime.now(UTC), **allowed)
            await engine.dispose()
            return made.secret

        self._headers = {"authorization": f"Bearer {asyncio.run(make())}"}

    def ask(self, *messages: Json, user: str | None = None, request_id: str = "", **fields: Any) -> httpx.Response:
        """POST a chat."""
        body = {"model": "bondhu", "messages": messages, **({"user": user} if user else {}), **fields}
        headers = {"x-request-id": request_id} if request_id else {}
        return self.send("POST", "/v1/chat/completions", body, **headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str | bytes) -> httpx.Response:
        """Send anything, on a connection of its own: any worker may answer."""
        with httpx.Client(timeout=60, headers=self._headers) as client:
            return client.request(method, self._url + path, json=body, headers=list(_bytes(headers)))

    def consent(self, user: str, **consent: bool) -> httpx.Response:
        """Set a person's consent."""
        return self.send("PUT", f"/api/v1/users/{user}/consent", consent)

    def row(self, request_id: str) -> Json:
        """What the ledger says of a request that has ended."""
        found: Json = {}

        def is_there() -> bool:
            found.update(self.send("GET", f"/v1/usage/{request_id}").json())
            return found.get("status") == "ended"

        wait_for(is_there, f"the row of {request_id}")
        return found

    def audited(self, request_id: str) -> Json:
        """The audit log's record of a request."""
        (file,) = self._audit.glob("audit-*.jsonl")
        records: list[Json] = [json.loads(line) for line in file.read_text().splitlines()]
        (record,) = [each for each in records if each["request_id"] == request_id]
        return record


@pytest.fixture(scope="module")
def diary(gateway: GatewayProcess) -> Client:
    """An application that may go outside, but not with what is private."""
    return Client(gateway, "diary")


@pytest.fixture(scope="module")
def clinic(gateway: GatewayProcess) -> Client:
    """An application that may go outside with everything."""
    return Client(gateway, "clinic", sensitive=True)


def _bytes(headers: Mapping[str, str | bytes]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers.items():
        yield name.encode(), value if isinstance(value, bytes) else value.encode()


def text_of(answer: httpx.Response) -> str:
    """The text of a whole answer."""
    return str(answer.json()["choices"][0]["message"]["content"])


def test_only_a_persons_own_yes_lets_their_words_out(diary: Client, gemini: GeminiServer) -> None:
    """Never asked: an error, and nothing is sent. After a yes the model outside answers, and the audit says whose."""
    before = len(gemini.requests)
    assert diary.ask(HELLO, user="ada").status_code == 503
    assert len(gemini.requests) == before
    assert diary.consent("bob", allow_external=True).status_code == 200
    answer = diary.ask(HELLO, user="bob", request_id="bob-1")
    assert (answer.status_code, text_of(answer)) == (200, "You said: What shall we cook?")
    record = diary.audited("bob-1")
    assert (record["app"], record["consent"], record["private"], record["withheld"]) == ("diary", "user", [], [])
    assert "cook" not in json.dumps(record)
    assert record["user"] != "bob"


def test_a_withdrawal_reaches_every_worker(diary: Client, gemini: GeminiServer) -> None:
    """Within seconds nobody lets the person's words out any more."""
    diary.consent("eve", allow_external=True)
    assert diary.ask(HELLO, user="eve").status_code == 200
    assert diary.consent("eve", allow_external=False).json()["holds"]["allow_external"] is False

    def all_refuse() -> bool:
        return all(diary.ask(HELLO, user="eve").status_code == 503 for _ in range(6))

    wait_for(all_refuse, "a withdrawal to hold everywhere")


def test_private_parts_stay_and_the_answer_says_so(diary: Client, gemini: GeminiServer) -> None:
    """The rest is asked; the header, the ledger and the audit name the classes that stayed, in a stream too."""
    conversation = (SYSTEM, RECALLED, CONFESSION, {"role": "assistant", "content": "When is it due?"}, HELLO)
    for stream in (False, True):
        name = f"parts-{stream}"
        answer = diary.ask(*conversation, stream=stream, request_id=name)
        assert answer.status_code == 200
        assert answer.headers["x-bondhu-degraded"] == "withheld=health,memory"
        assert answer.headers["x-bondhu-model"].startswith("gemini;")
        sent = json.dumps(gemini.requests[-1].body)
        assert "What shall we cook?" in sent
        assert "You are a friend." in sent
        for private in ("cats", "pregnant", "due", "bondhu"):
            assert private not in sent
        assert diary.row(name)["outcome"] == "degraded"
        assert diary.audited(name)["withheld"] == ["health", "memory"]


def test_with_consent_of_key_and_person_everything_is_sent(clinic: Client, gemini: GeminiServer) -> None:
    """The audit names the classes that left; the person's lesser consent is enough to keep them in."""
    clinic.consent("kim", allow_external=True, allow_sensitive=True)
    answer = clinic.ask(SYSTEM, RECALLED, CONFESSION, user="kim", request_id="kim-1")
    assert answer.status_code == 200
    assert "x-bondhu-degraded" not in answer.headers
    sent = json.dumps(gemini.requests[-1].body)
    assert "pregnant" in sent
    assert "cats" in sent
    assert clinic.row("kim-1")["outcome"] == "ok"
    assert clinic.audited("kim-1")["private"] == ["health", "memory"]
    clinic.consent("leo", allow_external=True)
    assert clinic.ask(CONFESSION, user="leo").headers["x-bondhu-degraded"] == "unanswered; withheld=health"


@pytest.mark.parametrize("stream", [False, True])
def test_a_private_question_gets_an_honest_answer(diary: Client, gemini: GeminiServer, stream: bool) -> None:
    """A completion that says that it cannot answer, from no model, free, and on record as degraded."""
    before, name = len(gemini.requests), f"private-{stream}"
    answer = diary.ask(SYSTEM, CONFESSION, stream=stream, request_id=name)
    assert answer.status_code == 200
    assert answer.headers["x-bondhu-model"] == "bondhu-degraded"
    assert answer.headers["x-bondhu-degraded"] == "unanswered; withheld=health"
    if stream:
        events = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
        assert events[-1] == "[DONE]"
        chunks = [json.loads(event) for event in events[:-1]]
        text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    else:
        text = text_of(answer)
        assert answer.json()["choices"][0]["finish_reason"] == "stop"
        assert answer.json()["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert "can't give you a proper answer" in text
    assert len(gemini.requests) == before
    row = diary.row(name)
    assert (row["outcome"], row["error_code"], row["model"], row["cost_microusd"]) == ("degraded", "withheld", None, 0)


def test_who_speaks_of_dying_is_told_where_help_is(diary: Client) -> None:
    """Not the text that everybody gets."""
    text = text_of(diary.ask(SYSTEM, CRISIS))
    assert "crisis line" in text
    assert "repaired" not in text


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        {"response_format": {"type": "json_object"}},
        {"n": 2},
    ],
)
def test_a_program_gets_the_error(diary: Client, fields: Json) -> None:
    """Who expects a tool call, JSON, or several choices cannot use a sentence."""
    refused = diary.ask(CONFESSION, **fields)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "model_not_ready"


def test_an_error_of_the_model_outside_stays_an_error(diary: Client, gemini: GeminiServer) -> None:
    """The honest answer is for what consent forbids, not for whatever goes wrong."""
    gemini.script(broken())
    failed = diary.ask(SYSTEM, RECALLED, HELLO)
    assert failed.status_code in (502, 503)
    assert "x-bondhu-degraded" not in failed.headers


def test_a_mistyped_mark_is_refused(diary: Client) -> None:
    """The client is told which field."""
    refused = diary.ask({**HELLO, "bondhu": {"private": "memroy"}})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "messages.0.bondhu")


def test_a_consent_is_read_replaced_and_forgotten(clinic: Client, diary: Client) -> None:
    """What the person said and what holds with this key; names may hold slashes and any letters."""
    user = "team/Zoë"
    path = f"/api/v1/users/{user}/consent"
    never = clinic.send("GET", path).json()
    assert (never["user"], never["asked"], never["changed_at"]) == (user, False, None)
    stored = clinic.consent(user, allow_external=True, allow_sensitive=True).json()
    assert clinic.send("GET", path).json() == stored
    assert stored["holds"] == {"allow_external": True, "allow_sensitive": True}
    assert diary.send("GET", path).json()["asked"] is False
    body = {"model": "bondhu", "messages": [HELLO]}
    for named in (user, "team/Zo"):
        answer = clinic.send("POST", "/v1/chat/completions", body, **{"x-bondhu-user": named.encode()})
        assert answer.status_code == (200 if named == user else 503)
    assert clinic.send("DELETE", path).json() == never
    assert clinic.send("GET", path).json()["asked"] is False


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "allow_external"),
        ({"allow_external": "yes"}, "allow_external"),
        ({"allow_external": True, "allow_everything": True}, "allow_everything"),
        ({"allow_external": False, "allow_sensitive": True}, None),
        ([], None),
    ],
)
def test_an_unclear_consent_is_refused(diary: Client, body: Any, param: str | None) -> None:
    """Nothing is guessed."""
    refused = diary.send("PUT", "/api/v1/users/noor/consent", body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert diary.send("GET", "/api/v1/users/noor/consent").json()["asked"] is False


def test_embeddings_check_the_class(diary: Client) -> None:
    """An unknown class is refused there as everywhere."""
    body = {"model": "all-minilm-l6-v2", "input": "x"}
    refused = diary.send("POST", "/v1/embeddings", body, **{"x-bondhu-class": "vip"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "x-bondhu-class")


def test_applied_settings_reach_a_running_gateway(
    gateway: GatewayProcess, diary: Client, gemini: GeminiServer, tmp_path: Path
) -> None:
    """What the directory brings holds in every worker: consent, tiers, who stands in; nonsense changes nothing."""
    settings = load_settings(environ={"BONDHU_ROOT": str(ROOT), "BONDHU_VAR_DIR": str(tmp_path), **DEMO})
    routes: Json = dict(routing(settings))
    live = routes["live"]
    live["external"] = {"other": {"model": "gemini-2.5-flash", "base_url": gemini.url}}
    live["fallback"] = {"bondhu-demo": ["other"]}
    live["consent"]["app_covers_users"] = True
    live["tiers"]["standard"] = {"requests_per_minute": 5000}

    def answers() -> set[tuple[str, str]]:
        headers = [diary.ask(HELLO, user="never-asked").headers for _ in range(6)]
        return {(each.get("x-bondhu-model", "")[:6], each.get("x-ratelimit-limit-requests", "")) for each in headers}

    def said_by_workers(text: str) -> int:
        return gateway.log.read_text().count(text) - before.count(text)

    before = gateway.log.read_text()
    with Directory(gateway.ingress_port, routes) as directory:
        wait_for(lambda: said_by_workers("settings reloaded") == WORKERS, "every worker to take new settings")
        assert answers() == {("other;", "5000")}
        directory.routing = {**routes, "live": {**live, "tiers": "none"}}
        wait_for(lambda: said_by_workers("the applied settings are invalid") >= WORKERS, "every worker to say so")
    assert diary.ask(HELLO, user="never-asked").headers["x-bondhu-model"].startswith("other;")


DEMO = {"BONDHU__MODELS__ACTIVE": "bondhu-demo"}


class Directory:
    """The directory of engines, which knows none."""

    def __init__(self, port: int, routing: Json) -> None:
        self.routing = routing
        self._port = port
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> "Directory":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def _run(self) -> None:
        async def tell(_: web.Request) -> web.Response:
            return web.json_response({"routing": self.routing, "replicas": []})

        app = web.Application()
        app.router.add_get("/directory", tell)
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", self._port).start())
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
