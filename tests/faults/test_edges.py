"""What breaks beside the engine: Gemini, Redis, the database, a gateway worker, the client, the clock.

No engine runs here: the gateway answers by Gemini's stand-in, in milliseconds, and so each fault takes seconds.
"""

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.support.databases.postgres_server import PostgresServer, find_binaries
from tests.support.faketime import faked, without_leftovers
from tests.support.faults.aftermath import App
from tests.support.faults.edges import app_of, with_gemini
from tests.support.faults.matrix import Matrix
from tests.support.faults.seen import Asking, Seen
from tests.support.gateway_process import GatewayProcess, wait_for
from tests.support.servers.engine import EngineServer, text_of
from tests.support.servers.gemini import (
    GeminiServer,
    Script,
    broken,
    cut_stream,
    empty_candidates,
    malformed,
    quota_daily,
    quota_minute,
    slow_first_byte,
    stall,
    text_script,
)

ABORTED = (  # as vLLM ends what runs when it gets SIGTERM
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"bondhu-demo",'
    b'"choices":[{"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"abort"}]}\n\ndata: [DONE]\n\n'
)
NO_ENGINE = "none runs: Gemini answers"
HELD_UP_S = 5.0  # far above what a part that is away may cost a request (tens of ms), far below a hang
WHILE_AWAY = 20  # requests


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, gemini: GeminiServer) -> Iterator[GatewayProcess]:
    """A gateway of two workers, whose Redis may break."""
    with GatewayProcess(tmp_path_factory.mktemp("edge"), workers=2, **with_gemini(gemini)) as running:
        yield running


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, gemini: GeminiServer) -> Iterator[GatewayProcess]:
    """A gateway that gives Gemini a second."""
    with GatewayProcess(tmp_path_factory.mktemp("impatient"), **with_gemini(gemini, timeout_s=1)) as running:
        yield running


@pytest.fixture(scope="module")
def garbling(
    tmp_path_factory: pytest.TempPathFactory, gemini: GeminiServer
) -> Iterator[tuple[GatewayProcess, EngineServer]]:
    """A gateway, and an engine that can be told what to send."""
    gateway = GatewayProcess(tmp_path_factory.mktemp("garbling"), **with_gemini(gemini))
    with EngineServer(gateway.ingress_port) as engine, gateway:
        yield gateway, engine


def ask(app: App, times: int = 1, **body: Any) -> list[Seen]:
    """Ask so often, one after another, as one who may be answered outside."""
    return [Asking(app.url, app.outgoing_key, **body).done() for _ in range(times)]


def slowest(seen: Sequence[Seen]) -> str:
    """How long the slowest request took, which is none that hung."""
    took_s = max(each.took_s for each in seen)
    assert took_s < HELD_UP_S
    return f"{NO_ENGINE}; slowest answer {took_s * 1000:.0f} ms"


def test_no_engine(edge: GatewayProcess, matrix: Matrix) -> None:
    """Where no engine runs, Gemini answers with consent, and nobody without."""
    app = app_of(edge)
    seen = [*ask(app), Asking(app.url, app.key).done()]
    assert [each.status for each in seen] == [200, 503]
    assert seen[0].models == ["gemini"]
    app.conclude(matrix, "no engine; with consent, without", seen, NO_ENGINE)


GEMINI_FAULTS: list[tuple[str, Script, int]] = [
    ("500", broken(500), 503),
    ("an answer without a candidate", empty_candidates(), 503),
    ("a stream that is cut", cut_stream("I", " am"), 200),
    ("a chunk that cannot be read", malformed("I"), 200),
    ("no first byte in time", slow_first_byte(), 503),
    ("a stall in mid-stream", stall("I am"), 200),
    ("429 (quota of the minute)", quota_minute(), 503),  # the last: nobody is asked for a while after it
]


@pytest.mark.parametrize(("fault", "script", "status"), GEMINI_FAULTS, ids=[fault for fault, _, _ in GEMINI_FAULTS])
def test_gemini_fails(
    impatient: GatewayProcess, gemini: GeminiServer, matrix: Matrix, fault: str, script: Script, status: int
) -> None:
    """Whatever Gemini does, the client gets a whole answer or a typed error, and the next is answered."""
    app = app_of(impatient)
    gemini.script(script)
    first, second = ask(app, 2)
    gemini.release()
    assert (first.status, first.is_whole) == (status, status == 200)  # what has begun is asked for again, and goes on
    assert second.is_whole is not fault.startswith("429")
    app.conclude(matrix, f"Gemini: {fault}, and the next request", [first, second], NO_ENGINE)


