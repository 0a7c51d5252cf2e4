"""No route is without limits: what a tier counts, a throttle of its own, or a reason that stands here."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.routing import BaseRoute, Route

from serving.gateway.app import create_app
from serving.routes.counted import LOOKUPS_AT_ONCE
from tests.security.requests.fuzz_cases import HELLO, bodies
from tests.support.gateway_process import DEADLINE_S, GatewayProcess, wait_for
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.engine import MODEL, EngineServer

EMBEDDER = "all-minilm-l6-v2"
LIMIT = 3
TIERS = {"few": {"requests_per_minute": LIMIT}, "any": {}}
# Open to everybody, and cost a few microseconds or a file that is in memory.
NO_LIMITS = {
    "GET /health": "the supervisor's question",
    "GET /ready": "the load balancer's question",
    "GET /openapi.json": "made once",
    "GET /docs": "a text",
    "GET /docs/oauth2-redirect": "a text",
    "GET /redoc": "a text",
    "GET /": "a file in memory",
    "GET /web/{name}": "a file in memory",
    "GET /metrics": "for the scrape token and administrators only",
    "GET /api/v1/health/report": "for the scrape token and administrators only",
}
LOOK_UPS = {
    "GET /v1/models",
    "GET /v1/models/{model:path}",
    "GET /v1/usage/{request_id}",
    "GET /api/v1/users/{user:path}/consent",
    "GET /api/v1/agents",
    "GET /api/v1/chat/health",
}
BY_ADDRESS = {"POST /api/v1/sign-in", "GET /api/v1/services/{service}/callback"}


def routes() -> list[str]:
    """Every method and path that the application answers, the undocumented ones too."""
    found = []
    for route in _flat(create_app().routes):
        assert isinstance(route, Route), f"{route}: look at what limits it"
        found += [f"{method} {route.path}" for method in sorted((route.methods or set()) - {"HEAD"})]
    return found


def _flat(some: list[BaseRoute]) -> Iterator[BaseRoute]:
    for route in some:
        yield from _flat(list(route.routes)) if getattr(route, "routes", None) else [route]


def target(route: str) -> tuple[str, str]:
    """Method and URL, with something in the path's places."""
    method, path = route.split(" ")
    return method, re.sub(r"\{(\w+)[^}]*\}", lambda match: "games" if match[1] == "agent" else "x", path) + "?user=maya"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with a scripted engine and embedder."""
    environ = {"BONDHU__TIERS": json.dumps(TIERS), "BONDHU__EMBEDDER__DIMENSIONS": str(DIMENSIONS)}
    gateway = GatewayProcess(tmp_path_factory.mktemp("gateway"), **environ)
    with EngineServer(gateway.ingress_port, embeds=True), gateway:
        wait_for(lambda: gateway.get("/ready").status_code == 200, "the gateway to be ready")
        yield gateway


def client_of(gateway: GatewayProcess, app: str, tier: str) -> httpx.Client:
    """A client of an application of its own."""
    headers = {"authorization": f"Bearer {gateway.make_key(app, tier=tier)}"}
    return httpx.Client(base_url=gateway.url, headers=headers, timeout=DEADLINE_S)


def body_of(route: str, wrong: bool = False) -> dict[str, Any]:
    """A body that is taken, or one that is refused; none where none is read."""
    valid = bodies(MODEL, EMBEDDER).get(re.sub(r":\w+", "", route)) or bodies(MODEL, EMBEDDER).get(route)
    if valid is None:
        return {}
    return {"content": b'{"nonsense": 1}' if wrong else json.dumps(valid).encode()}


COUNTED = [each for each in routes() if each not in NO_LIMITS and each not in LOOK_UPS and each not in BY_ADDRESS]


def test_what_has_other_limits_exists() -> None:
    """The lists above name no route that has gone."""
    assert {*NO_LIMITS, *LOOK_UPS, *BY_ADDRESS} <= set(routes())
    assert len(COUNTED) > 20


@pytest.mark.parametrize("route", COUNTED)
def test_a_route_counts_in_its_tiers_limits(gateway: GatewayProcess, route: str) -> None:
    """Whether it answers or refuses; when they are used up it is 429."""
    method, url = target(route)
    for wrong in (False, True):
        with client_of(gateway, f"{route} {wrong}", "few") as client:
            statuses = [client.request(method, url, **body_of(route, wrong)).status_code for _ in range(LIMIT + 1)]
        assert statuses[-1] == 429, statuses
        assert 429 not in statuses[: LIMIT // 2], statuses
        assert max(statuses) < 500, statuses


@pytest.mark.parametrize("route", sorted(LOOK_UPS))
def test_a_look_up_has_a_throttle_and_takes_none_of_the_limits(gateway: GatewayProcess, route: str) -> None:
    """More often than a tier's limit, and not for ever."""
    method, url = target(route)
    with client_of(gateway, f"{route} looks", "few") as client:
        statuses = [client.request(method, url).status_code for _ in range(2 * LIMIT)]
        assert 429 not in statuses
        chat = {"model": MODEL, "messages": HELLO}
        assert client.post("/v1/chat/completions", json=chat).status_code == 200
        for _ in range(20 * LOOKUPS_AT_ONCE):
            answer = client.request(method, url)
            if answer.status_code == 429:
                break
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert client.post("/v1/chat/completions", json=chat).status_code == 200, "nor is a chat kept out by it"


def test_codes_of_links_are_guessed_slowly(gateway: GatewayProcess) -> None:
    """By address, as keys are."""
    with httpx.Client(base_url=gateway.url, timeout=DEADLINE_S) as stranger:
        statuses = [
            stranger.post("/api/v1/sign-in", headers={"authorization": f"once guess{number}"}).status_code
            for number in range(150)
        ]
    assert statuses[:10] == [401] * 10
    assert statuses[-1] == 429
