"""What the service says of itself, and to whom: logs name no people, strangers get no reasons, processes no secrets."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from serving.config.credentials import Secrets
from serving.config.load import load_settings
from serving.privacy.audit_log import AuditLog
from serving.supervisor.processes import components, environment, without_secrets
from tests.support.gateway_process import ROOT, SCRAPE_TOKEN, GatewayProcess, make_key

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_no_log_line_names_a_person(tmp_path: Path) -> None:
    """Not by path, not in an error; a user is a hash that is the same wherever they appear."""
    with GatewayProcess(tmp_path) as gateway:
        key = make_key(gateway.database_url, "diary", tier="admin")
        headers = {"authorization": f"Bearer {key}", "x-bondhu-user": "maya-quetzal"}
        for path in (
            "/api/v1/users/maya-quetzal/consent",
            "/api/v1/messages/maya-quetzal/why",
            "/maya-quetzal",
            "/api/v1/export",
        ):
            httpx.get(gateway.url + path, headers=headers)
        gateway.stop()
        written = gateway.log.read_text()
    assert "quetzal" not in written
    lines = [json.loads(line) for line in written.splitlines() if '"bondhu.access"' in line]
    assert [line["route"] for line in lines] == [
        "/api/v1/users/{user:path}/consent",
        "/api/v1/messages/{message}/why",
        "(no route)",
        "/api/v1/export",
    ]
    hashes = {line["user"] for line in lines if "user" in line}
    assert len(hashes) == 1


def test_reasons_are_for_who_runs_the_service(tmp_path: Path) -> None:
    """A stranger, and a key that is no operator's, learn what is ready and not why it is not."""
    with GatewayProcess(tmp_path) as gateway:
        ordinary, admin = (make_key(gateway.database_url, "one", tier=tier) for tier in ("standard", "admin"))
        for secret in (None, "bd-wrong", ordinary):
            answer = gateway.get("/ready", secret)
            assert answer.status_code == 503
            assert answer.json()["ready"] is False
            assert "reason" not in answer.text
        for secret in (SCRAPE_TOKEN, admin):
            assert gateway.get("/ready", secret).json()["directory"]["reason"]


@pytest.mark.parametrize("shown", [True, False])
def test_the_documentation_can_be_switched_off(tmp_path: Path, *, shown: bool) -> None:
    """With its pages, and the document that they show."""
    with GatewayProcess(tmp_path, BONDHU__GATEWAY__DOCS=json.dumps(shown)) as gateway:
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert gateway.get(path).status_code == (200 if shown else 404)


def test_a_process_gets_its_own_secrets_only(tmp_path: Path) -> None:
    """Redis none, Ray's workers no database, the gateway no token of Ray's; what is no secret everybody gets."""
    environ = {
        "BONDHU_ROOT": str(ROOT),
        "BONDHU_VAR_DIR": str(tmp_path),
        "DATABASE_URL": "postgresql://u:the-db@h/d",
        "GEMINI_API_KEY": "the-gemini",
        "OPENAI_API_KEY": "the-openai",
        "HF_TOKEN": "the-hub",
        "LANG": "C",
    }
    settings = load_settings(environ=environ)
    whole = environment(settings, Secrets("the-ray", "the-cluster", "the-scrape", "the-jobs"), environ)
    seen = {}
    for name in (*(part.name for part in components(settings)), "apply"):
        part = without_secrets(whole, name)
        assert part["LANG"] == "C"
        seen[name] = {
            each
            for each in ("ray", "cluster", "scrape", "jobs", "db", "gemini", "openai", "hub")
            if any(f"the-{each}" in value for value in part.values())
        }
    assert seen == {
        "redis": set(),
        "ray": {"ray", "cluster", "hub"},
        "apply": {"ray", "cluster", "hub", "db"},
        "worker": {"cluster", "jobs", "db"},
        "gateway": {"cluster", "scrape", "db", "gemini"},
    }


def test_the_audit_log_is_its_own_and_kept_for_its_own_time(tmp_path: Path) -> None:
    """A file a day that only its user can read; a day too old goes, and nothing else does."""
    times = iter([DAY, DAY, DAY + timedelta(days=1), DAY + timedelta(days=31)])
    log = AuditLog(tmp_path / "audit", keep_days=30, now=lambda: next(times))
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/notes.txt").write_text("mine")
    for number in range(3):
        log.write({"number": number})
    files = sorted((tmp_path / "audit").glob("*.jsonl"))
    assert [file.name for file in files] == ["audit-2026-03-01.jsonl", "audit-2026-03-02.jsonl"]
    assert [json.loads(line)["number"] for line in files[0].read_text().splitlines()] == [0, 1]
    assert files[0].stat().st_mode & 0o077 == 0
    log.write({"number": 3})
    assert sorted(file.name for file in (tmp_path / "audit").iterdir()) == [
        "audit-2026-03-02.jsonl",
        "audit-2026-04-01.jsonl",
        "notes.txt",
    ]


def test_what_cannot_be_audited_is_an_error(tmp_path: Path) -> None:
    """So that the auditor does not."""
    (tmp_path / "audit").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="audit"):
        AuditLog(tmp_path / "audit", keep_days=1).write({})
