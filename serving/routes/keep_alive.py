"""Keeps a stream's connection alive before a slow first token, and between slow ones, by comments.

Proxies and browsers close connections on which nothing comes. A comment is no event: clients ignore it
(https://html.spec.whatwg.org/multipage/server-sent-events.html). The first comment must be preceded by the status, so
an error that follows it is the stream's last event, and headers that name the model are missing.
"""

import asyncio

from fastapi.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serving.errors import ApiError, stream_event
from serving.protocol.sse import HEADERS

COMMENT = b": keep-alive\n\n"


class KeepAliveResponse(Response):
    """Sends a stream's response, with comments while it is silent.

    Args:
        response: the response of a request that wants a stream.
        every_s: how long the connection may be silent.

    """

    def __init__(self, response: Response, every_s: float) -> None:
        super().__init__()
        self._response = response
        self._every_s = every_s
        self._sent_at = 0.0
        self._has_begun = False
        self._has_ended = False
        self._begun_here = False  # before the response's own start, which is replaced by this one
        self._status = 200  # of the response, if it is replaced
        self._comment: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; raises what the response does, unless the stream has begun here."""
        loop = asyncio.get_running_loop()
        self._sent_at = loop.time()

        async def pass_on(message: Message) -> None:
            self._sent_at = loop.time()
            if message["type"] == "http.response.start":
                self._status = message["status"]
                if self._begun_here:
                    return
                self._has_begun = True
            else:
                self._has_ended = not message.get("more_body", False)
                if self._begun_here and self._status != 200:
                    message = {**message, "body": b"data: %s\n\n" % message["body"] if message.get("body") else b""}
            await send(message)

        def look() -> None:
            silent_s = loop.time() - self._sent_at
            is_due = silent_s >= self._every_s and (not self._has_begun or self._begun_here or self._status == 200)
            if is_due and (self._comment is None or self._comment.done()) and not self._has_ended:
                self._comment = loop.create_task(self._say(send))
                silent_s = 0.0
            self._timer = loop.call_later(max(self._every_s - silent_s, 0.05), look)

        self._timer = loop.call_later(self._every_s, look)
        try:
            await self._response(scope, receive, pass_on)
        except ApiError as problem:
            if not self._begun_here:
                raise
            await send({"type": "http.response.body", "body": stream_event(problem)})
        finally:
            self._timer.cancel()
            if self._comment is not None:
                self._comment.cancel()

    async def _say(self, send: Send) -> None:
        if not self._has_begun:
            self._has_begun = self._begun_here = True
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        self._sent_at = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": COMMENT, "more_body": True})
