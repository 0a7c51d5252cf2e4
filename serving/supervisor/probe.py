"""Whether a process serves: it is asked something, and has to answer within a deadline.

An accepted connection is no service: the kernel accepts them for a process that hangs. What is answered does not
matter much; a refusal is an answer too.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Probe:
    """A question and what an answer to it begins with.

    `address` is a host and port, or a Unix socket.
    """

    address: tuple[str, int] | Path
    question: bytes
    beginnings: tuple[bytes, ...]
    within_s: float

    @classmethod
    def http(cls, address: tuple[str, int] | Path, path: str, within_s: float) -> Self:
        """GET a path; any status is an answer, 503 while it drains or is full among them."""
        question = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
        return cls(address, question, (b"HTTP/1.1 ", b"HTTP/1.0 "), within_s)

    async def answers(self) -> bool:
        """Whether it does, in time."""
        try:
            async with asyncio.timeout(self.within_s):
                return await self._ask()
        except OSError:  # a timeout is one
            return False

    async def _ask(self) -> bool:
        if isinstance(self.address, Path):
            reader, writer = await asyncio.open_unix_connection(str(self.address))
        else:
            reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(self.question)
            longest = max(map(len, self.beginnings))
            answer = b""
            while len(answer) < longest and (block := await reader.read(longest - len(answer))):
                answer += block
                if answer.startswith(self.beginnings):
                    return True
            return answer.startswith(self.beginnings)
        finally:
            writer.close()