def test_quota_of_the_day(tmp_path: Path, gemini: GeminiServer, matrix: Matrix) -> None:
    """After Gemini says that the day's quota is used up, nobody asks it again."""
    with GatewayProcess(tmp_path, **with_gemini(gemini)) as gateway:
        app = app_of(gateway)
        gemini.script(quota_daily())
        requests_before = len(gemini.requests)
        seen = ask(app, 3)
        assert len(gemini.requests) == requests_before + 1
        app.conclude(matrix, "Gemini: 429 (quota of the day), and two more requests", seen, NO_ENGINE)


@pytest.mark.parametrize(
    ("fault", "event"),
    [
        ("a chunk that cannot be read", b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","cho\n\n'),
        ("a stream without its end", b""),
        ("a stream that it aborts as it is stopped", ABORTED),
    ],
)
def test_engine_garbles(
    garbling: tuple[GatewayProcess, EngineServer], matrix: Matrix, fault: str, event: bytes
) -> None:
    """What an engine cannot have meant reaches no client: the answer goes on elsewhere, or ends with an error."""
    gateway, engine = garbling
    app = app_of(gateway)
    seen = []
    for key, tokens in ((app.outgoing_key, 3), (app.key, 5)):
        wait_for(lambda: "bondhu-demo" in gateway.get("/v1/models", app.key).text, "the engine to be known")
        engine.spoil(tokens, event)
        seen.append(Asking(app.url, key, max_tokens=20).done())
    outgoing, kept = seen
    assert outgoing.is_whole
    assert outgoing.models == ["bondhu-demo", "gemini"]
    assert outgoing.text.startswith(text_of(3))
    assert (kept.text, kept.code, kept.is_whole) == (text_of(5), "engine_error", False)
    assert not [line for each in seen for line in each.garbled]
    app.conclude(matrix, f"engine: {fault}; with consent, without", seen, "scripted")


def test_redis_frozen(edge: GatewayProcess, matrix: Matrix) -> None:
    """A Redis that hangs holds nobody up; when it goes on, it is told what it missed."""
    app = app_of(edge)
    edge.redis.send(signal.SIGSTOP)
    try:
        seen = ask(app, WHILE_AWAY)
    finally:
        edge.redis.send(signal.SIGCONT)
    assert all(each.is_whole for each in seen)
    app.conclude(matrix, "Redis frozen (SIGSTOP), later going on", seen, slowest(seen))


def test_redis_full(edge: GatewayProcess, matrix: Matrix) -> None:
    """A Redis that takes no writes holds nobody up; when it has room again, it is told what it missed."""
    app = app_of(edge)
    with Redis.from_url(edge.redis.url) as redis:
        redis.config_set("maxmemory", 1)
        try:
            seen = ask(app, WHILE_AWAY)
        finally:
            redis.config_set("maxmemory", 0)
    assert all(each.is_whole for each in seen)
    app.conclude(matrix, "Redis full, later with room", seen, slowest(seen))


def test_redis_killed(edge: GatewayProcess, matrix: Matrix) -> None:
    """A Redis that dies takes no request along; the one that is started instead, empty, is told what it missed."""
    app = app_of(edge)
    edge.redis.kill()
    try:
        seen = ask(app, WHILE_AWAY)
    finally:
        edge.redis.start()
    assert all(each.is_whole for each in seen)
    app.conclude(matrix, "Redis killed, later started again, empty", seen, slowest(seen))


def test_redis_restarts_in_mid_stream(edge: GatewayProcess, gemini: GeminiServer, matrix: Matrix) -> None:
    """A stream that was begun before Redis lost its memory ends as if nothing had been, and is charged once."""
    app = app_of(edge)
    gemini.script(stall("I am"))
    asking = Asking(app.url, app.outgoing_key)
    asking.until_begun()
    edge.redis.kill()
    edge.redis.start()
    gemini.release()
    seen = asking.done()
    assert seen.is_whole
    app.conclude(matrix, "Redis restarted, empty, in mid-stream", [seen], NO_ENGINE)


def test_gateway_worker_killed(edge: GatewayProcess, gemini: GeminiServer, matrix: Matrix) -> None:
    """A worker that dies cuts its streams off; the other answers, and accounts for what was lost."""
    app = app_of(edge)
    streams = []
    for _ in range(4):
        gemini.script(stall("I am"))
        streams.append(Asking(app.url, app.outgoing_key))
        streams[-1].until_begun()
    edge.kill_a_worker()
    after = ask(app)
    gemini.release()
    seen = [*(stream.done() for stream in streams), *after]
    assert after[0].is_whole
    assert any(not each.is_whole for each in seen)
    app.conclude(matrix, "gateway worker killed in mid-stream, one of two", seen, NO_ENGINE)


def test_slow_reader(edge: GatewayProcess, gemini: GeminiServer, matrix: Matrix) -> None:
    """A client that reads slowly gets all of it, and nobody waits for it."""
    app = app_of(edge)
    gemini.script(text_script(*[f"{number} " for number in range(30)]))
    slow = Asking(app.url, app.outgoing_key, pause_s=0.1)
    slow.until_begun()
    quick = ask(app, 5)
    assert all(each.is_whole for each in quick)
    seen = [slow.done(), *quick]
    assert slow.seen.text == "".join(f"{number} " for number in range(30))
    app.conclude(matrix, "slow reader, five quick ones beside", seen, slowest(quick))


def test_client_leaves(edge: GatewayProcess, gemini: GeminiServer, matrix: Matrix) -> None:
    """A client that leaves ends what it asked for, at Gemini too."""
    app = app_of(edge)
    gemini.left.clear()
    gemini.script(stall("I am"))
    seen = Asking(app.url, app.outgoing_key, leave_after=1).done()
    assert gemini.left.wait(HELD_UP_S), "Gemini works on"
    gemini.release()
    app.conclude(matrix, "client leaves in mid-stream", [seen], "none runs: Gemini saw it leave")


def test_postgres_gone(tmp_path: Path, gemini: GeminiServer, matrix: Matrix) -> None:
    """While the database is away, known keys are answered; their rows are written when it is back, one each."""
    binaries = find_binaries()
    assert binaries is not None
    postgres = PostgresServer(binaries)
    postgres.start()
    try:
        with GatewayProcess(tmp_path, DATABASE_URL=postgres.url, **with_gemini(gemini)) as gateway:
            app = app_of(gateway)
            seen = ask(app)
            postgres.stop()
            seen += ask(app, WHILE_AWAY)
            postgres.start()
            assert all(each.is_whole for each in seen)
            app.conclude(matrix, "Postgres gone, later back", seen, slowest(seen))
    finally:
        postgres.remove()


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Path]:
    """A file that says how far the clock is off, s; what killed processes leave of it in shared memory is removed."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    with without_leftovers():
        yield offset


@pytest.mark.parametrize(
    ("way", "jump", "then"), [("an hour on", 3600, [200, 200, 200, 429]), ("an hour back", -3600, [429])]
)
def test_clock_jumps(
    tmp_path: Path, clock: Path, gemini: GeminiServer, matrix: Matrix, way: str, jump: int, then: list[int]
) -> None:
    """A clock that jumps in mid-stream, gateway's and Redis's alike, breaks no stream and locks nobody out for long.

    Set on, it lets a minute's requests through once more; set back, what was asked counts for a minute from then.
    """
    moved = faked(clock)
    environ = with_gemini(gemini, requests_per_minute=3)
    with GatewayProcess(tmp_path, redis_environ=moved, **moved, **environ) as gateway:
        app = app_of(gateway)
        gemini.script(stall("I am"))
        begun = Asking(app.url, app.outgoing_key)
        begun.until_begun()
        before = ask(app, 3)
        clock.write_text(f"{jump:+}")
        gemini.release()
        after = [begun.done(), *ask(app, len(then))]
        clock.write_text(f"{jump + 61:+}")
        later = ask(app)
        assert [each.status for each in before] == [200, 200, 429]
        assert after[0].is_whole
        assert [each.status for each in after[1:]] == then
        assert all(int(each.retry_after or 0) <= 60 for each in after)
        assert later[0].status == 200
        fault = f"clock set {way} in mid-stream, a minute later another request; 3 a minute allowed"
        app.conclude(matrix, fault, [*before, *after, *later], NO_ENGINE)
