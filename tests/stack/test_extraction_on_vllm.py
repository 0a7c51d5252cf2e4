"""Memories out of what was said, on a real stack, with a model that is too small to be trusted."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.config import addresses
from serving.config.load import load_settings
from serving.config.schema import ExtractionSettings
from tests.support.databases.redis_process import RedisProcess
from tests.support.local_stack import REPOSITORY, LocalStack
from tests.support.polling import eventually

USER = {"x-bondhu-user": "extracted"}
TURNS = ["I moved to Oslo last spring.", "My sister plays the cello.", "I am allergic to nuts."]


def jobs(stack: LocalStack) -> list[dict[str, Any]]:
    """Return the person's jobs."""
    listed = stack.bondhu("jobs", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    return [each for each in json.loads(listed.stdout) if each["end_user"] == USER["x-bondhu-user"]]


@pytest.fixture
def extracting(stack: LocalStack, tmp_path: Path, redis_process: RedisProcess) -> Iterator[None]:
    """Run a worker that extracts beside the stack's own, which may not; jobs are in SQL, messages in its own Redis."""
    settings = load_settings(environ=stack.env)
    made = stack.bondhu("keys", "create", "--app", "bondhu", "--json")
    assert made.returncode == 0, made.stderr
    plan = ExtractionSettings(model="bondhu", idle_s=0, every_s=1, answer_tokens=128).model_dump()
    environ = {
        **stack.env,
        "BONDHU_REDIS_URL": redis_process.url,
        "BONDHU_DATABASE_URL": addresses.database_url(settings),
        "BONDHU_EXTRACTION": json.dumps({**plan, "base_url": stack.url, "embedder": settings.embedder.id}),
        "BONDHU_JOBS_KEY": json.loads(made.stdout)["key"],
    }
    command = [sys.executable, "-m", "jobs.worker", "--schedule", str(tmp_path / "beat")]
    worker = subprocess.Popen(command, env=environ, cwd=REPOSITORY)
    yield
    worker.terminate()
    assert worker.wait(60) == 0


@pytest.mark.usefixtures("extracting")
def test_a_job_reads_what_was_said_and_keeps_only_what_it_can_quote(stack: LocalStack, http: httpx.Client) -> None:
    """The engine holds its answer to the schema; whatever it says, each memory has a quote, and the turns stay."""
    messages = [
        {"external_id": str(number), "speaker": "user", "text": text, "said_at": f"2026-01-01T12:0{number}:00Z"}
        for number, text in enumerate(TURNS)
    ]
    body = {"external_id": "talk", "messages": messages}
    assert http.post("/api/v1/conversations", json=body, headers=USER).status_code == 200
    eventually(lambda: [each["state"] for each in jobs(stack)] == ["done"], 120, "the job to be done")
    (job,) = jobs(stack)
    assert (job["attempts"], job["error"]) in ((1, None), (1, "unreadable"))
    for memory in http.get("/api/v1/memories", headers=USER).json()["data"]:
        assert any(memory["quote"] in text for text in TURNS)
    found = http.post("/api/v1/recall", json={"query": "Where did I move to?"}, headers=USER).json()["data"]
    assert TURNS[0] in [each["item"]["text"] for each in found]
