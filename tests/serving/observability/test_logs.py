"""The log: one structured line a request, with its id, without secrets, names of people or prompts."""

import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.observability import logs, request_context
from serving.observability.log_format import parse, readable
from serving.observability.logs import PROMPTS, Redactor, UserHash
from serving.observability.request_context import Exchange
from tests.support.gateway_process import CLUSTER_KEY, ROOT, SCRAPE_TOKEN, GatewayProcess, free_port, wait_for

KEY = "bd-" + "k" * 43
WITH_A_BUG = """
from serving.gateway.app import create_app

def create():
    app = create_app()
    app.add_api_route("/bug", bug)
    return app

async def bug():
    raise LookupError("a bug")
"""


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Put the loggers back as they were."""
    names = (None, *logs.OWN, PROMPTS, "uvicorn", "uvicorn.error", "uvicorn.asgi")
    before = [(logger, logger.level, logger.handlers[:]) for logger in map(logging.getLogger, names)]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def set_up(level: Any = "info", format_: Any = "json", log_prompts: bool = False, secrets: Any = ()) -> io.StringIO:
    """Set logging up on a stream and return that."""
    stream = io.StringIO()
    logs.set_up(level=level, format_=format_, log_prompts=log_prompts, secrets=secrets, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the structured lines that were written."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_object_whatever_is_in_it() -> None:
    """Newlines, quotes, a lone surrogate and objects that JSON does not know stay inside their fields."""
    stream = set_up()
    log = logging.getLogger("serving.test")
    log.warning(
        'a "quoted"\nline \udce9', extra={"at": Path("x"), "nested": {"a": [1, datetime(2026, 1, 1, tzinfo=UTC)]}}
    )
    (line,) = lines(stream)
    assert line["message"] == 'a "quoted"\nline \\udce9'
    assert line["level"] == "WARNING"
    assert line["logger"] == "serving.test"
    assert datetime.fromisoformat(line["time"]).tzinfo is not None
    assert line["nested"] == {"a": [1, "2026-01-01 00:00:00+00:00"]}


def test_a_failure_keeps_its_trace_in_the_line() -> None:
    """Uvicorn's own errors take the same way."""
    stream = set_up()
    try:
        raise LookupError("nothing there")
    except LookupError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    (line,) = lines(stream)
    assert line["exception"].splitlines()[0].startswith("Traceback")
    assert line["exception"].splitlines()[-1] == "LookupError: nothing there"


def test_a_line_carries_the_ids_of_its_request() -> None:
    """For any logger; fields of the call do not replace them."""
    stream = set_up()
    token = request_context.current.set(Exchange("abc", "GET", "/", trace_id="4bf9"))
    logging.getLogger("serving.test").info("within", extra={"request_id": "another"})
    request_context.current.reset(token)
    logging.getLogger("serving.test").info("outside", extra={logs.FIELDS: {"name": "a name that logging keeps"}})
    within, outside = lines(stream)
    assert outside["name"] == "a name that logging keeps"
    assert (within["request_id"], within["trace_id"]) == ("abc", "4bf9")
    assert "request_id" not in outside


@pytest.mark.parametrize(
    "text",
    [
        f"the key {KEY} is unknown",
        f"headers: authorization: Bearer {KEY}",
        "redis://:hunter2hunter2@cache:6379/0 refused",
        "postgresql+asyncpg://bondhu:hunter2hunter2@db/bondhu",
        "cluster key hunter2hunter2.",
        "AIza" + "hunter2hunter2hunter2 was refused",
        "hf_hunter2hunter2hunter2",
    ],
)
def test_secrets_are_redacted_wherever_they_stand(text: str) -> None:
    """In the message, in fields at any depth, and in a trace."""
    stream = set_up(secrets={"hunter2hunter2.", "short"})
    log = logging.getLogger("serving.test")
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("it said: %s", text, extra={"deep": {"list": [text], text: 1}})
    assert "[redacted]" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
    assert "kkkk" not in stream.getvalue()


def test_ordinary_text_is_not_redacted() -> None:
    """A short secret is no reason to cut words out of messages, nor is an address without a password."""
    text = '{"a short walk": "http://engine:8000/v1/models", "to": "maya@example.org", "by": "task-0123456789abcdef0"}'
    assert Redactor({"short", ""})(text) == text


def test_secrets_are_found_by_their_names() -> None:
    """As the configuration names them."""
    environ = {"GEMINI_API_KEY": "a", "HF_TOKEN": "b", "MY_PASSWORD": "c", "PATH": "d", "KEYBOARD": "e"}
    assert logs.secrets_of(environ) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("level", "log_prompts", "is_logged"), [("debug", True, True), ("debug", False, False), ("info", True, False)]
)
def test_prompts_need_the_switch_and_the_level(level: str, log_prompts: bool, is_logged: bool) -> None:
    """One of the two is not enough."""
    stream = set_up(level, log_prompts=log_prompts)
    logging.getLogger(PROMPTS).debug("dear diary")
    assert ("dear diary" in stream.getvalue()) is is_logged


def test_other_libraries_do_not_log_what_they_send() -> None:
    """At debug, clients of other services log whole requests: theirs starts at warning, whatever ours is."""
    stream = set_up("debug")
    logging.getLogger("some.client").info("POST dear diary")
    logging.getLogger("some.client").warning("slow")
    logging.getLogger("serving.test").debug("ours")
    assert [line["message"] for line in lines(stream)] == ["slow", "ours"]


