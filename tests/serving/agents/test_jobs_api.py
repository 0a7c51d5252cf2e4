"""Jobs over HTTP: asked for, looked at, cancelled, and nobody else's."""

from typing import Any

import pytest

from tests.serving.agents.test_agents_and_people import Person, person
from tests.support.gateway_process import GatewayProcess
from tests.support.servers.engine import EngineServer

__all__ = ["person"]


def error(answer: Any) -> tuple[int, str | None, str]:
    """Return status, parameter and message of a refusal."""
    body = answer.json()["error"]
    return answer.status_code, body["param"], body["message"]


def test_a_job_is_asked_for_once_and_cancelled(person: Person, gateway: GatewayProcess, key: str) -> None:
    """The second time the same is shown; another person sees nothing of it; cancelled, it can be asked for anew."""
    person.say("something about space", "bondhu/video")
    wanted = {"kind": "videos", "params": {"topics": ["space"]}}
    answer = person.ask("POST", "/api/v1/jobs", wanted)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["state"], job["priority"], job["progress"]) == ("queued", "high", {"done": 0, "of": 0})
    assert job["params"] == {"topics": ["space"], "languages": [], "minutes": 0}
    again = person.ask("POST", "/api/v1/jobs", wanted)
    assert (again.status_code, again.json()["id"]) == (200, job["id"])
    assert [each["id"] for each in person.ask("GET", "/api/v1/jobs?state=queued").json()["data"]] == [job["id"]]
    stranger = Person(gateway, key, "a stranger to jobs")
    path = f"/api/v1/jobs/{job['id']}"
    for method, of in (("GET", path), ("POST", f"{path}/cancel")):
        assert stranger.ask(method, of).json()["error"]["code"] == "job_not_found"
    assert stranger.ask("GET", "/api/v1/jobs").json()["data"] == []
    assert person.ask("GET", path).json()["state"] == "queued"
    assert person.ask("POST", f"{path}/cancel").json()["state"] == "cancelled"
    assert person.ask("POST", "/api/v1/jobs", wanted).status_code == 202


def test_wrong_jobs_are_named(person: Person, engine: EngineServer) -> None:
    """The kind with those that there are, the parameter, and whose it may be."""
    status, param, message = error(person.ask("POST", "/api/v1/jobs", {"kind": "fly"}))
    assert (status, param) == (400, "kind")
    assert "expire_videos, extract" in message
    found = error(person.ask("POST", "/api/v1/jobs", {"kind": "videos", "params": {"minutes": -1}}))
    assert found[:2] == (400, "params.minutes")
    assert error(person.ask("POST", "/api/v1/jobs", {"kind": "playlists"}))[:2] == (400, "kind")
    assert error(person.ask("POST", "/api/v1/jobs", {"kind": "stats"}))[0] == 403


@pytest.mark.parametrize("kind", ["stats", "retention"])
def test_the_services_jobs_are_an_admins(gateway: GatewayProcess, engine: EngineServer, kind: str) -> None:
    """They are nobody's in particular."""
    admin = Person(gateway, gateway.make_key("operators", tier="admin"), "")
    job = admin.ask("POST", "/api/v1/jobs", {"kind": kind}).json()
    assert admin.ask("GET", f"/api/v1/jobs?kind={kind}").json()["data"][0]["id"] == job["id"]
    assert admin.ask("POST", f"/api/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
