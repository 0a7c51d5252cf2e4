"""The gateway's HTTP client towards engines, against real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from serving.engines.http_client import BUFFER_BYTES, ConnectionLost, EngineClient

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def engine(handler: Handler) -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """A server on a free port that runs `handler` for each connection; and the connections that it had."""
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()
        for writer in connections:
            if not writer.transport.is_closing():
                writer.transport.abort()


@pytest.fixture
async def client() -> AsyncIterator[EngineClient]:
    """The client under test."""
    made = EngineClient(connect_timeout_s=2, keep_alive_s=30)
    yield made
    made.close()


async def request_of(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A request's head and body; raises IncompleteReadError when the client has left."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
    return head, await reader.readexactly(length)


def plain(body: bytes, extra: bytes = b"") -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%b\r\n%b" % (len(body), extra, body)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request with its own body."""
    while True:
        try:
            _, body = await request_of(reader)
        except asyncio.IncompleteReadError:
            return
        writer.write(plain(body))


async def test_one_connection_serves_request_after_request(client: EngineClient) -> None:
    """A released, complete answer's connection carries the next request."""
    async with engine(echo) as (address, connections):
        for text in (b"one", b"two", b"three"):
            answer = await client.post(address, "/v1/completions", "key", text)
            assert (answer.status, await answer.body()) == (200, text)
            client.release(answer)
        assert len(connections) == 1


async def test_requests_at_a_time_have_a_connection_each(client: EngineClient) -> None:
    """No request waits for another one's answer."""
    async with engine(echo) as (address, connections):
        answers = [await client.post(address, "/", "key", b"%d" % number) for number in range(5)]
        assert [await answer.body() for answer in answers] == [b"0", b"1", b"2", b"3", b"4"]
        assert len(connections) == 5


async def test_the_engine_sees_path_key_and_body(client: EngineClient) -> None:
    """What is sent is a well-formed request with the boot's key."""
    seen: list[tuple[bytes, bytes]] = []

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        writer.write(plain(b"{}"))

    async with engine(look) as (address, _):
        await client.post(address, "/v1/chat/completions", "secret", b'{"a": 1}')
    ((head, body),) = seen
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"\r\nauthorization: Bearer secret\r\n" in head
    assert b"\r\nhost: %b\r\n" % address[7:].encode() in head
    assert body == b'{"a": 1}'


async def test_a_stream_is_handed_on_as_it_comes(client: EngineClient) -> None:
    """A chunk can be read before the next one exists."""
    read_one = asyncio.Event()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(STREAM_HEAD + b"3\r\none\r\n")
        await read_one.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with engine(stream) as (address, _):
        answer = await client.post(address, "/", "key", b"{}")
        assert answer.content_type == b"text/event-stream; charset=utf-8"
        assert await answer.block() == b"one"
        read_one.set()
        assert await answer.block() == b"two"
        assert await answer.block() == b""
        assert answer.reusable


@pytest.mark.parametrize("rest", [b"0\r\n\r\n", b""], ids=["comes", "never comes"])
async def test_the_end_of_a_stream_that_was_read_is_waited_for_a_moment(client: EngineClient, rest: bytes) -> None:
    """The last event comes alone from a server that writes the end by itself; then the connection is used again."""
    read_last, gone = asyncio.Event(), asyncio.Event()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(STREAM_HEAD + b"4\r\nlast\r\n")
        await read_last.wait()
        writer.write(rest)
        await reader.read()
        gone.set()

    async with engine(stream) as (address, _):
        answer = await client.post(address, "/", "key", b"{}")
        assert await answer.block() == b"last"
        read_last.set()
        await answer.until_complete()
        assert answer.reusable == bool(rest)
        client.release(answer)
        if not rest:
            await gone.wait()


async def test_a_stream_that_is_cut_off_differs_from_one_that_ends(client: EngineClient) -> None:
    """A connection closed inside a chunked answer raises ConnectionLost after what had arrived."""

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(STREAM_HEAD + b"3\r\none\r\n")

    async with engine(break_off) as (address, _):
        answer = await client.post(address, "/", "key", b"{}")
        assert await answer.block() == b"one"
        with pytest.raises(ConnectionLost):
            await answer.block()
        assert not answer.reusable


async def test_a_kept_connection_that_the_engine_has_closed_is_replaced(client: EngineClient) -> None:
    """An engine that closes an idle connection costs no request."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await request_of(reader)
        writer.write(plain(body))

    async with engine(once) as (address, connections):
        for text in (b"one", b"two"):
            answer = await client.post(address, "/", "key", text)
            assert await answer.body() == text
            client.release(answer)
        assert len(connections) == 2


async def test_connection_close_is_honoured(client: EngineClient) -> None:
    """An answer that announces the end of the connection does not leave it for reuse."""

    async def last(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(plain(b"{}", b"connection: close\r\n"))
        await reader.read()

    async with engine(last) as (address, _):
        answer = await client.post(address, "/", "key", b"{}")
        await answer.body()
        assert not answer.reusable


async def test_a_refused_connection_is_reported_at_once(client: EngineClient) -> None:
    """Nobody listens: ConnectionLost."""
    async with engine(echo) as (address, _):
        pass
    with pytest.raises(ConnectionLost, match="ConnectionRefusedError"):
        await client.post(address, "/", "key", b"{}")


async def test_what_is_no_http_is_a_lost_connection(client: EngineClient) -> None:
    """Something else listens on the engine's port."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()

    async with engine(babble) as (address, _):
        with pytest.raises(ConnectionLost):
            await client.post(address, "/", "key", b"{}")


async def test_a_caller_that_gives_up_closes_the_connection(client: EngineClient) -> None:
    """Cancelling a waiting request, or releasing an incomplete answer, ends the engine's work."""
    left = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        if not await reader.read():
            left.set()

    async with engine(never) as (address, _):
        asking = asyncio.create_task(client.post(address, "/", "key", b"{}"))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.wait_for(left.wait(), 5)


async def test_a_slow_reader_holds_the_engine_back(client: EngineClient) -> None:
    """No more than the buffer and the sockets' own are taken in before somebody reads."""
    size = 64 * BUFFER_BYTES
    progress = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal progress
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(64):
            writer.write(bytes(BUFFER_BYTES))
            await writer.drain()
            progress += 1

    async with engine(flood) as (address, _):
        answer = await client.post(address, "/", "key", b"{}")
        await asyncio.sleep(0.3)
        assert progress < 60
        assert len(await answer.body()) == size
        assert answer.reusable
