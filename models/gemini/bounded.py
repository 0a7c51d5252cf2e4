"""An HTTP response that fails once it exceeds a number of bytes.

Google's SDK reads lines and error bodies of any length into memory. This module does not know the protocol.
"""

from typing import Any

import aiohttp
from aiohttp.client_reqrep import ClientResponse
from aiohttp.streams import AsyncStreamIterator


class AnswerTooLong(Exception):
    """The response has more than `max_bytes`."""


class _BoundedBody:
    """The body of a response, which counts the bytes read and delegates everything else."""

    def __init__(self, body: aiohttp.StreamReader, max_bytes: int) -> None:
        self._body = body
        self._left = max_bytes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    async def readany(self) -> bytes:
        """The bytes received so far. Raises AnswerTooLong."""
        block = await self._body.readany()
        self._left -= len(block)
        if self._left < 0:
            raise AnswerTooLong
        return block

    def iter_any(self) -> AsyncStreamIterator[bytes]:
        """The chunks as they arrive."""
        return AsyncStreamIterator(self.readany)

    async def read(self, n: int = -1) -> bytes:
        """The whole body; `n` is ignored."""
        blocks = []
        while block := await self.readany():
            blocks.append(block)
        return b"".join(blocks)


def bounded_response(max_bytes: int) -> type[ClientResponse]:
    """The `response_class` for `aiohttp.ClientSession` that limits the size of responses."""

    class Bounded(ClientResponse):
        async def start(self, connection: Any) -> ClientResponse:
            await super().start(connection)
            self.content = _BoundedBody(self.content, max_bytes)  # type: ignore[assignment]  # as far as it is read
            return self

    return Bounded
