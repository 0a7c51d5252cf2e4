"""Bodies that cost more than their bytes: counted before they are parsed, or read where nobody waits for it."""

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.document_reader import SMALL_BYTES, DocumentReader, WrongDocument
from memory.schemas import Document
from serving.errors import InvalidRequest
from serving.routes.json_values import GENERAL, MODELLED, check_values
from storage.memory import export
from storage.memory.export import ROWS_AT_ONCE
from storage.memory.memories import NoSuchMessage, NotVerbatim
from storage.memory.owner import Owner
from storage.memory.people import read_version
from tests.support.gateway_process import DEADLINE_S, GatewayProcess, wait_for
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.engine import MODEL, EngineServer

MAX_VALUES, MAX_CONTAINERS = GENERAL.values, GENERAL.containers
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = Owner("app", "ann")
Json = dict[str, Any]


def document(turns: int, memories: int = 0, **fields: Any) -> Json:
    """A person's past: one conversation, and memories that quote it."""
    messages = [
        {
            "id": f"t{number}",
            "external_id": f"m{number}",
            "speaker": "Ann",
            "text": f"Turn {number} of many",
            "said_at": (NOW + timedelta(minutes=number)).isoformat(),
        }
        for number in range(turns)
    ]
    quoting = [
        {"id": f"q{number}", "text": f"It is so {number}", "quote": f"Turn {number}", "created_at": NOW.isoformat()}
        | {"message_id": f"t{number}"}
        for number in range(memories)
    ]
    conversations = [{"external_id": "c", "messages": messages}, {"external_id": "empty", "messages": []}]
    return {"schema_version": 2, "conversations": conversations, "memories": quoting} | fields


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * MAX_CONTAINERS + b"[]]",
        b"[" + b"{}," * MAX_CONTAINERS + b"{}]",
        b"[" + b"1," * MAX_VALUES + b"1]",
        b'["' + b'","' * MAX_VALUES + b'"]',
        b'""' * 4 * MAX_VALUES + b"," * MAX_VALUES,
    ],
    ids=["arrays", "objects", "numbers", "texts", "no JSON"],
)
async def test_a_body_of_too_many_values_is_not_parsed(body: bytes) -> None:
    """Whatever they are."""
    with pytest.raises(InvalidRequest, match="too many JSON"):
        await check_values(body)


@pytest.mark.parametrize(
    "text",
    ["," * MAX_VALUES, "[{" * MAX_CONTAINERS, '\\"[' * MAX_CONTAINERS, '"' * MAX_VALUES + "," * MAX_VALUES, "\\"],
)
async def test_what_stands_in_a_text_is_no_value(text: str) -> None:
    """Code and lists of words may be sent; an escaped quote does not end a text."""
    body = orjson.dumps({"content": text, "also": text})
    await check_values(body)
    assert orjson.loads(body)["content"] == text


@given(st.recursive(st.none() | st.text('a",[{\\'), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
async def test_ordinary_bodies_pass(value: object) -> None:
    """Any JSON of ordinary size."""
    await check_values(orjson.dumps(value))


async def test_a_large_document_is_read_as_a_small_one_is() -> None:
    """In a process of its own, which is given no secret of the gateway's."""
    history = document(3 * ROWS_AT_ONCE, 2 * ROWS_AT_ONCE, profile={"name": "Ann", "details": {"zone": "UTC"}})
    body = orjson.dumps(history)
    assert len(body) > SMALL_BYTES
    reader = DocumentReader(os.environ, 60)
    assert await reader.read(body) == Document.model_validate(history).history()
    assert not set(reader._environ) & {"BONDHU_CLUSTER_KEY", "BONDHU_DATABASE_URL"}


@pytest.mark.parametrize("pad", [0, SMALL_BYTES], ids=["small", "large"])
@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        (b"[" * 100, None),
        (b"[]", None),
        (b'{"memories": NaN}', None),
        (b'{"memories": [%s{}]}' % (b"{}," * 50_000), "memories.0.text"),
        (b'{"memories": [%s{}]}' % (b"{}," * 1_000_000), None),
        (b'{"conversations": [{"external_id": "c", "messages": [1]}]}', "conversations.0.messages.0"),
    ],
    ids=["no JSON", "no object", "no number", "no memories", "far too many", "no message"],
)
async def test_a_wrong_document_is_refused_with_its_field(wrong: bytes, param: str | None, pad: int) -> None:
    """The first field at fault, however many there are: the list of a million faults is never made."""
    with pytest.raises(WrongDocument) as refused:
        await DocumentReader(os.environ, 60).read(b" " * pad + wrong)
    assert refused.value.args[0] == param


async def test_reading_has_its_time() -> None:
    """A document that takes longer is refused, and its process is gone."""
    with pytest.raises(WrongDocument, match="in parts"):
        await DocumentReader(os.environ, 0.01).read(b" " * SMALL_BYTES + b"{}")


