"""What is sent at once is written at once, and what has to wait for nothing does not wait."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn

from serving.gateway.http_protocol import STATE_KEY, ConnectionLimits, LimitedProtocol
from serving.protocol.sse import DONE
from tests.serving.gateway.conftest import Application, Message

LIMITS = ConnectionLimits(
    max_connections=10, max_header_bytes=10_000, header_timeout_s=60, body_timeout_s=60, write_timeout_s=60
)
REQUEST = b"GET /%b HTTP/1.1\r\nhost: localhost\r\nconnection: %b\r\n\r\n"


async def test_the_last_events_end_the_stream(application: Application) -> None:
    """In one message of the application's, and so in one write to the client; whether it is shared or not."""
    for temperature in (0, 1):
        messages: list[Message] = []

        async def send(message: Message) -> None:
            messages.append(message)  # noqa: B023 - called before the next one

        await application.stream(send, temperature=temperature)
        assert messages[-1]["body"].endswith(DONE)
        assert [bool(each.get("more_body")) for each in messages[1:]] == [True] * (len(messages) - 2) + [False]


class Server:
    """A server whose application sends a body when `proceed` is set; `/now` at once, `/none` never."""

    def __init__(self, listening: socket.socket) -> None:
        self.port: int = listening.getsockname()[1]
        self.proceed = asyncio.Event()

    async def __call__(self, scope: Message, receive: object, send: object) -> None:
        """Serve one request, or the server's lifespan."""
        assert callable(receive)
        assert callable(send)
        if scope["type"] == "lifespan":
            await receive()
            scope["state"][STATE_KEY] = LIMITS
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-here", b"yes")]})
        if scope["path"] == "/later":
            await self.proceed.wait()
        if scope["path"] == "/fails":
            raise RuntimeError("in the middle")
        await send({"type": "http.response.body", "body": b"here"})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Return one that listens."""
    listening = socket.create_server(("127.0.0.1", 0))
    application = Server(listening)
    config = uvicorn.Config(application, http=LimitedProtocol, lifespan="on", log_config=None)
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve([listening]))
    yield application
    application.proceed.set()
    running.should_exit = True
    await task
    listening.close()


async def opened(server: Server, path: bytes, connection: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(REQUEST % (path, connection))
    return reader, writer


async def test_a_head_does_not_wait_for_the_body(server: Server) -> None:
    """A client knows the status before an application has anything else to say."""
    reader, writer = await opened(server, b"later", b"close")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"x-here: yes" in head
    server.proceed.set()
    assert await reader.read() == b"4\r\nhere\r\n0\r\n\r\n"
    writer.close()


@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
async def test_head_and_body_keep_their_order(server: Server, connection: bytes) -> None:
    """Whether the connection ends with the response or has another one."""
    reader, writer = await opened(server, b"now", connection)
    for again in range(1 if connection == b"close" else 3):
        if again:
            writer.write(REQUEST % (b"now", connection))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readuntil(b"0\r\n\r\n") == b"4\r\nhere\r\n0\r\n\r\n"
    writer.close()


async def test_a_head_without_its_body_is_sent_before_the_connection_ends(server: Server) -> None:
    """An application that fails after it."""
    reader, writer = await opened(server, b"fails", b"keep-alive")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
