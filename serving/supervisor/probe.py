"""Probes whether a process works: it must respond to a request within a deadline.

An accepted connection proves nothing, because the kernel accepts connections for a process that hangs. Any response
counts, also an error.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from serving.supervisor.health_check import worker


class Answering(Protocol):
    """Checks whether a process works."""

    async def answers(self) -> bool:
        """Whether the process works."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """For a process without an endpoint: it must touch `file` at least every `within_s`."""

    file: Path
    within_s: float

    async def answers(self) -> bool:
        """Whether the file was touched recently."""
        return worker(self.file, self.within_s) is None


@dataclass(frozen=True, slots=True)
class Probe:
    """A request and the possible beginnings of its response; `address` is (host, port) or a Unix socket."""

    address: tuple[str, int] | Path
    request: bytes
    beginnings: tuple[bytes, ...]
    within_s: float

    @classmethod
    def http(cls, address: tuple[str, int] | Path, path: str, within_s: float) -> Self:
        """A probe with GET; any status counts, also 503 while it drains or is full."""
        request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
        return cls(address, request, (b"HTTP/1.1 ", b"HTTP/1.0 "), within_s)

    async def answers(self) -> bool:
        """Whether the process responds in time."""
        try:
            async with asyncio.timeout(self.within_s):
                return await self._exchange()
        except OSError:  # a timeout is one
            return False

    async def _exchange(self) -> bool:
        if isinstance(self.address, Path):
            reader, writer = await asyncio.open_unix_connection(str(self.address))
        else:
            reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(self.request)
            longest = max(map(len, self.beginnings))
            response = b""
            while len(response) < longest and (block := await reader.read(longest - len(response))):
                response += block
                if response.startswith(self.beginnings):
                    return True
            return response.startswith(self.beginnings)
        finally:
            writer.close()
