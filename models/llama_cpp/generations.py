"""Generations of llama.cpp's server in this process, as asynchronous streams that end when their reader leaves.

Over its HTTP server a generation often continues after its client has left (seen in half of the boots;
https://github.com/ggml-org/llama.cpp/issues/24496). The same handlers, called directly, check after every token whether
to continue; during the prefill they do not, so a generation ends at its first token at the earliest. This module does
not know what the chunks mean.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Chunk = dict[str, Any]
Handler = Callable[[dict[str, Any], Callable[[Chunk], bool]], None]


class Generations:
    """Runs as many generations at once as the server has slots; others wait in order of arrival.

    Args:
        chat: the server's handler of chats.
        completion: its handler of completions.
        parallel: the number of its slots.

    """

    def __init__(self, chat: Handler, completion: Handler, parallel: int) -> None:
        self._handlers = {True: chat, False: completion}
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="generation")
        self.running = 0
        self.waiting = 0
        self.steps = 0  # chunks since the start, by which a stalled engine is detected

    async def stream(self, body: Mapping[str, Any], *, chats: bool) -> AsyncGenerator[Chunk, None]:
        """Yield the chunks of one generation, including an error; closing the iterator ends it."""
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[Chunk | None] = asyncio.Queue()
        left = threading.Event()

        def tell(chunk: Chunk | None) -> bool:
            loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            loop.call_soon_threadsafe(count_step)
            return left.is_set()

        def count_step() -> None:
            self.steps += 1

        def count(running: int, waiting: int) -> None:
            self.running += running
            self.waiting += waiting

        def run() -> None:
            loop.call_soon_threadsafe(count, 1, -1)
            try:
                if not left.is_set():
                    self._handlers[chats]({**body, "stream": True}, tell)
            except Exception as problem:  # noqa: BLE001 - the edge of a thread: whatever it is, its client hears of it
                tell({"error": {"code": 500, "message": f"llama.cpp failed: {problem}"}})
            finally:
                loop.call_soon_threadsafe(count, -1, 0)
                tell(None)

        self.waiting += 1
        future = self._pool.submit(run)
        try:
            while (chunk := await chunks.get()) is not None:
                yield chunk
        finally:
            left.set()
            if future.cancel():
                self.waiting -= 1
