"""`bondhu doctor` and GET /api/v1/health/report on a gateway that runs: each finding is provoked."""

import concurrent.futures
import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from typer.testing import CliRunner

from serving.cli.main import app
from serving.supervisor import health_check
from storage import migrate
from tests.support.certificates import make_certificate
from tests.support.faketime import find_faketime, without_leftovers
from tests.support.gateway_process import DEADLINE_S, SCRAPE_TOKEN, GatewayProcess, free_port
from tests.support.polling import eventually
from tests.support.servers.engine import MODEL, EngineServer

LATER = {"BONDHU__DOCTOR__WINDOW_S": "600", "BONDHU__DOCTOR__SAMPLE_S": "0.2"}
Finding = dict[str, Any]


class Patient:
    """A gateway, its engine, and what it says of itself."""

    def __init__(self, gateway: GatewayProcess, engine: EngineServer, folder: Path) -> None:
        self.gateway = gateway
        self.engine = engine
        self.folder = folder
        self.key = gateway.make_key("shop", tier="admin", memory=True)
        self.redis = Redis.from_url(gateway.redis.url)

    def report(self) -> dict[str, Any]:
        """Return what it says."""
        answer = self.gateway.get("/api/v1/health/report", SCRAPE_TOKEN)
        assert answer.status_code == 200, answer.text
        report: dict[str, Any] = answer.json()
        return report

    def finding(self, code: str, level: str) -> Finding:
        """Wait for a finding at this level."""

        def look() -> Finding | None:
            found = self.report()["findings"]
            return next((each for each in found if (each["code"], each["level"]) == (code, level)), None)

        found = eventually(look, DEADLINE_S, f"{code} to be {level}")
        assert found is not None
        return found

    def advice(self, code: str) -> dict[str, str]:
        """Wait for advice; its four answers are there."""
        found = eventually(
            lambda: next((each for each in self.report()["advice"] if each["code"] == code), None), DEADLINE_S, code
        )
        assert found is not None
        assert all(found[part] for part in ("why", "how", "costs", "takes"))
        return found

    def consent(self, user: str) -> int:
        """Write a person's consent; return the status."""
        body = {"allow_external": True, "allow_sensitive": False}
        with httpx.Client(verify=False, timeout=DEADLINE_S) as client:
            headers = {"authorization": f"Bearer {self.key}"}
            return client.put(f"{self.gateway.url}/api/v1/users/{user}/consent", headers=headers, json=body).status_code

    def take_in(self, conversations: int) -> int:
        """Import a person's past of so many conversations; return the status."""
        document = {
            "conversations": [{"external_id": f"of {number}", "messages": []} for number in range(conversations)]
        }
        with httpx.Client(verify=False, timeout=DEADLINE_S) as client:
            headers = {"authorization": f"Bearer {self.key}", "x-bondhu-user": f"user{conversations}"}
            return client.post(f"{self.gateway.url}/api/v1/import", headers=headers, json=document).status_code

    def chat(self, **body: Any) -> int:
        """Ask something; return the status."""
        whole = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2, **body}
        with httpx.Client(verify=False, timeout=DEADLINE_S) as client:
            headers = {"authorization": f"Bearer {self.key}"}
            return client.post(f"{self.gateway.url}/v1/chat/completions", headers=headers, json=whole).status_code


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate that ends tomorrow."""
    return make_certificate(tmp_path_factory.mktemp("tls"))[0]


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Patient]:
    """Return one that is well, but for its certificate."""
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "backups").mkdir()
    settings = {
        **LATER,
        "BONDHU__EMBEDDER__ENABLED": "false",
        "BONDHU__DOCTOR__CERTIFICATES": json.dumps([str(certificate)]),
        "BONDHU__BACKUP__FOLDER": str(folder / "backups"),
    }
    gateway = GatewayProcess(folder, **settings)
    with EngineServer(gateway.ingress_port) as engine, gateway:
        patient = Patient(gateway, engine, folder)
        patient.finding("model", "healthy")
        yield patient


def test_the_report_is_the_operators(patient: Patient) -> None:
    """For the scrape token and keys of the tier admin; nobody else is told."""
    path = "/api/v1/health/report"
    assert patient.gateway.get(path).status_code == 401
    assert patient.gateway.get(path, patient.gateway.make_key("shop", tier="standard")).status_code == 403
    assert patient.gateway.get(path, patient.key).status_code == 200
    wanted = {"memory", "cpu", "disk", "latency", "errors", "redis", "database", "model", "clock"}
    eventually(
        lambda: wanted <= {finding["code"] for finding in patient.report()["findings"]},
        DEADLINE_S,
        "all to be looked at",
    )


def test_keys_and_certificates_that_expire_are_reported(patient: Patient) -> None:
    """Before they do, with what to do."""
    patient.gateway.make_key("late", expires_at=datetime.now(UTC) + timedelta(days=3))
    assert "late" in patient.finding("key", "warning")["says"]
    assert "tls" in patient.finding("certificate", "warning")["says"]
    assert "rotate" in patient.advice("key")["how"]
    assert patient.advice("certificate")["move"] == "repair"


def test_a_backup_that_is_missing_or_old_is_reported(patient: Patient) -> None:
    """None is critical, one of three days ago a warning, one of now is well."""
    patient.finding("backup", "critical")
    file = patient.folder / "backups/bondhu-20260101T000000.000000Z.tar.age"
    file.touch()
    three_days_ago = time.time() - 3 * 86_400
    os.utime(file, (three_days_ago, three_days_ago))
    patient.finding("backup", "warning")
    assert "bondhu backup" in patient.advice("backup")["how"]
    file.touch()
    os.utime(file)
    patient.finding("backup", "healthy")


def test_a_growing_queue_is_reported(patient: Patient) -> None:
    """By how much it grew."""
    patient.redis.rpush("bondhu:celery:jobs", *["task"] * 60)
    assert patient.finding("queue", "warning")["value"] == 60
    assert "worker.concurrency" in patient.advice("queue")["how"]
    patient.redis.delete("bondhu:celery:jobs")


def test_a_redis_that_evicts_keys_is_reported(patient: Patient) -> None:
    """Keys that it evicted, how full it is, and a policy that loses jobs."""
    used = int(patient.redis.info("memory")["used_memory"])
    patient.redis.config_set("maxmemory-policy", "volatile-lru")
    patient.redis.config_set("maxmemory", used + 2**20)
    for number in range(300):
        patient.redis.set(f"filler:{number}", bytes(20_000), ex=600)
    assert patient.finding("evictions", "warning")["value"] >= 100
    patient.finding("redis_memory", "critical")
    assert "maxmemory" in patient.advice("evictions")["how"]
    patient.redis.config_set("maxmemory", 0)
    patient.redis.config_set("maxmemory-policy", "allkeys-lru")
    patient.finding("eviction_policy", "critical")
    patient.redis.config_set("maxmemory-policy", "noeviction")


def test_a_process_that_dies_repeatedly_is_reported(patient: Patient) -> None:
    """As the supervisor writes it down."""
    state = patient.gateway.var_dir / "run/state.json"
    state.parent.mkdir(exist_ok=True)
    for restarts, level in ((0, None), (2, "warning"), (5, "critical")):
        written = {"worker": {"state": "running", "restarts": restarts, "pid": 1, "detail": ""}}
        state.write_text(json.dumps(written))
        if level is None:
            patient.report()
        else:
            assert "worker" in patient.finding("restarts", level)["says"]
    assert "bondhu logs" in patient.advice("restarts")["how"]
    now = time.time()
    times = {"state": "running", "restarts": 3, "pid": 1, "detail": "", "restarted_at": [now - 9999, now, now]}
    state.write_text(json.dumps({"gateway": times}))  # it was not there to see its own count rise
    assert "gateway was restarted 2 times" in patient.finding("restarts", "warning")["says"]


def test_a_blocked_event_loop_is_reported(patient: Patient) -> None:
    """Whatever blocks it: here the process is stopped for a moment."""
    patient.gateway.send(signal.SIGSTOP)
    time.sleep(0.8)
    patient.gateway.send(signal.SIGCONT)
    assert "py-spy" in patient.advice("blocking")["how"]


def test_a_container_is_healthy_while_its_models_generate(patient: Patient) -> None:
    """The health check of the images asks for that, not whether the process lives."""
    assert health_check.gateway(patient.gateway.url) is None
    patient.engine.reported = {"state": "starting", "reason": "its server ended"}
    why = eventually(lambda: health_check.gateway(patient.gateway.url), DEADLINE_S, "the engine to be missed")
    assert why is not None
    assert '"state":"starting"' in why
    assert patient.gateway.get("/health").status_code == 200
    patient.engine.reported = {}
    eventually(lambda: health_check.gateway(patient.gateway.url) is None, DEADLINE_S, "the engine to be back")


def test_slow_statements_are_reported(patient: Patient) -> None:
    """By name: here they wait for another writer's lock."""
    with sqlite3.connect(patient.gateway.var_dir / "bondhu.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            requests = [pool.submit(patient.consent, f"user{number}") for number in range(5)]
            time.sleep(1)
            other.execute("ROLLBACK")
            assert {each.result() for each in requests} == {200}
    assert "consents" in patient.advice("slow_queries")["why"]


def test_a_request_that_repeats_a_statement_is_reported(patient: Patient) -> None:
    """Here an import, which looks for each of its conversations; one of a few conversations is none."""
    assert patient.take_in(10) == 200
    assert "n_plus_one" not in {each["code"] for each in patient.report()["advice"]}
    assert patient.take_in(30) == 200
    advice = patient.advice("n_plus_one")
    assert advice["move"] == "optimise"
    assert "/api/v1/import repeats an SQL statement" in advice["why"]


def test_slow_answers_are_reported(patient: Patient) -> None:
    """By p95; the engine holds its answers for three seconds."""
    patient.engine.allow(0)
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        requests = [pool.submit(patient.chat, temperature=1, user=f"u{number}") for number in range(24)]
        eventually(lambda: len(patient.engine.requests) >= 24, DEADLINE_S, "all to be asked")
        time.sleep(3.2)
        patient.engine.allow(None)
        assert {each.result() for each in requests} == {200}
    found = eventually(
        lambda: [each for each in patient.report()["findings"] if each["code"] == "latency" and each["value"]],
        DEADLINE_S,
        "a quantile",
    )
    assert found[0]["level"] in ("watch", "warning")
    assert found[0]["value"] >= 3


def test_failing_requests_are_reported(tmp_path: Path) -> None:
    """And by which code most; a model that is away, and a cache that is off, are told too."""
    gateway = GatewayProcess(tmp_path, BONDHU__EMBEDDER__ENABLED="false", BONDHU__CACHE__ENABLED="false", **LATER)
    with gateway:
        engine = EngineServer(gateway.ingress_port)
        patient = Patient(gateway, engine, tmp_path)
        patient.report()
        assert {patient.chat() for _ in range(25)} == {503}
        assert "model_not_ready" in patient.finding("errors", "critical")["says"]
        patient.finding("model", "critical")
        assert patient.advice("model")["move"] == "repair"
        assert "cache: {enabled: true}" in patient.advice("cache_off")["how"]
        gateway.redis.kill()
        patient.finding("redis", "critical")
        for _ in range(5):
            patient.chat()
        assert "redis" in patient.finding("breaker", "warning")["says"]
        migrate.downgrade(gateway.database_url, "0013")
        assert "migrations" in patient.finding("database", "critical")["says"]
        moves = [each["move"] for each in patient.report()["advice"]]
        assert moves == sorted(moves, key=["repair", "optimise", "scale up", "scale out"].index)


def test_differing_clocks_are_reported(tmp_path: Path) -> None:
    """Redis' runs a minute and a half ahead."""
    ahead = {"LD_PRELOAD": str(find_faketime()), "FAKETIME": "+90s", "FAKETIME_NO_CACHE": "1"}
    with without_leftovers(), GatewayProcess(tmp_path, redis_environ=ahead, **LATER) as gateway:
        patient = Patient(gateway, EngineServer(gateway.ingress_port), tmp_path)
        assert patient.finding("clock", "critical")["value"] == pytest.approx(90, abs=5)


def test_the_command_says_the_same(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """For people and for programs, with an exit code for each status; without a gateway it is critical."""
    for name, value in patient.gateway.environ.items():
        if name.startswith("BONDHU"):
            monkeypatch.setenv(name, value)
    run = CliRunner().invoke(app, ["doctor", "--json"])
    report = json.loads(run.stdout)
    assert run.exit_code == {"healthy": 0, "warning": 6, "critical": 1}[report["status"]]
    assert {"memory", "redis"} <= {finding["code"] for finding in report["findings"]}
    assert "how " in CliRunner().invoke(app, ["doctor"]).stdout
    monkeypatch.setenv("BONDHU__GATEWAY__PORT", str(free_port()))
    away = CliRunner().invoke(app, ["doctor"])
    assert away.exit_code == 1
    assert "does not respond" in away.stdout
