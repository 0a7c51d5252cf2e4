"""A person's message and the reply to it: stored each in a transaction of its own, embedded in one request afterwards.

A turn's window contains its neighbours, so embedding after each of the two would make most windows twice, and the reply
would wait for vectors that nobody needs yet. If the process dies in between, the next recall or the worker makes them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from storage.memory.conversations import Ingested, NewMessage
from storage.memory.owner import Owner
from storage.memory.reply_context import ContextItem, store_reply
from storage.memory.turns.once import Carried, Said, ingest_once, read_replaced

Embed = Callable[[int, Mapping[str, bytes]], Awaitable[None]]


class Exchange:
    """One exchange; `memory.service.MemoryService.exchange` begins it.

    Args:
        engine: the database.
        owner: whose.
        conversation: the application's name of the conversation.
        now: the time, aware.
        embed: makes the vectors of turns since a version, given vectors of some texts.

    Attributes:
        vectors: of texts that were embedded for it, so that none is embedded twice.
        is_open: whether its vectors are still to be made.

    """

    def __init__(
        self, engine: AsyncEngine, owner: Owner, conversation: str, now: Callable[[], datetime], embed: Embed
    ) -> None:
        self.owner = owner
        self.vectors: dict[str, bytes] = {}
        self.is_open = True
        self._engine = engine
        self._conversation = conversation
        self._now = now
        self._embed = embed
        self._since: int | None = None

    async def replaced_by(self, said: Said) -> frozenset[str]:
        """The turns that the message or its reply will replace; see `storage.memory.turns.once.read_replaced`."""
        return await read_replaced(self._engine, self.owner, self._conversation, said)

    async def store_message(self, said: Said, carried: Carried | None = None) -> tuple[NewMessage, Ingested]:
        """Store the person's message; see `storage.memory.turns.once.ingest_once`."""
        message, ingested = await ingest_once(
            self._engine, self.owner, self._conversation, said, now=self._now(), carried=carried
        )
        self._note(ingested.version)
        return message, ingested

    async def store_reply(self, reply: NewMessage, context: Sequence[ContextItem], *, answers: str) -> None:
        """Store the reply and its context; see `storage.memory.reply_context.store_reply`."""
        version = await store_reply(
            self._engine, self.owner, self._conversation, reply, context, answers=answers, now=self._now()
        )
        self._note(version)

    async def end(self) -> None:
        """Make the vectors of what was stored, and of the turns beside it."""
        try:
            if self._since is not None:
                await self._embed(self._since, self.vectors)
        finally:
            self.is_open = False

    def _note(self, version: int | None) -> None:
        """Remember the first version that it made."""
        self._since = version if self._since is None else self._since