async def test_an_import_is_written_in_pieces(engine: AsyncEngine) -> None:
    """No transaction has more rows than a piece; all are there in the end, counted, and a second time they were."""
    statements: list[tuple[str, int]] = []

    def note(_: object, __: object, statement: str, parameters: Any, ___: object, many: bool) -> None:
        statements.append((statement.split(" VALUES")[0], len(parameters) if many else 1))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    commits: list[int] = []
    event.listen(engine.sync_engine, "commit", lambda _: commits.append(len(statements)))
    history = Document.model_validate(document(3 * ROWS_AT_ONCE + 5, 2 * ROWS_AT_ONCE)).history()
    moved = await export.write_history(engine, ANN, history, now=NOW)
    assert (moved.new_messages, moved.known_messages) == (3 * ROWS_AT_ONCE + 5, 0)
    assert (moved.new_memories, moved.known_memories) == (2 * ROWS_AT_ONCE, 0)
    assert len(commits) >= 6
    for began, ended in zip([0, *commits], commits, strict=False):
        rows = sum(number for statement, number in statements[began:ended] if statement.startswith("INSERT"))
        assert rows <= ROWS_AT_ONCE + 3, "and a person, and conversations"
        assert ended - began < 40, "and there is no statement a row"
    again = await export.write_history(engine, ANN, history, now=NOW)
    assert (again.new_messages, again.new_memories) == (0, 0)
    assert (again.known_messages, again.known_memories) == (moved.new_messages, moved.new_memories)
    kept = await export.read_history(engine, ANN)
    assert [turn.text for turn in kept.conversations["c"]] == [turn.text for turn in history.conversations["c"]]
    assert set(kept.conversations) == {"c", "empty"}


@pytest.mark.parametrize(
    ("last", "problem"),
    [
        ({"quote": "never said"}, NotVerbatim),
        ({"message_id": "elsewhere"}, NoSuchMessage),
        ({"message_id": None}, NotVerbatim),
    ],
)
async def test_a_fault_in_the_last_memory_leaves_nothing(
    engine: AsyncEngine, last: Json, problem: type[Exception]
) -> None:
    """Though it is written in pieces: all of it is checked before the first."""
    history = document(2 * ROWS_AT_ONCE, 2 * ROWS_AT_ONCE)
    history["memories"][-1] |= last
    with pytest.raises(problem):
        await export.write_history(engine, ANN, Document.model_validate(history).history(), now=NOW)
    assert await read_version(engine, ANN) is None


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a gateway with an embedder."""
    process = GatewayProcess(
        tmp_path_factory.mktemp("gateway"), workers=2, BONDHU__EMBEDDER__DIMENSIONS=str(DIMENSIONS)
    )
    with EngineServer(process.ingress_port, embeds=True), process:
        process.until_ready(MODEL)
        yield process


def test_an_import_keeps_no_other_writer_waiting(gateway: GatewayProcess) -> None:
    """While a large one is taken in, somebody else's writes find the database free many times."""
    key = gateway.make_key("one", tier="admin")
    headers = {"authorization": f"Bearer {key}", "x-bondhu-user": "ann"}
    body = json.dumps(document(4000, 4000))
    assert len(body) > 775_000
    database = sqlite3.connect(
        gateway.var_dir / "bondhu.db", timeout=DEADLINE_S, isolation_level=None, check_same_thread=False
    )

    def count() -> int:
        database.execute("BEGIN IMMEDIATE")  # what waits for the one writer
        (number,) = database.execute("SELECT count(*) FROM messages WHERE end_user = 'ann'").fetchone()
        database.execute("ROLLBACK")
        return int(number)

    seen: set[int] = set()
    answer = asyncio.run(_meanwhile(gateway, headers, body, lambda: seen.add(count())))
    assert answer.json()["messages"] == {"new": 4000, "known": 0}
    assert answer.json()["memories"] == {"new": 4000, "known": 0}
    assert len(seen) > 5, "the writer was free between pieces"
    again = httpx.post(f"{gateway.url}/api/v1/import", headers=headers, content=body, timeout=DEADLINE_S).json()
    assert (again["messages"], again["memories"]) == ({"new": 0, "known": 4000}, {"new": 0, "known": 4000})
    database.close()


async def _meanwhile(
    gateway: GatewayProcess, headers: dict[str, str], body: str, look: Callable[[], None]
) -> httpx.Response:
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=DEADLINE_S) as client:
        sending = asyncio.create_task(client.post("/api/v1/import", content=body))
        while not sending.done():
            await asyncio.to_thread(look)
        return await sending


def test_a_document_of_faults_costs_the_others_nothing(gateway: GatewayProcess) -> None:
    """30 MB of what is no memory are refused by a process that is gone afterwards."""
    key = gateway.make_key("one", tier="admin")
    headers = {"authorization": f"Bearer {key}", "x-bondhu-user": "ann"}
    body = b'{"memories": [' + b"{}," * 10_000_000 + b"{}]}"
    answer = httpx.post(f"{gateway.url}/api/v1/import", headers=headers, content=body, timeout=DEADLINE_S)
    assert answer.status_code == 400
    assert gateway.get("/health").status_code == 200
    wait_for(lambda: not _readers(), "the reader to be gone")


def _readers() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if b"memory.document_reader" in command:
            found.append(path.parts[2])
    return found


def test_values_are_counted_on_the_routes(gateway: GatewayProcess) -> None:
    """On chats, embeddings and everything about a person."""
    headers = {"authorization": f"Bearer {gateway.make_key('one', tier='admin')}", "x-bondhu-user": "ann"}
    body = b'{"model": "bondhu", "input": [' + b"[]," * MAX_CONTAINERS + b"[]]}"
    for path in (
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "/api/v1/conversations",
        "/api/v1/recall",
    ):
        answer = httpx.post(gateway.url + path, headers=headers, content=body, timeout=DEADLINE_S)
        assert answer.status_code == 400, path
        assert "arrays and objects" in answer.json()["error"]["message"]
    body = b"{%s}" % b",".join(b'"field-%d": 1' % number for number in range(MODELLED.values + 1))
    answer = httpx.put(f"{gateway.url}/api/v1/profile", headers=headers, content=body, timeout=DEADLINE_S)
    assert "values" in answer.json()["error"]["message"], "and not of each field that it is unknown"