def test_a_person_has_one_name_in_the_log_and_it_is_not_theirs() -> None:
    """The same for the same person of an application; other keys and applications give others."""
    name = UserHash("key")
    assert re.fullmatch("[0-9a-f]{16}", name("shop", "maya"))
    assert name("shop", "maya") == UserHash("key")("shop", "maya")
    assert (
        len({name("shop", "maya"), name("blog", "maya"), UserHash("other")("shop", "maya"), name("shop", "may")}) == 4
    )


def test_people_read_the_line_without_json() -> None:
    """Level, logger, message, then the rest; nothing that a client sent can move the cursor or forge a line."""
    stream = set_up(format_="text")
    logging.getLogger("serving.test").warning("GET /\x1b[2Jx\nforged", extra={"status": 404, "took_s": 0.123456})
    (line,) = stream.getvalue().splitlines()
    assert "WARNING serving.test  GET /\\x1b[2Jx\\x0aforged  status=404  took_s=0.1235" in line


def test_what_is_no_structured_line_is_none() -> None:
    """Ray's, vLLM's and Python's own lines are left as they are."""
    for line in ("", "plain", "{not json", '{"a": 1}', "[]", '{"time"'):
        assert parse(line) is None


def test_reading_a_line_keeps_its_trace_readable() -> None:
    """On lines of its own."""
    fields = {"time": "2026-01-01T00:00:00+00:00", "level": "ERROR", "logger": "a", "message": "b", "exception": "x\ny"}
    assert readable(fields, coloured=False).endswith("ERROR   a  b\nx\ny")
    assert readable(fields, coloured=True).count("\x1b") == 2


def test_the_gateway_writes_a_line_for_each_request(tmp_path: Path) -> None:
    """With id, status, duration and application; no query, no key; probes only at debug."""
    with GatewayProcess(tmp_path) as gateway:
        secret = gateway.make_key("shop")
        gateway.get("/v1/models?secret=dear-diary", secret, **{"x-request-id": "mine-1"})
        gateway.get("/v1/models/nothing", secret, **{"x-request-id": "mine-2"})
        gateway.get(f"/nothing/{secret}")
        gateway.get("/health")
        gateway.get("/metrics", SCRAPE_TOKEN)
        gateway.stop()
        written = gateway.log.read_text()
    seen = [json.loads(line) for line in written.splitlines()]
    access = [line for line in seen if line["logger"] == "bondhu.access"]
    assert [(line["route"], line["status"]) for line in access] == [
        ("/v1/models", 200),
        ("/v1/models/{model:path}", 404),
        ("(no route)", 404),
    ]
    assert [line["request_id"] for line in access[:2]] == ["mine-1", "mine-2"]
    assert [line.get("app") for line in access] == ["shop", "shop", None]
    assert all(line["duration_s"] > 0 for line in access)
    for hidden in (secret, SCRAPE_TOKEN, CLUSTER_KEY, "dear-diary"):
        assert hidden not in written


def test_a_bug_is_found_by_the_id_that_its_client_got(tmp_path: Path) -> None:
    """The server logs the trace as a structured line with the request's id; the client sees the id and no trace."""
    port = free_port()
    (tmp_path / "with_a_bug.py").write_text(WITH_A_BUG)
    own = {"BONDHU_ROOT": str(ROOT), "BONDHU_VAR_DIR": str(tmp_path), "BONDHU_CLUSTER_KEY": CLUSTER_KEY}
    with (tmp_path / "log").open("w") as log:
        flags = ("--factory", "--no-access-log", "--log-level=warning", f"--port={port}", f"--app-dir={tmp_path}")
        command = [sys.executable, "-m", "uvicorn", "with_a_bug:create", *flags]
        server = subprocess.Popen(command, env={**os.environ, **own}, cwd=ROOT, stderr=log)
    try:
        wait_for(lambda: is_open(port), "the server to listen")
        answer = httpx.get(f"http://127.0.0.1:{port}/bug")
    finally:
        server.terminate()
        server.wait()
    assert answer.status_code == 500
    assert "LookupError" not in answer.text
    seen = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    mine = [line for line in seen if line.get("request_id") == answer.headers["x-request-id"]]
    (access,) = [line for line in mine if line["logger"] == "bondhu.access"]
    (trace,) = [line for line in mine if line["logger"] == "uvicorn.error"]
    assert access["status"] == 500
    assert trace["exception"].endswith("LookupError: a bug")


def is_open(port: int) -> bool:
    """Whether something accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_logs_are_shown_to_people_and_raw_to_programs(tmp_path: Path) -> None:
    """`bondhu logs` reads structured lines and leaves others; `--json` changes nothing."""
    folder = tmp_path / "var/logs"
    folder.mkdir(parents=True)
    structured = json.dumps(
        {"time": "2026-01-01T00:00:00+00:00", "level": "INFO", "logger": "a", "message": "b", "n": 1}
    )
    (folder / "gateway.log").write_text(f"plain\n{structured}\n")
    environ = {**os.environ, "BONDHU_ROOT": str(ROOT), "BONDHU_VAR_DIR": str(tmp_path / "var")}

    def shown(*options: str) -> list[str]:
        command = [sys.executable, "-m", "serving.cli", "logs", "gateway", *options]
        done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert shown("--json") == ["plain", structured]
    plain, line = shown()
    assert plain == "plain"
    assert line.endswith("INFO    a  b  n=1")
