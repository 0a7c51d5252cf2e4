"""Keeps a stream's connection alive before a slow first token, and between slow ones, by comments.

Proxies and browsers close connections on which nothing comes. A comment is no event: clients ignore it
(https://html.spec.whatwg.org/multipage/server-sent-events.html). The first comment must be preceded by the status, so
an error that follows it is the stream's last event, and headers that name the model are missing.
"""

import asyncio

from serving.errors import ApiError
from serving.protocol.response import Headers, Sink, Source
from serving.protocol.sse import DATA, END, HEADERS, error_event

COMMENT = b": keep-alive\n\n"


class KeptAlive:
    """A stream's response with comments while it is silent; a `serving.protocol.response.Source`.

    Args:
        source: the response of a request that wants a stream.
        every_s: how long the connection may be silent.

    """

    def __init__(self, source: Source, every_s: float) -> None:
        self._source = source
        self._every_s = every_s

    def abandon(self) -> None:
        """Stop."""
        self._source.abandon()

    async def run(self, sink: Sink) -> None:
        """Send it; raises what the response does, unless the stream has begun here."""
        commented = _Commented(sink, self._every_s)
        try:
            await self._source.run(commented)
        except ApiError as problem:
            if not commented.began_it:
                raise
            await sink.end(error_event(problem))
        finally:
            commented.close()


class _Commented:
    """A sink that gets comments while the response is silent.

    Attributes:
        began_it: the response was begun here, before its own start, which is dropped.

    """

    def __init__(self, sink: Sink, every_s: float) -> None:
        self.began_it = False
        self._sink = sink
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._status = 0  # 0: it has not started
        self._has_ended = False
        self._comment: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(every_s, self._look)

    async def start(self, status: int, headers: Headers) -> None:
        """Begin."""
        self._sent_at, self._status = self._loop.time(), status
        if not self.began_it:
            await self._sink.start(status, headers)

    async def write(self, events: bytes) -> None:
        """Pass on events."""
        self._sent_at = self._loop.time()
        await self._sink.write(self._as_event(events) if self.began_it else events)

    async def end(self, rest: bytes = b"") -> None:
        """Pass on the end."""
        self._sent_at, self._has_ended = self._loop.time(), True
        await self._sink.end(self._as_event(rest) if self.began_it else rest)

    def close(self) -> None:
        """Send no more comments."""
        self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    def _as_event(self, body: bytes) -> bytes:
        """What follows a stream that began here: the body of an error as an event."""
        return DATA + body + END if body and self._status != 200 else body

    def _look(self) -> None:
        silent_s = self._loop.time() - self._sent_at
        is_due = silent_s >= self._every_s and (self.began_it or self._status in (0, 200)) and not self._has_ended
        if is_due and (self._comment is None or self._comment.done()):
            self._comment = self._loop.create_task(self._say())
            silent_s = 0.0
        self._timer = self._loop.call_later(max(self._every_s - silent_s, 0.05), self._look)

    async def _say(self) -> None:
        if not self._status and not self.began_it:
            self.began_it = True
            await self._sink.start(200, list(HEADERS))
        self._sent_at = self._loop.time()
        await self._sink.write(COMMENT)
