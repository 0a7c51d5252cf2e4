"""An engine with scripted answers and cards, for tests and for the documentation's pictures.

Cards come as agents send them: next to the text, in `choices[0].delta.bondhu.events` (docs/page.md). The gateway passes
an engine's events on as they are, so the page sees the same bytes that it would see of an agent.
"""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from tests.support.servers.engine import EngineServer, Json, _event


class FriendServer(EngineServer):
    """Answers by the last message: `script` maps what it contains to a text and a list of events.

    What nothing in the script fits is answered as EngineServer does. Held, a stream stops after so many words.
    """

    def __init__(self, port: int, script: Mapping[str, tuple[str, list[Json]]]) -> None:
        super().__init__(port, embeds=True)
        self._script = script

    def _scripted(self, body: Json) -> tuple[str, list[Json]] | None:
        last = str(body["messages"][-1]["content"]) if body.get("messages") else ""
        return next((answer for key, answer in self._script.items() if key.casefold() in last.casefold()), None)

    async def _words(self, body: Json) -> AsyncIterator[str]:
        scripted = self._scripted(body)
        if scripted is None:
            async for word in super()._words(body):
                yield word
            return
        for number, word in enumerate(re.findall(r"\s*\S+", scripted[0])):
            while self._allowed is not None and number >= self._allowed:
                await self._changed.wait()
            yield word

    async def _stream(self, request: web.Request, body: Json) -> web.StreamResponse:
        scripted = self._scripted(body)
        if scripted is None or not scripted[1]:
            return await super()._stream(request, body)
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        completion_tokens, id_ = 0, next(self._ids)
        await response.write(_event(id_, {"role": "assistant", "content": ""}, None, completion_tokens))
        async for word in self._words(body):
            completion_tokens += 1
            await response.write(_event(id_, {"content": word}, None, completion_tokens))
        extension: dict[str, Any] = {"bondhu": {"events": scripted[1]}}
        await response.write(_event(id_, {"content": "", **extension}, None, completion_tokens))
        await response.write(_event(id_, {}, "stop", completion_tokens))
        await response.write(b"data: [DONE]\n\n")
        return response
