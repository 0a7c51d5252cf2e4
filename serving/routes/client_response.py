"""The one response of generating routes: whatever makes it, a client receives it."""

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from serving.protocol.response import Headers, Source
from serving.routes.disconnect import on_disconnect


class ClientResponse(Response):
    """Sends what a source makes to the client, and abandons it when the client leaves.

    Raises (when called, before anything was sent):
        ApiError: the source raises it.

    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; returns early if the client disconnects."""
        with on_disconnect(scope, receive, self._source.abandon):
            await self._source.run(_Client(send))


class _Client:
    """The client as a `serving.protocol.response.Sink`."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line and the headers, to which middleware adds."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, events: bytes) -> None:
        """Send events."""
        await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def end(self, rest: bytes = b"") -> None:
        """Send the last bytes."""
        await self._send({"type": "http.response.body", "body": rest})
