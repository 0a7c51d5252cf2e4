"""A real Prometheus and Alertmanager watch a gateway: panels have data, a real fault reaches a webhook."""

import http.server
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy

from storage.tables import Request
from tests.support.dashboard import draw, has_data, panels
from tests.support.faults.edges import TIER_NAME, with_gemini
from tests.support.gateway_process import DEADLINE_S, SCRAPE_TOKEN, GatewayProcess, free_port
from tests.support.polling import eventually
from tests.support.prometheus import ROOT, Prometheus
from tests.support.servers.engine import MODEL, EngineServer
from tests.support.servers.gemini import GeminiServer

RULES = ROOT / "deploy/prometheus/alerts.yaml"
PICTURE = ROOT / "docs/images/dashboard.png"
INTERVAL = "30s"
LOAD_S = 60.0


def target(gateway: GatewayProcess) -> str:
    """Return what Prometheus scrapes."""
    return gateway.url.removeprefix("http://")


class Load:
    """What applications do: chats, streams, memory, what is refused, what is wrong."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._url = gateway.url
        self._key = gateway.make_key("shop", tier="admin", memory=True, allow_external=True)
        self._plain = gateway.make_key("plain", tier="admin")
        self._limited = gateway.make_key("small", tier=TIER_NAME)

    def run(self, seconds: float) -> None:
        """Ask for so long."""
        deadline = time.monotonic() + seconds
        number = 0
        with httpx.Client(verify=False, timeout=DEADLINE_S) as client:
            while time.monotonic() < deadline:
                user = f"user{number % 5}"
                for stream in (True, False):
                    self._chat(client, self._key, user, number, stream=stream, seed=number % 3)
                self._chat(client, self._plain, user, number % 4, seed=1)
                self._chat(client, self._limited, user, number)
                self._chat(client, self._key, user, number, temperature=99)
                turn = {"external_id": f"m{number}", "speaker": "x", "text": "I like tea", "said_at": _now()}
                self._post(client, "/api/v1/conversations", user, {"external_id": f"c{number}", "messages": [turn]})
                self._post(client, "/api/v1/memories", user, {"text": f"Likes tea {number}"})
                self._post(client, "/api/v1/recall", user, {"query": "tea"})
                number += 1

    def allow_external(self) -> None:
        """Have everybody consent to a model outside."""
        headers = {"authorization": f"Bearer {self._key}"}
        body = {"allow_external": True, "allow_sensitive": False}
        with httpx.Client(verify=False, timeout=DEADLINE_S) as client:
            for number in range(5):
                client.put(f"{self._url}/api/v1/users/user{number}/consent", headers=headers, json=body)

    def _chat(self, client: httpx.Client, key: str, user: str, number: int, **body: Any) -> None:
        content = f"Hello {number}"
        whole = {
            "model": MODEL,
            "messages": [{"role": "user", "content": content}],
            "user": user,
            "max_tokens": 4,
            **body,
        }
        with suppress(httpx.TransportError):
            client.post(
                f"{self._url}/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, json=whole
            ).read()

    def _post(self, client: httpx.Client, path: str, user: str, body: dict[str, Any]) -> None:
        headers = {"authorization": f"Bearer {self._key}", "x-bondhu-user": user}
        client.post(self._url + path, headers=headers, json=body)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def add_request_of_last_week(gateway: GatewayProcess) -> None:
    """Put a request into the ledger that somebody made ten days ago who comes again."""
    engine = sqlalchemy.create_engine(gateway.database_url.replace("+aiosqlite", ""))
    then = datetime.now(UTC) - timedelta(days=10)
    row = {
        "id": "old",
        "request_id": "old",
        "app": "shop",
        "end_user": "user1",
        "key_id": "k",
        "class": "interactive",
        "endpoint": "/v1/chat/completions",
        "segments": [],
        "tokens_reserved": 0,
        "prompt_tokens": 0,
        "cached_tokens": 0,
        "completion_tokens": 0,
        "outcome": "ok",
        "started_at": then,
        "day": then.date(),
        "cost_microusd": 0,
    }
    with engine.begin() as connection:
        connection.execute(sqlalchemy.insert(Request.__table__), [row])
    engine.dispose()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_panel_has_data_from_a_service_under_load(tmp_path: Path) -> None:
    """Each query of the dashboard returns a number; all of it is drawn."""
    with GeminiServer() as gemini:
        environ = with_gemini(gemini, requests_per_minute=10)
        gateway = GatewayProcess(tmp_path, workers=2, BONDHU__EMBEDDER__ENABLED="false", **environ)
        prometheus = Prometheus(tmp_path / "prometheus", [target(gateway)], SCRAPE_TOKEN, rules=RULES)
        with gateway, prometheus:
            add_request_of_last_week(gateway)
            began = time.time()
            load = Load(gateway)
            with EngineServer(gateway.ingress_port):
                gateway.until_ready(MODEL)
                load.allow_external()
                load.run(LOAD_S)
                time.sleep(2)
                with_engine = empty_queries(prometheus)
            load.run(10)  # no engine any more: another answers, or nobody
            time.sleep(2)
            assert [each for each in with_engine if each in empty_queries(prometheus)] == []
            file = PICTURE if os.environ.get("WRITE_DOCS") else tmp_path / "dashboard.png"
            draw(prometheus, began, time.time(), INTERVAL, file)
            assert file.stat().st_size > 50_000


def empty_queries(prometheus: Prometheus) -> list[tuple[str, str]]:
    """Return panels and queries that return no number now."""
    found = ((panel.title, query) for panel in panels(INTERVAL) for query, _ in panel.queries)
    return [(title, query) for title, query in found if not has_data(prometheus, query)]


class Hook:
    """A webhook that keeps what Alertmanager sends."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Keep it."""
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.alerts += json.loads(body)["alerts"]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    @contextmanager
    def running(self) -> Iterator["Hook"]:
        """Listen."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()

    def has(self, alert: str, status: str) -> bool:
        """Whether such an alert came."""
        return any(each["labels"]["alertname"] == alert and each["status"] == status for each in self.alerts)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_fault_reaches_a_webhook_and_its_end_too(tmp_path: Path) -> None:
    """Redis dies under a gateway that is watched by the rules as shipped, and comes back; then the gateway dies."""
    gateway = GatewayProcess(tmp_path, BONDHU__EMBEDDER__ENABLED="false")
    with (
        EngineServer(gateway.ingress_port),
        gateway,
        Hook().running() as hook,
        Prometheus(tmp_path / "prometheus", [target(gateway)], SCRAPE_TOKEN, rules=RULES, webhook=hook.url, every_s=5),
    ):
        gateway.redis.kill()
        eventually(lambda: hook.has("DependencyDown", "firing"), 240, "DependencyDown to fire")
        page = next(each for each in hook.alerts if each["labels"]["alertname"] == "DependencyDown")
        assert page["labels"]["severity"] == "page"
        assert "redis does not answer" in page["annotations"]["summary"]
        gateway.redis.start()
        eventually(lambda: hook.has("DependencyDown", "resolved"), 240, "DependencyDown to end")
        gateway.kill()
        eventually(lambda: hook.has("GatewayDown", "firing"), 240, "GatewayDown to fire")
